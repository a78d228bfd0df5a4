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
std::filesystem::path oracle() {
  return SWITCHYARD_TEST_DATA "/golden/oracle";
}

constexpr std::int64_t kHidden = 96;  // blocks of 32 fill both, blocks of 128 neither
constexpr std::int64_t kWidth = 160;
constexpr std::int64_t kExperts = 4;

/// One layer with experts of that size, normal weights in bfloat16, in the layout of a tiny model.
class Made {
 public:
  explicit Made(const std::filesystem::path& of)
      : config_(nlohmann::json::parse(tests::read_file(of / "config.json"))) {
    config_.erase("layer_types");
    config_["num_hidden_layers"] = config_["n_layers"] = 1;
    config_["hidden_size"] = config_["d_model"] = kHidden;
    config_["intermediate_size"] = kWidth;
    config_["num_local_experts"] = kExperts;
    if (config_.contains("num_experts")) config_["num_experts"] = kExperts;
    if (config_.contains("ffn_config")) {
      config_["ffn_config"]["ffn_hidden_size"] = kWidth;
      config_["ffn_config"]["moe_num_experts"] = kExperts;
      config_["ffn_config"]["moe_top_k"] = 2;
    }
  }
  void add(const std::string& name, const std::vector<std::int64_t>& shape) {
    std::int64_t size = 1;
    for (const std::int64_t extent : shape) size *= extent;
    std::vector<std::uint16_t> values;
    for (std::int64_t i = 0; i < size; ++i) {
      values.push_back(experts::narrow_bfloat16(normal_(generator_)));
    }
    file_.add(name, "BF16", shape, values);
  }
  void write(const std::filesystem::path& folder) {
    add("lm_head.weight", {10, kHidden});
    std::filesystem::create_directory(folder);
    tests::write_file(folder / "config.json", config_.dump());
    file_.write(folder / "model.safetensors");
  }

 private:
  nlohmann::json config_;
  tests::SafetensorsWriter file_;
  std::mt19937 generator_{5};
  std::normal_distribution<float> normal_{0.0F, 0.02F};
};

/// Experts by themselves, by output.
void write_mixtral(const std::filesystem::path& folder) {
  Made made(models() / "mixtral-tiny");
  const std::string block = "model.layers.0.block_sparse_moe.";
  made.add(block + "gate.weight", {kExperts, kHidden});
  for (int e = 0; e < kExperts; ++e) {
    const std::string at = block + "experts." + std::to_string(e);
    made.add(at + ".w1.weight", {kWidth, kHidden});
    made.add(at + ".w2.weight", {kHidden, kWidth});
    made.add(at + ".w3.weight", {kWidth, kHidden});
  }
  made.write(folder);
}

/// A stack by input, gate and up in turns.
void write_gpt_oss(const std::filesystem::path& folder) {
  Made made(models() / "gpt-oss-tiny");
  const std::string block = "model.layers.0.mlp.";
  made.add(block + "router.weight", {kExperts, kHidden});
  made.add(block + "router.bias", {kExperts});
  made.add(block + "experts.gate_up_proj", {kExperts, kHidden, 2 * kWidth});
  made.add(block + "experts.gate_up_proj_bias", {kExperts, 2 * kWidth});
  made.add(block + "experts.down_proj", {kExperts, kWidth, kHidden});
  made.add(block + "experts.down_proj_bias", {kExperts, kHidden});
  made.write(folder);
}

/// Experts as rows of one matrix, down by input.
void write_dbrx(const std::filesystem::path& folder) {
  Made made(oracle() / "dbrx-tiny");
  const std::string block = "transformer.blocks.0.ffn.";
  made.add(block + "router.layer.weight", {kExperts, kHidden});
  for (const char* name : {"w1", "v1", "w2"}) {
    made.add(block + "experts.mlp." + name, {kExperts * kWidth, kHidden});
  }
  made.write(folder);
}

/// Stacks by input.
void write_grok(const std::filesystem::path& folder) {
  Made made(oracle() / "grok1-tiny");
  const std::string block = "language_model/decoder_layer_0/";
  made.add(block + "router/w", {kHidden, kExperts});
  made.add(block + "moe/linear/w", {kExperts, kHidden, kWidth});
  made.add(block + "moe/linear_v/w", {kExperts, kHidden, kWidth});
  made.add(block + "moe/linear_1/w", {kExperts, kWidth, kHidden});
  made.write(folder);
}

