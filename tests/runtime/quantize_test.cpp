// SPDX-License-Identifier: Apache-2.0
#include "runtime/quantize/quantize.hpp"

#include <algorithm>
#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <random>

#include "experts/ffn.hpp"
#include "runtime/model/checkpoint.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace switchyard::runtime {
namespace {

using experts::DType;
using testing::HasSubstr;
using tests::TempFolder;

std::filesystem::path models() {
  return SWITCHYARD_TEST_DATA "/golden/models";
}

/// Mixtral's layout with inputs that blocks of 32 fill, normal weights in bfloat16.
void write_model(const std::filesystem::path& folder) {
  std::filesystem::create_directory(folder);
  auto config = nlohmann::json::parse(tests::read_file(models() / "mixtral-tiny/config.json"));
  config["hidden_size"] = 96;
  config["intermediate_size"] = 160;
  config["num_hidden_layers"] = 1;
  config["num_local_experts"] = 4;
  tests::write_file(folder / "config.json", config.dump());
  tests::SafetensorsWriter file;
  std::mt19937 generator(5);
  std::normal_distribution<float> normal(0.0F, 0.02F);
  const auto add = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    std::vector<std::uint16_t> values;
    for (std::int64_t i = 0; i < out * in; ++i) {
      values.push_back(experts::narrow_bfloat16(normal(generator)));
    }
    file.add(name, "BF16", {out, in}, values);
  };
  const std::string block = "model.layers.0.block_sparse_moe.";
  add("lm_head.weight", 10, 96);
  add(block + "gate.weight", 4, 96);
  for (int e = 0; e < 4; ++e) {
    const std::string at = block + "experts." + std::to_string(e);
    add(at + ".w1.weight", 160, 96);
    add(at + ".w2.weight", 96, 160);
    add(at + ".w3.weight", 160, 96);
  }
  file.write(folder / "model.safetensors");
}

/// Sums over the routed experts of a layer of two checkpoints.
double rms_between(const Checkpoint& before, const Checkpoint& after, std::int64_t layer) {
  const auto a = before.block(layer);
  const auto b = after.block(layer);
  double errors = 0;
  double squares = 0;
  for (std::int64_t e = 0; e < before.model().block().router.experts; ++e) {
    const experts::ExpertTensors x = a->expert(e);
    const experts::ExpertTensors y = b->expert(e);
    const auto add = [&](const experts::WeightView& u, const experts::WeightView& v) {
      for (std::int64_t o = 0; o < u.out; ++o) {
        for (std::int64_t i = 0; i < u.in; ++i) {
          const double value = static_cast<double>(u.at(o, i));
          const double error = static_cast<double>(v.at(o, i)) - value;
          errors += error * error;
          squares += value * value;
        }
      }
    };
    add(x.gate, y.gate);
    add(x.up, y.up);
    add(x.down, y.down);
  }
  return std::sqrt(errors / squares);
}

TEST(Quantize, TheResultLoadsAndItsErrorIsTheOneThatWasReported) {
  const struct {
    DType type;
    double least, most;
  } cases[] = {{DType::kInt8, 0.002, 0.01}, {DType::kFp8, 0.02, 0.03}, {DType::kMxfp4, 0.08, 0.14}};
  const TempFolder made;
  write_model(made / "of-32");
  for (const auto& from : {models() / "deepseek-v3-tiny", made / "of-32"}) {
    for (const auto& [type, least, most] : cases) {
      SCOPED_TRACE(from.string() + " to " + std::string(experts::name_of(type)));
      const TempFolder folder;
      const auto to = folder / "quantised";
      if (type == DType::kMxfp4 && from.filename() == "deepseek-v3-tiny") {
        const auto refused = [&] { quantize_checkpoint(from, DType::kMxfp4, to); };
        EXPECT_THAT(refused, testing::ThrowsMessage<std::invalid_argument>(
                                 HasSubstr("want a multiple of 32 for mxfp4")));
        EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
        continue;
      }
      const std::vector<QuantizedLayer> layers = quantize_checkpoint(from, type, to);
      const Checkpoint before(from);
      const Checkpoint after(to);
      ASSERT_EQ(layers.size(), before.model().moe_layers().size());
      for (const QuantizedLayer& layer : layers) {
        EXPECT_NEAR(layer.rms_error, rms_between(before, after, layer.layer),
                    1e-9 + 1e-6 * layer.rms_error);
        EXPECT_GT(layer.rms_error, least);
        EXPECT_LT(layer.rms_error, most);
        EXPECT_GT(layer.largest_error, layer.rms_error);
        EXPECT_LT(layer.bytes_after, layer.bytes_before);
        EXPECT_EQ(experts::PackedExpert::own_type(after.block(layer.layer)->expert(0)), type);
      }
      const auto old_tensors = TensorSet::open_directory(from);
      const auto new_tensors = TensorSet::open_directory(to);
      const std::string head = "lm_head.weight";
      ASSERT_EQ(new_tensors->at(head).data.size(), old_tensors->at(head).data.size());
      EXPECT_TRUE(std::ranges::equal(new_tensors->at(head).data, old_tensors->at(head).data));
    }
  }
}

TEST(Quantize, AFolderThatExistsIsLeftAloneAndCodesAreNotQuantisedAgain) {
  const TempFolder folder;
  const auto from = models() / "deepseek-v3-tiny";
  EXPECT_THAT(
      [&] { quantize_checkpoint(from, DType::kFp8, folder.path()); },
      testing::ThrowsMessage<std::invalid_argument>(HasSubstr("exists, want a new folder")));
  quantize_checkpoint(from, DType::kFp8, folder / "once");
  const auto config = nlohmann::json::parse(tests::read_file(folder / "once/config.json"));
  EXPECT_EQ(config.at("quantization_config").at("quant_method"), "fp8");
  EXPECT_EQ(config.at("quantization_config").at("weight_block_size"), (nlohmann::json{128, 128}));
  EXPECT_THAT([&] { quantize_checkpoint(folder / "once", DType::kInt8, folder / "twice"); },
              testing::ThrowsMessage<std::invalid_argument>(
                  HasSubstr("dtype, got F8_E4M3, want F32, BF16 or F16")));
  EXPECT_FALSE(std::filesystem::exists(folder / "twice"));
}
}  // namespace
}  // namespace switchyard::runtime
