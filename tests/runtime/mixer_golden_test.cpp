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
    const std::string text = model.text();
    const std::string field = "rope_original_context: ";
    if (text.find("rope_scaling: longrope") == std::string::npos) return;
    short_context = std::stoll(text.substr(text.find(field) + field.size()));
    if (length <= short_context) short_context = 0;
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
  std::int64_t short_context = 0;  ///< longrope, and longer than this: rows before it
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
    if (names.norms.size() == 4) {  // what is added to the residual went through another norm
      Norm::of_model(golden.model, source, layer_prefix(golden.model, layer) + names.norms[1])
          .apply(std::as_const(got).view(), got.view());
    }
    // The reference turns all positions by the frequencies of the whole text's length; here a row
    // does not know what follows it, so only rows beyond the original context can agree.
    std::vector<std::vector<double>> wanted;
    for (std::int64_t r = 0; r < expected.rows(); ++r) {
      const bool same = r % golden.length >= golden.short_context;
      wanted.push_back(row_of(same ? expected : got, r));
    }
    worst = std::max(worst, worst_error(got, wanted));
  }
  return worst;
}

void expect_reference(const std::filesystem::path& directory) {
  if (directory.filename() == "deepseek-v3-fp8-tiny") return;  // FP8 is not decoded here
  try {
    const Golden golden(directory);
    const double whole = worst_layer(golden, golden.length);
    EXPECT_LT(whole, kLimit) << directory;
    EXPECT_EQ(whole, worst_layer(golden, 3)) << directory;
  } catch (const std::exception& problem) {
    ADD_FAILURE() << directory << ": " << problem.what();
  }
}

TEST(MixerGolden, EveryLayerGivesTheReferencesAttention) {
  int models = 0;
  for (const char* kind : {"models", "oracle"}) {
    for (const auto& entry : std::filesystem::directory_iterator(
             std::filesystem::path(SWITCHYARD_TEST_DATA "/golden") / kind)) {
      if (!entry.is_directory()) continue;
      expect_reference(entry.path());
      ++models;
    }
  }
  EXPECT_GE(models, 13);
}
}  // namespace
}  // namespace switchyard::runtime
