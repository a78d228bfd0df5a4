// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>

#include "tests/runtime/layout_block.hpp"

namespace switchyard::runtime {
namespace {

using experts::BlockSpec;
using experts::ExpertTensors;
using namespace layout_tests;  // NOLINT(google-build-using-namespace): helpers of these tests
using testing::HasSubstr;

TEST(Layout, ExpertsInTensorsOfTheirOwn) {
  const auto opened = open_block(mixtral(), "mixtral", "p.", small_spec());
  expect_block(*opened->source);
  EXPECT_TRUE(opened->source->shared().up.empty());
  EXPECT_TRUE(opened->source->shared_gate().empty());
  EXPECT_TRUE(opened->source->router().bias.empty());
  EXPECT_THAT([&] { static_cast<void>(opened->source->expert(kExperts)); },
              testing::ThrowsMessage<std::invalid_argument>("p.: expert 3, want 0 to 2"));
  EXPECT_THROW(static_cast<void>(opened->source->expert(-1)), std::invalid_argument);
}

TEST(Layout, ViewsLookAtTheFileAndOutliveTheirSource) {
  auto opened = open_block(mixtral(), "mixtral", "p.", small_spec());
  const ExpertTensors expert = opened->source->expert(1);
  const experts::RouterTensors router = opened->source->router();
  const ExpertTensors again = opened->source->expert(1);
  EXPECT_EQ(expert.gate.data, again.gate.data) << "copied, though aligned float32";
  opened.reset();
  expect_expert(expert, 1);
  expect_view(router.weight, kRouter, 0, kExperts, kHidden);
}

TEST(Layout, MisalignedTensorsAreCopied) {
  const TempFolder folder;
  for (std::size_t padding = 0; padding < 4; ++padding) {
    const auto path = tests::write_file(folder / "a.safetensors", mixtral().bytes(padding));
    const auto set =
        std::make_shared<const TensorSet>(std::make_shared<const SafetensorsFile>(path));
    const auto source = block_source(set, {.family = "mixtral", .prefix = "p.", .router = {}},
                                     small_spec(), false, false, nullptr);
    expect_block(*source);
    const auto address = reinterpret_cast<std::uintptr_t>(source->expert(1).gate.data);
    EXPECT_EQ(address % alignof(float), 0U);
  }
}

TEST(Layout, FusedHalvesOfAllExpertsInOneTensor) {  // merged in memory; also Granite's and JetMoE's
  SafetensorsWriter file;
  add_router(file, "p.router.layer.weight");
  add(file, "p.input_linear.weight", {kExperts, 2 * kWidth, kHidden}, [](const Index& at) {
    return weight(at[1] < kWidth ? kGate : kUp, at[0], at[1] % kWidth, at[2]);
  });
  add(file, "p.output_linear.weight", {kExperts, kHidden, kWidth},
      [](const Index& at) { return weight(kDown, at[0], at[1], at[2]); });
  expect_block(*open_block(file, "granitemoe", "p.", small_spec())->source);

  BlockSpec spec = small_spec();
  spec.output_bias = true;
  add(file, "p.bias", {kHidden}, [](const Index& at) { return weight(kBias, 0, at[0], 0); });
  const auto opened = open_block(file, "jetmoe", "p.", spec);
  expect_block(*opened->source);
  ASSERT_EQ(opened->source->output_bias().size(), static_cast<std::size_t>(kHidden));
  EXPECT_EQ(opened->source->output_bias()[5], weight(kBias, 0, 5, 0));
}

TEST(Layout, FusedTensorsOfOneNameAreToldApartByShapeEvenWhereOneIsSquare) {
  for (const std::int64_t width : {kHidden / 2, kHidden, kWidth}) {  // gate_up square, down square
    for (const bool linear : {true, false}) {
      SafetensorsWriter file;
      add_router(file, "p.gate.weight");
      add_fused(file, linear, false, width);
      BlockSpec spec = small_spec();
      spec.expert.width = width;
      const auto opened = open_block(file, "qwen3_moe", "p.", spec);
      for (std::int64_t e = 0; e < kExperts; ++e) {
        const ExpertTensors expert = opened->source->expert(e);
        expect_view(expert.gate, kGate, e, width, kHidden);
        expect_view(expert.up, kUp, e, width, kHidden);
        expect_view(expert.down, kDown, e, kHidden, width);
      }
    }
  }
}

TEST(Layout, ARouterMayBeNamedByItsCaller) {
  SafetensorsWriter file = mixtral();
  const TempFolder folder;
  add(file, "elsewhere", {kExperts, kHidden}, [](const Index&) { return 5.0F; });
  const auto set = std::make_shared<const TensorSet>(
      std::make_shared<const SafetensorsFile>(file.write(folder / "a.safetensors")));
  const auto source =
      block_source(set, {.family = "mixtral", .prefix = "p.", .router = "elsewhere"}, small_spec(),
                   false, false, nullptr);
  EXPECT_EQ(source->router().weight.at(1, 1), 5.0F);
}

TEST(Layout, SharedExpertsTheirGateAndTheSelectionBiasAreFound) {
  SafetensorsWriter file;
  add_router(file, "p.gate.weight");
  for (std::int64_t e = 0; e <= kExperts; ++e) {
    const std::string at =
        e < kExperts ? "p.experts." + std::to_string(e) : std::string("p.shared_expert");
    add_linear(file, at + ".gate_proj.weight", kGate, e, kWidth, kHidden);
    add_linear(file, at + ".up_proj.weight", kUp, e, kWidth, kHidden);
    add_linear(file, at + ".down_proj.weight", kDown, e, kHidden, kWidth);
  }
  add_linear(file, "p.shared_expert_gate.weight", kShared, 0, 1, kHidden);
  BlockSpec spec = small_spec();
  spec.shared = spec.expert;
  spec.shared_gate = experts::SharedGate::kSigmoid;
  const auto opened = open_block(file, "qwen2_moe", "p.", spec);
  expect_block(*opened->source);
  expect_expert(opened->source->shared(), kExperts);
  expect_view(opened->source->shared_gate(), kShared, 0, 1, kHidden);
  EXPECT_THAT(refusal(file, "qwen2_moe", "p.", spec, {.selection = true}),
              HasSubstr("family qwen2_moe has no tensor for the selection bias"));

  SafetensorsWriter minimax = mixtral();
  add(minimax, "p.e_score_correction_bias", {1, kExperts},  // one row, as Ernie has it
      [](const Index& at) { return weight(kBias, 0, at[1], 0); });
  const auto biased = open_block(minimax, "minimax_m2", "p.", small_spec(), {.selection = true});
  ASSERT_EQ(biased->source->router().selection_bias.size(), 3U);
  EXPECT_EQ(biased->source->router().selection_bias[2], weight(kBias, 0, 2, 0));
}

TEST(Layout, IdentityExpertsHaveLogitsAndNoWeights) {
  SafetensorsWriter file;
  add_linear(file, "p.router.classifier.weight", kRouter, 0, kExperts + 2, kHidden);
  for (std::int64_t e = 0; e < kExperts; ++e) {
    const std::string at = "p.experts." + std::to_string(e);
    add_linear(file, at + ".gate_proj.weight", kGate, e, kWidth, kHidden);
    add_linear(file, at + ".up_proj.weight", kUp, e, kWidth, kHidden);
    add_linear(file, at + ".down_proj.weight", kDown, e, kHidden, kWidth);
  }
  BlockSpec spec = small_spec();
  spec.router.identity = 2;
  const auto opened = open_block(file, "longcat_flash", "p.", spec);
  expect_view(opened->source->router().weight, kRouter, 0, kExperts + 2, kHidden);
  EXPECT_THROW(static_cast<void>(opened->source->expert(kExperts)), std::invalid_argument);
}

TEST(Layout, Float16AndBfloat16StayInPlace) {
  for (const char* dtype : {"F16", "BF16"}) {
    const std::uint16_t one_and_half = dtype[0] == 'F' ? 0x3e00 : 0x3fc0;
    const auto halves = [&](SafetensorsWriter& file, const std::string& name, std::int64_t out,
                            std::int64_t in) {
      file.add(name, dtype, {out, in},
               std::vector<std::uint16_t>(static_cast<std::size_t>(out * in), one_and_half));
    };
    SafetensorsWriter file;
    halves(file, "p.gate.weight", kExperts, kHidden);
    for (std::int64_t e = 0; e < kExperts; ++e) {
      const std::string at = "p.experts." + std::to_string(e);
      halves(file, at + ".w1.weight", kWidth, kHidden);
      halves(file, at + ".w3.weight", kWidth, kHidden);
      halves(file, at + ".w2.weight", kHidden, kWidth);
    }
    const auto opened = open_block(file, "mixtral", "p.", small_spec());
    const ExpertTensors expert = opened->source->expert(2);
    EXPECT_EQ(expert.down.type,
              dtype[0] == 'F' ? experts::DType::kFloat16 : experts::DType::kBfloat16);
    EXPECT_EQ(expert.down.at(5, 3), 1.5F);
    EXPECT_EQ(expert.gate.at(0, 0), 1.5F);
    EXPECT_EQ(opened->source->router().weight.at(2, 5), 1.5F);
  }
}

TEST(Layout, TensorsThatAreMissingOrOfAnotherShapeOrTypeAreNamed) {
  BlockSpec four = small_spec();
  four.router.experts = 4;
  EXPECT_THAT(refusal(mixtral(), "mixtral", "p.", four),
              testing::AllOf(HasSubstr("block.safetensors: tensor p.gate.weight: shape"),
                             HasSubstr("got [3, 6], want [4, 6]")));
  EXPECT_THAT(refusal(mixtral(2), "mixtral", "p.", small_spec()),
              HasSubstr("tensor p.experts.2.w1.weight: missing in "));
  EXPECT_THAT(refusal(mixtral(), "mixtral", "q.", small_spec()),
              HasSubstr("tensor q.gate.weight: missing in "));
  BlockSpec huge = small_spec();
  huge.expert.width = std::int64_t{1} << 62U;
  EXPECT_THAT(refusal(mixtral(), "mixtral", "p.", huge),
              HasSubstr("width of a network, got 4611686018427387904, want 1 to 2^30"));
  BlockSpec wide = small_spec();
  wide.expert.width = 5;
  EXPECT_THAT(refusal(mixtral(), "mixtral", "p.", wide),
              HasSubstr("tensor p.experts.0.w1.weight: shape, got [4, 6], want [5, 6]"));
  SafetensorsWriter file = mixtral(2);
  file.add("p.experts.2.w1.weight", "U8", {kWidth, kHidden}, std::string(kWidth * kHidden, 'x'));
  EXPECT_THAT(refusal(file, "mixtral", "p.", small_spec()),
              HasSubstr("tensor p.experts.2.w1.weight: dtype, got U8, want F32, BF16 or F16"));
  BlockSpec shared = small_spec();
  shared.shared = shared.expert;
  EXPECT_THAT(refusal(mixtral(), "mixtral", "p.", shared),
              HasSubstr("family mixtral has no tensor for the shared expert"));
  EXPECT_THAT(refusal(mixtral(), "gpt2", "p.", small_spec()),
              HasSubstr("layout: family 'gpt2', want one of arctic, dbrx"));
}

TEST(Layout, NamesAreMadeFromPatterns) {
  EXPECT_EQ(tensor_name("a.", "experts.{e}.w1", 12), "a.experts.12.w1");
  EXPECT_EQ(tensor_name("model.layers.1.moe.", "../mlp.w1", 0), "model.layers.1.mlp.w1");
  EXPECT_EQ(tensor_name("d/layer_0/moe/", "../router/w", 0), "d/layer_0/router/w");
  EXPECT_EQ(tensor_name("moe.", "../w", 0), "w");
  EXPECT_EQ(tensor_name("", "../w", 0), "w");
  EXPECT_EQ(tensor_name("x{e}.", "w", 7), "x{e}.w");
  EXPECT_EQ(bias_pattern("router.weight"), "router.bias");
  EXPECT_EQ(bias_pattern("mlp1_weight"), "mlp1_bias");
  EXPECT_EQ(bias_pattern("experts.down_proj"), "experts.down_proj_bias");
}

TEST(Layout, EveryFamilyHasOneRowWithWhatEveryBlockNeeds) {
  std::set<std::string> seen;
  for (const FamilyLayout& row : all_layouts()) {
    EXPECT_TRUE(seen.insert(row.family).second) << row.family << " twice";
    EXPECT_FALSE(row.prefixes.empty()) << row.family;
    EXPECT_FALSE(row.routers.empty()) << row.family;
    EXPECT_FALSE(row.experts.empty()) << row.family;
    for (const std::string& prefix : row.prefixes) EXPECT_THAT(prefix, HasSubstr("{l}"));
  }
}
}  // namespace
}  // namespace switchyard::runtime
