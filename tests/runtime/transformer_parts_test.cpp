// SPDX-License-Identifier: Apache-2.0
// Norms, rotary embedding and linear layers against the formulas, in float64 with libm.
#include <cmath>
#include <gmock/gmock.h>
#include <stdexcept>

#include "runtime/transformer/linear.hpp"
#include "runtime/transformer/norm.hpp"
#include "runtime/transformer/rotary.hpp"

namespace switchyard::runtime {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

Model with(const std::vector<std::string>& assignments) {
  Model model = Model::preset("mixtral-8x7b");
  for (const std::string& each : assignments) model.set(each);
  return model;
}

TEST(SinCos, AreThoseOfLibm) {
  for (double x = -7; x < 7; x += 0.0137) {
    EXPECT_NEAR(sin_cos(x).sin, std::sin(x), 4e-16) << x;
    EXPECT_NEAR(sin_cos(x).cos, std::cos(x), 4e-16) << x;
  }
  for (double x = 1; x < 2e8; x *= 1.37) {
    EXPECT_NEAR(sin_cos(x).sin, std::sin(x), 4e-16) << x;
    EXPECT_NEAR(sin_cos(-x).cos, std::cos(x), 4e-16) << x;
  }
}

TEST(Rotary, HalvesOrNeighboursTurnTogether) {
  for (const bool interleaved : {false, true}) {
    const Rotary rotary(
        with({"rope_theta=10000", interleaved ? "rope=interleaved" : "rope=half", "rotary_dim=4"}),
        6);
    ASSERT_EQ(rotary.pairs(), 2);
    std::vector<float> cos(2);
    std::vector<float> sin(2);
    rotary.angles(3, 0, cos, sin);
    std::vector<float> head{1, 2, 3, 4, 5, 6};
    rotary.turn(cos, sin, head.data());
    const double fast = 3;
    const double slow = 3 * std::pow(10000.0, -0.5);
    const double b = interleaved ? 2 : 3;  // partner of element 0
    const double c = interleaved ? 3 : 2;  // first of the second pair
    EXPECT_NEAR(head[0], std::cos(fast) - b * std::sin(fast), 1e-6);
    EXPECT_NEAR(head[interleaved ? 1 : 2], b * std::cos(fast) + std::sin(fast), 1e-6);
    EXPECT_NEAR(head[interleaved ? 2 : 1], c * std::cos(slow) - 4 * std::sin(slow), 1e-6);
    EXPECT_NEAR(head[3], 4 * std::cos(slow) + c * std::sin(slow), 1e-6);
    EXPECT_EQ(head[4], 5);
    EXPECT_EQ(head[5], 6);
  }
}

TEST(Rotary, YarnStretchesSlowPairsAndKeepsFastOnes) {
  const Model model = with({"rope_theta=150000", "rope_scaling=yarn", "rope_factor=32",
                            "rope_original_context=4096", "yarn_truncate=false"});
  const Rotary rotary(model, 64);
  EXPECT_NEAR(rotary.attention_factor(), 0.1 * std::log(32.0) + 1, 1e-15);
  const auto pair_of = [](double turns) {
    return 64 * std::log(4096 / (turns * 2 * M_PI)) / (2 * std::log(150000.0));
  };
  for (int i = 0; i < 32; ++i) {
    const double plain = std::pow(150000.0, -i / 32.0);
    const double ramp =
        std::min(1.0, std::max(0.0, (i - pair_of(32)) / (pair_of(1) - pair_of(32))));
    const double want = plain / 32 * ramp + plain * (1 - ramp);
    EXPECT_NEAR(rotary.frequencies()[static_cast<std::size_t>(i)] / want, 1, 1e-13) << i;
  }
  Model truncated = model;
  truncated.set("yarn_truncate=true");
  EXPECT_NE(Rotary(truncated, 64).frequencies()[10], rotary.frequencies()[10]);
}

TEST(Rotary, MscalesCancelInAnglesAndStayInScores) {
  const Model model =
      with({"rope_theta=10000", "rope_scaling=yarn", "rope_factor=40", "rope_original_context=4096",
            "yarn_mscale=1", "yarn_mscale_all_dim=1"});
  EXPECT_EQ(Rotary(model, 64).attention_factor(), 1);
  const double m = 0.1 * std::log(40.0) + 1;
  EXPECT_NEAR(score_scale(model, 192), m * m / std::sqrt(192.0), 1e-15);
}

TEST(Rotary, Llama3BlendsBetweenTwoWavelengths) {
  const Rotary rotary(
      with({"rope_theta=500000", "rope_scaling=llama3", "rope_factor=8", "rope_low_freq_factor=1",
            "rope_high_freq_factor=4", "rope_original_context=8192"}),
      128);
  for (int i = 0; i < 64; ++i) {
    const double plain = std::pow(500000.0, -i / 64.0);
    const double wave = 2 * M_PI / plain;
    double want = plain;
    if (wave > 8192) want = plain / 8;
    if (wave <= 8192 && wave >= 2048) {
      const double smooth = (8192 / wave - 1) / 3;
      want = (1 - smooth) * plain / 8 + smooth * plain;
    }
    EXPECT_NEAR(rotary.frequencies()[static_cast<std::size_t>(i)] / want, 1, 1e-12) << i;
  }
}

TEST(Rotary, LongropeHasASetForLongContexts) {
  const Rotary rotary(
      with({"rope_theta=10000", "rope_scaling=longrope", "rope_factor=32", "rotary_dim=4",
            "rope_original_context=4096", "rope_short_factors=1,2", "rope_long_factors=4,8"}),
      4);
  ASSERT_EQ(rotary.sets(), 2);
  EXPECT_EQ(rotary.set_of(4095), 0);
  EXPECT_EQ(rotary.set_of(4096), 1);
  EXPECT_NEAR(rotary.frequencies(0)[1], 0.01 / 2, 1e-16);
  EXPECT_NEAR(rotary.frequencies(1)[1], 0.01 / 8, 1e-16);
  EXPECT_NEAR(rotary.attention_factor(), std::sqrt(1 + std::log(32.0) / std::log(4096.0)), 1e-15);
}

TEST(Rotary, NamesTheFieldThatIsWrong) {
  EXPECT_THAT([] { Rotary(with({"rope_theta=0"}), 8); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("rope_theta")));
  EXPECT_THAT(
      [] {
        Rotary(with({"rope_theta=1e4", "rotary_dim=10"}), 8);
      },
      ThrowsMessage<std::invalid_argument>(HasSubstr("rotary_dim, got 10")));
  EXPECT_THAT(
      [] {
        Rotary(with({"rope_theta=1e4", "rope_scaling=yarn"}), 8);
      },
      ThrowsMessage<std::invalid_argument>(HasSubstr("rope_factor")));
}

TEST(Norm, IsTheFormula) {
  std::vector<float> x(37);
  std::vector<float> weight(37);
  std::vector<float> bias(37);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = std::sin(static_cast<float>(i)) + 0.5F;
    weight[i] = 1 + 0.01F * static_cast<float>(i);
    bias[i] = 0.1F * static_cast<float>(i);
  }
  for (const NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
    const bool layer = kind == NormKind::kLayer;
    double mean = 0;
    for (const float v : x) mean += layer ? double{v} / 37 : 0;
    double variance = 0;
    for (const float v : x) variance += (v - mean) * (v - mean) / 37;
    std::vector<float> y(37);
    Norm(kind, weight, layer ? bias : std::vector<float>{}, 1e-2).apply(x, y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want =
          (x[i] - mean) / std::sqrt(variance + 1e-2) * weight[i] + (layer ? double{bias[i]} : 0.0);
      EXPECT_NEAR(y[i], want, 1e-6);
    }
  }
}

TEST(Linear, AddsItsBias) {
  const std::vector<float> weight{1, 2, 3, 4, 5, 6};
  const experts::WeightView view{
      .data = weight.data(), .out = 2, .in = 3, .out_stride = 3, .in_stride = 1};
  const Linear linear(view, {10, 20}, experts::Isa::kPortable);
  experts::Matrix x(1, 3);
  x(0, 0) = 1;
  x(0, 1) = -1;
  x(0, 2) = 2;
  const experts::Matrix y = linear.apply(std::as_const(x).view());
  EXPECT_EQ(y(0, 0), 15);
  EXPECT_EQ(y(0, 1), 31);
  EXPECT_THAT([&] { Linear(view, {1}, experts::Isa::kPortable); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("bias has 1 elements, want 2")));
}
}  // namespace
}  // namespace switchyard::runtime
