// SPDX-License-Identifier: Apache-2.0
// Numbers of whole synthetic models against their specification in experts/README.md.
#include "runtime/transformer/synthetic_weights.hpp"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experts/synthetic.hpp"

namespace switchyard::runtime {
namespace {

using testing::HasSubstr;

Model small(const std::string& preset) {
  Model model = Model::preset(preset);
  for (const char* field : {"hidden_size=16", "vocab_size=9", "moe_intermediate_size=8"}) {
    model.set(field);
  }
  return model.first_layers(2);
}

/// u of element i of a tensor, step by step.
float u_of(std::uint32_t name, std::uint32_t stream, std::uint32_t i) {
  const auto words = experts::philox({i / 4, 0, name, stream}, {5, 0});
  const auto word = static_cast<std::int32_t>(words[i % 4]);
  return static_cast<float>(word >> 8) * 0x1p-23F;
}

TEST(SyntheticWeights, ATensorIsTheStreamOfItsName) {
  constexpr std::uint32_t kEmbedding = 0x403ade76U;  // FNV-1a of the names below
  constexpr std::uint32_t kNorm = 0xbe0496c4U;
  constexpr std::uint32_t kBias = 0x76f66a7fU;
  SyntheticWeights weights(small("qwen1.5-moe-a2.7b"), 5);
  const auto tensors = weights.tensors();
  const auto embedding = tensors->matrix("model.embed_tokens.weight", 9, 16);
  const float gain = static_cast<float>(std::sqrt(3.0 / 16));
  EXPECT_EQ(embedding.at(0, 0), gain * u_of(kEmbedding, 18, 0));
  EXPECT_EQ(embedding.at(8, 15), gain * u_of(kEmbedding, 18, 143));
  EXPECT_EQ(tensors->values("model.norm.weight", 16)[3], 1.0F + 0.1F * u_of(kNorm, 19, 3));
  const std::string bias = "model.layers.1.self_attn.k_proj.bias";
  EXPECT_EQ(tensors->values(bias, 2048)[6], 0.1F * u_of(kBias, 20, 6));
}

TEST(SyntheticWeights, BlocksAreThoseOfRun) {
  const Model model = small("olmoe");
  SyntheticWeights weights(model, 5);
  const auto block = weights.block(1);
  experts::SyntheticSource alone(model.block(), 5, 1, false, false);
  EXPECT_EQ(block->expert(3).down.at(7, 5), alone.expert(3).down.at(7, 5));
  EXPECT_EQ(block->router().weight.at(2, 1), alone.router().weight.at(2, 1));
}

TEST(SyntheticWeights, FirstLayersKeepTheListsOfTheOthersOut) {
  const Model model = Model::preset("llama-4-scout").first_layers(3);
  EXPECT_EQ(model.num_layers(), 3);
  EXPECT_NO_THROW(model.validate());
  EXPECT_EQ(Model::preset("deepseek-v3").first_layers(4).num_moe_layers(), 1);
  EXPECT_THAT([] { static_cast<void>(Model::preset("deepseek-v3").first_layers(3)); },
              testing::ThrowsMessage<std::invalid_argument>(
                  HasSubstr("--layers: got 3, want 4 to 61: layer 3 is the first with experts")));
  EXPECT_THAT([] { static_cast<void>(Model::preset("olmoe").first_layers(17)); },
              testing::ThrowsMessage<std::invalid_argument>(HasSubstr("want 1 to 16")));
}
}  // namespace
}  // namespace switchyard::runtime
