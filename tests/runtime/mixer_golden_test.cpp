// SPDX-License-Identifier: Apache-2.0
// Every layer's mixer of every tiny whole model by itself: fed with the norm of what the layer
// before gave, it must give the attention output that tests/golden/README.md describes.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <iterator>

#include "made_up_tensors.hpp"

#include "runtime/model/safetensors.hpp"
#include "runtime/model/tensor_names.hpp"
#include "runtime/model/tensor_views.hpp"
#include "runtime/transformer/checkpoint_tensors.hpp"
#include "runtime/transformer/mixer_kinds.hpp"
#include "runtime/transformer/norm.hpp"

namespace switchyard::runtime {
namespace {

constexpr double kLimit = 5e-5;  // of rms, as for whole models

struct Golden {
  explicit Golden(const std::filesystem::path& directory)
      : folder(directory),
        tensors(TensorSet::open_directory(directory)),
        values(std::make_shared<SafetensorsFile>(directory / "golden.safetensors")),
        model(read_model(directory)) {
    const std::vector<std::int64_t>& shape = values.at("golden.input_ids").shape;
    sequences = shape.at(0);
    length = shape.at(1);
  }
  static Model read_model(const std::filesystem::path& directory) {
    std::ifstream file(directory / "config.json");
    return Model::from_config_json(std::string{std::istreambuf_iterator<char>(file), {}}, "");
  }
  /// [sequences * length, hidden]
  [[nodiscard]] experts::Matrix rows(const std::string& name) const {
    const Tensor& tensor = values.at(name);
    experts::Matrix result(sequences * length, tensor.shape.back());
    const std::vector<float> floats = read_floats(tensor, 0, tensor.elements());
    std::copy(floats.begin(), floats.end(), result.data());
    return result;
  }

  std::filesystem::path folder;
  std::shared_ptr<const TensorSet> tensors;
  TensorSet values;
  Model model;
  std::int64_t sequences = 0;
  std::int64_t length = 0;
};

/// All layers' mixers over all sequences in calls of `piece` tokens; the worst error of a layer.
double worst_layer(const Golden& golden, std::int64_t piece) {
  States states;
  std::vector<std::unique_ptr<Mixer>> mixers;
  CheckpointTensors source(golden.tensors);
  for (std::int64_t layer = 0; layer < golden.model.num_layers(); ++layer) {
    mixers.push_back(make_mixer(golden.model, source, layer, experts::best_isa()));
  }
  for (std::int64_t s = 0; s < golden.sequences; ++s) {
    std::vector<std::unique_ptr<MixerState>> by_layer;
    for (const auto& mixer : mixers) by_layer.push_back(mixer->make_state());
    states.add(std::move(by_layer));
  }
  const TensorNames names = tensor_names(golden.model.family());
  double worst = 0;
  for (std::int64_t layer = 0; layer < golden.model.num_layers(); ++layer) {
    const auto of = [](std::int64_t number, const char* what) {
      return "golden.layer." + std::to_string(number) + "." + what;
    };
    experts::Matrix x = golden.rows(layer == 0 ? "golden.embed" : of(layer - 1, "hidden"));
    const Norm norm = Norm::of_model(golden.model, source,
                                     layer_prefix(golden.model, layer) + names.norms.front());
    norm.apply(std::as_const(x).view(), x.view());
    const experts::Matrix expected = golden.rows(of(layer, "attn_out"));
    experts::Matrix got(x.rows(), x.cols());
    for (std::int64_t first = 0; first < golden.length; first += piece) {
      const std::int64_t count = std::min(piece, golden.length - first);
      for (std::int64_t s = 0; s < golden.sequences; ++s) {
        Batch batch;
        batch.ids.resize(static_cast<std::size_t>(count));
        batch.segments = {{.sequence = s, .first = first, .count = count}};
        mixers[static_cast<std::size_t>(layer)]->forward(
            batch, std::as_const(x).view().slice(s * golden.length + first, count), states,
            got.view().slice(s * golden.length + first, count));
      }
    }
    std::vector<std::vector<double>> wanted;
    for (std::int64_t r = 0; r < expected.rows(); ++r) wanted.push_back(row_of(expected, r));
    worst = std::max(worst, worst_error(got, wanted));
  }
  return worst;
}

TEST(MixerGolden, EveryLayerGivesTheReferencesAttention) {
  int models = 0;
  for (const char* kind : {"models", "oracle"}) {
    for (const auto& entry : std::filesystem::directory_iterator(
             std::filesystem::path(SWITCHYARD_TEST_DATA "/golden") / kind)) {
      if (!entry.is_directory()) continue;
      // Its attention is stored as FP8 too, which CheckpointTensors does not read yet.
      if (entry.path().filename() == "deepseek-v3-fp8-tiny") continue;
      const Golden golden(entry.path());
      // What these add to the residual went through another norm.
      if (golden.model.family() == "grok1") continue;
      const double whole = worst_layer(golden, golden.length);
      const double pieces = worst_layer(golden, 3);
      std::cout << entry.path().filename().string() << " " << whole << " of rms\n";
      EXPECT_LT(whole, kLimit) << entry.path();
      EXPECT_EQ(whole, pieces) << entry.path();
      ++models;
    }
  }
  EXPECT_GE(models, 13);
}
}  // namespace
}  // namespace switchyard::runtime
