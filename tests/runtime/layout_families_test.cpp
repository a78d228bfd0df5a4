// SPDX-License-Identifier: Apache-2.0
// Families that keep their tensors in a way of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/model/layout.hpp"
#include "tests/runtime/layout_block.hpp"

namespace switchyard::runtime {
namespace {

using experts::BlockSpec;
using experts::ExpertTensors;
using namespace layout_tests;  // NOLINT(google-build-using-namespace): helpers of these tests
using testing::HasSubstr;

TEST(LayoutFamilies, GptOssTakesGateAndUpInTurnsAndHasBiases) {
  SafetensorsWriter file;
  add_router(file, "p.router.weight");
  add_fused(file, false, true, kWidth);
  const auto bias = [&](const std::string& name, const Index& shape) {
    add(file, name, shape,
        [](const Index& at) { return weight(kBias, at[0], at.size() > 1 ? at[1] : 0, 0); });
  };
  bias("p.router.bias", {kExperts});
  bias("p.experts.gate_up_proj_bias", {kExperts, 2 * kWidth});
  bias("p.experts.down_proj_bias", {kExperts, kHidden});
  BlockSpec spec = small_spec();
  spec.expert.biases = true;
  const auto opened = open_block(file, "gpt_oss", "p.", spec, {.router = true});
  expect_block(*opened->source);
  ASSERT_EQ(opened->source->router().bias.size(), 3U);
  EXPECT_EQ(opened->source->router().bias[2], weight(kBias, 2, 0, 0));
  const ExpertTensors expert = opened->source->expert(2);
  ASSERT_EQ(expert.gate_bias.size(), static_cast<std::size_t>(kWidth));
  ASSERT_EQ(expert.up_bias.size(), static_cast<std::size_t>(kWidth));
  ASSERT_EQ(expert.down_bias.size(), static_cast<std::size_t>(kHidden));
  EXPECT_EQ(expert.gate_bias[3], weight(kBias, 2, 6, 0));
  EXPECT_EQ(expert.up_bias[3], weight(kBias, 2, 7, 0));
  EXPECT_EQ(expert.down_bias[5], weight(kBias, 2, 5, 0));
}

TEST(LayoutFamilies, PackedExpertsStayPackedAndAreReadByOutputAndInput) {
  constexpr std::int64_t kIn = 32;
  constexpr std::int64_t kOut = 32;
  // The value of (expert, output, input) is +-1 or +-2 by parity, and twice as large for expert 1.
  const auto code = [](std::int64_t o, std::int64_t i) {
    return static_cast<std::uint8_t>((o % 2 == 0 ? 2 : 4) + (i % 3 == 0 ? 8 : 0));
  };
  SafetensorsWriter file;
  add(file, "p.router.weight", {2, kIn}, [](const Index&) { return 0.0F; });
  for (const auto& [name, out] :
       {std::pair{"p.experts.gate_up_proj", 2 * kOut}, std::pair{"p.experts.down_proj", kIn}}) {
    std::vector<std::uint8_t> blocks;
    std::vector<std::uint8_t> scales;
    for (std::int64_t e = 0; e < 2; ++e) {
      for (std::int64_t o = 0; o < out; ++o) {
        scales.push_back(static_cast<std::uint8_t>(127 + e));
        for (std::int64_t i = 0; i < kIn; i += 2) {
          blocks.push_back(static_cast<std::uint8_t>(code(o, i) | (code(o, i + 1) << 4U)));
        }
      }
    }
    file.add(std::string(name) + "_blocks", "U8", {2, out, 1, 16}, blocks);
    file.add(std::string(name) + "_scales", "U8", {2, out, 1}, scales);
  }
  BlockSpec spec = small_spec();
  spec.router.hidden = spec.expert.hidden = kIn;
  spec.expert.width = kOut;
  spec.router.experts = 2;
  const auto opened = open_block(file, "gpt_oss", "p.", spec);
  for (std::int64_t e = 0; e < 2; ++e) {
    const ExpertTensors expert = opened->source->expert(e);
    EXPECT_EQ(expert.gate.type, experts::DType::kMxfp4);  // in place
    for (std::int64_t o = 0; o < kOut; ++o) {
      for (std::int64_t i = 0; i < kIn; ++i) {
        const float sign = (i % 3 == 0 ? -1.0F : 1.0F) * static_cast<float>(e + 1);
        ASSERT_EQ(expert.gate.at(o, i), sign * 1);  // even outputs of the fused tensor
        ASSERT_EQ(expert.up.at(o, i), sign * 2);
        ASSERT_EQ(expert.down.at(o, i), sign * (o % 2 == 0 ? 1.0F : 2.0F));
      }
    }
  }
  BlockSpec odd = spec;
  odd.expert.width = 40;
  EXPECT_THAT(refusal(file, "gpt_oss", "p.", odd),
              HasSubstr("tensor p.experts.gate_up_proj_blocks: shape, got [2, 64, 1, 16], "
                        "want [2, 80, 1, 16]"));
}

TEST(LayoutFamilies, DbrxKeepsExpertsInRowsAndItsDownTransposed) {
  SafetensorsWriter file;
  add_router(file, "p.router.layer.weight");
  for (const auto& [name, kind] : {std::pair{"w1", kGate}, {"v1", kUp}, {"w2", kDown}}) {
    add(file, std::string("p.experts.mlp.") + name, {kExperts * kWidth, kHidden},
        [kind = kind](const Index& at) {
          const std::int64_t e = at[0] / kWidth;
          const std::int64_t f = at[0] % kWidth;
          return kind == kDown ? weight(kind, e, at[1], f) : weight(kind, e, f, at[1]);
        });
  }
  expect_block(*open_block(file, "dbrx", "p.", small_spec())->source);
  expect_block(*open_block(file, "olmoe", "p.", small_spec())->source);
}

TEST(LayoutFamilies, GrokKeepsMatricesByInputAndItsRouterBesideTheBlock) {
  SafetensorsWriter file;
  add(file, "layer_0/router/w", {kHidden, kExperts},
      [](const Index& at) { return weight(kRouter, 0, at[1], at[0]); });
  const auto stack = [&](const std::string& name, int kind, std::int64_t in, std::int64_t out) {
    add(file, "layer_0/moe/" + name + "/w", {kExperts, in, out},
        [kind](const Index& at) { return weight(kind, at[0], at[2], at[1]); });
  };
  stack("linear", kGate, kHidden, kWidth);
  stack("linear_v", kUp, kHidden, kWidth);
  stack("linear_1", kDown, kWidth, kHidden);
  expect_block(*open_block(file, "grok1", "layer_0/moe/", small_spec())->source);
}

TEST(LayoutFamilies, YuanFusesEachExpertAndAttendsInItsRouter) {
  SafetensorsWriter file;
  add_linear(file, "p.gate.query.weight", kRouter, 0, kExperts, kHidden);
  add_linear(file, "p.gate.key.weight", kSecond, 0, kExperts, kHidden);
  add_linear(file, "p.gate.value.weight", kThird, 0, kExperts, kHidden);
  for (std::int64_t e = 0; e < kExperts; ++e) {
    const std::string at = "p.experts." + std::to_string(e);
    add(file, at + ".w1.weight", {2 * kWidth, kHidden}, [e](const Index& i) {
      return weight(i[0] < kWidth ? kGate : kUp, e, i[0] % kWidth, i[1]);
    });
    add_linear(file, at + ".w2.weight", kDown, e, kHidden, kWidth);
  }
  BlockSpec spec = small_spec();
  spec.router.logits = experts::Logits::kAttention;
  const auto opened = open_block(file, "yuan", "p.", spec);
  expect_block(*opened->source);
  expect_view(opened->source->router().second, kSecond, 0, kExperts, kHidden);
  expect_view(opened->source->router().third, kThird, 0, kExperts, kHidden);
}

TEST(LayoutFamilies, LlamaMoeHasTwoLayersInItsRouterAndNoiseThatIsForTraining) {
  SafetensorsWriter file;
  add_linear(file, "p.gate.gate_network.0.weight", kRouter, 0, kExperts, kHidden);
  add_linear(file, "p.gate.gate_network.2.weight", kSecond, 0, kExperts, kExperts);
  for (std::int64_t e = 0; e < kExperts; ++e) {
    const std::string at = "p.calculator.experts.weight_";
    add_linear(file, at + "gate." + std::to_string(e), kGate, e, kWidth, kHidden);
    add_linear(file, at + "up." + std::to_string(e), kUp, e, kWidth, kHidden);
    add_linear(file, at + "down." + std::to_string(e), kDown, e, kHidden, kWidth);
  }
  BlockSpec spec = small_spec();
  spec.router.logits = experts::Logits::kMlpTanh;
  const auto opened = open_block(file, "llama_moe", "p.", spec);
  expect_block(*opened->source);
  expect_view(opened->source->router().second, kSecond, 0, kExperts, kExperts);
  const FamilyLayout layout = layout_of("llama_moe");
  EXPECT_TRUE(belongs_elsewhere(layout, "p.", "p.gate.weight_noise.weight"));
  EXPECT_FALSE(belongs_elsewhere(layout, "p.", "p.gate.weight"));
  EXPECT_THAT(refusal(mixtral(), "mixtral", "p.", spec),
              HasSubstr("family mixtral has no tensor for the router's second matrix"));
}

TEST(LayoutFamilies, OpenMoeSendsTheSecondHalfThroughTheActivation) {
  const auto is_up = [](std::int64_t o) { return o < kWidth; };
  SafetensorsWriter file;
  add_router(file, "layers.3.mlp.gate_weight");
  add(file, "layers.3.mlp.experts.wi_gate", {kExperts, kHidden, 2 * kWidth}, [&](const Index& at) {
    return weight(is_up(at[2]) ? kUp : kGate, at[0], at[2] % kWidth, at[1]);
  });
  add(file, "layers.3.mlp.experts.wi_up", {kExperts, kHidden, kWidth},
      [](const Index& at) { return weight(kLinear, at[0], at[2], at[1]); });
  add(file, "layers.3.mlp.experts.wo", {kExperts, kWidth, kHidden},
      [](const Index& at) { return weight(kDown, at[0], at[2], at[1]); });
  add(file, "layers.3.extra_mlp.gate_proj.weight", {2 * kWidth, kHidden}, [&](const Index& at) {
    return weight(is_up(at[0]) ? kUp : kGate, 9, at[0] % kWidth, at[1]);
  });
  add_linear(file, "layers.3.extra_mlp.up_proj.weight", kLinear, 9, kWidth, kHidden);
  add_linear(file, "layers.3.extra_mlp.down_proj.weight", kDown, 9, kHidden, kWidth);
  BlockSpec spec = small_spec();
  spec.expert.unit = experts::Unit::kTrilinear;
  spec.dense = spec.expert;
  spec.dense_mode = experts::DenseMode::kSequential;
  const auto opened = open_block(file, "openmoe", "layers.3.mlp.", spec);
  expect_block(*opened->source);
  expect_view(opened->source->expert(2).linear, kLinear, 2, kWidth, kHidden);
  expect_expert(opened->source->dense(), 9);
  expect_view(opened->source->dense().linear, kLinear, 9, kWidth, kHidden);
}
}  // namespace
}  // namespace switchyard::runtime