/// Of the routed experts of a layer of two checkpoints, over the root mean square of the first.
struct Errors {
  double rms = 0;
  double largest = 0;
  std::int64_t weights = 0;
};

Errors errors_between(const Checkpoint& before, const Checkpoint& after, std::int64_t layer) {
  const auto a = before.block(layer);
  const auto b = after.block(layer);
  Errors found;
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
          found.largest = std::max(found.largest, std::abs(error));
          ++found.weights;
        }
      }
    };
    add(x.gate, y.gate);
    add(x.up, y.up);
    add(x.linear, y.linear);
    add(x.down, y.down);
  }
  found.rms = std::sqrt(errors / squares);
  found.largest /= std::sqrt(squares / static_cast<double>(found.weights));
  return found;
}

/// The result of quantising a checkpoint is read again, and its errors are those that were told.
void expect_honest(const std::filesystem::path& from, const std::filesystem::path& to, DType type,
                   const std::vector<QuantizedLayer>& layers) {
  const double least = type == DType::kInt8 ? 0.002 : type == DType::kFp8 ? 0.02 : 0.08;
  const double most = type == DType::kInt8 ? 0.01 : type == DType::kFp8 ? 0.03 : 0.14;
  const Checkpoint before(from);
  const Checkpoint after(to);
  ASSERT_EQ(layers.size(), before.model().moe_layers().size());
  for (const QuantizedLayer& layer : layers) {
    const Errors errors = errors_between(before, after, layer.layer);
    EXPECT_NEAR(layer.rms_error, errors.rms, 1e-9 + 1e-6 * errors.rms);
    EXPECT_NEAR(layer.largest_error, errors.largest, 1e-9 + 1e-6 * errors.largest);
    EXPECT_EQ(layer.weights, errors.weights);
    EXPECT_GT(layer.rms_error, least);
    EXPECT_LT(layer.rms_error, most);
    EXPECT_LT(layer.bytes_after, layer.bytes_before);
    EXPECT_EQ(experts::PackedExpert::own_type(after.block(layer.layer)->expert(0)), type);
  }
}

TEST(Quantize, EveryLayoutInEveryTypeIsReadAgainAndItsErrorIsTheOneThatWasReported) {
  const TempFolder made;
  write_mixtral(made / "mixtral");
  write_gpt_oss(made / "gpt-oss");
  write_dbrx(made / "dbrx");
  write_grok(made / "grok");
  for (const auto& from : std::filesystem::directory_iterator(made.path())) {
    for (const DType type : {DType::kInt8, DType::kFp8, DType::kMxfp4}) {
      SCOPED_TRACE(from.path().string() + " to " + std::string(experts::name_of(type)));
      const TempFolder folder;
      expect_honest(from, folder / "to", type, quantize_checkpoint(from, type, folder / "to"));
      const auto old_tensors = TensorSet::open_directory(from);
      const auto new_tensors = TensorSet::open_directory(folder / "to");
      const std::string head = "lm_head.weight";
      ASSERT_EQ(new_tensors->at(head).data.size(), old_tensors->at(head).data.size());
      EXPECT_TRUE(std::ranges::equal(new_tensors->at(head).data, old_tensors->at(head).data));
    }
  }
}

TEST(Quantize, EveryTinyModelInFloatsIsReadAgain) {
  int models_in_floats = 0;
  for (const auto& parent : {models(), oracle()}) {
    for (const auto& from : std::filesystem::directory_iterator(parent)) {
      const std::string name = from.path().filename();
      if (!from.is_directory() || name == "gpt-oss-mxfp4-tiny" || name == "deepseek-v3-fp8-tiny") {
        continue;
      }
      ++models_in_floats;
      for (const DType type : {DType::kInt8, DType::kFp8}) {
        SCOPED_TRACE(name + " to " + std::string(experts::name_of(type)));
        const TempFolder folder;
        expect_honest(from, folder / "to", type, quantize_checkpoint(from, type, folder / "to"));
      }
      const TempFolder folder;  // none has inputs that blocks of 32 fill
      const auto refused = [&] { quantize_checkpoint(from, DType::kMxfp4, folder / "to"); };
      EXPECT_THAT(refused, testing::ThrowsMessage<std::invalid_argument>(
                               HasSubstr("want a multiple of 32 for mxfp4")));
      EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    }
  }
  EXPECT_EQ(models_in_floats, 32);
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
