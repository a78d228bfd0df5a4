// SPDX-License-Identifier: Apache-2.0
// Jamba's Mamba mixer against its recurrence in float64.
#include <gmock/gmock.h>

#include "made_up_tensors.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::int64_t kHidden = 10;

Model model_of(std::int64_t state, std::int64_t taps, std::int64_t rank) {
  return Model::from_config_json(
      R"({"model_type": "jamba", "vocab_size": 50, "num_hidden_layers": 8, "hidden_size": 10,
          "intermediate_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1,
          "rms_norm_eps": 1e-5, "mamba_expand": 2, "mamba_d_state": )" +
          std::to_string(state) + R"(, "mamba_d_conv": )" + std::to_string(taps) +
          R"(, "mamba_dt_rank": )" + std::to_string(rank) + "}",
      "");
}

double silu(double x) {
  return x / (1 + std::exp(-x));
}

std::vector<std::vector<double>> reference(const MadeUpTensors& tensors, const experts::Matrix& x,
                                           std::int64_t state, std::int64_t taps,
                                           std::int64_t rank) {
  const std::string at = "model.layers.1.mamba.";
  constexpr std::int64_t kInner = 2 * kHidden;
  std::vector<std::vector<double>> inputs;
  std::vector<double> h(static_cast<std::size_t>(kInner * state));
  std::vector<std::vector<double>> result;
  for (std::int64_t p = 0; p < x.rows(); ++p) {
    const std::vector<double> both = tensors.times(at + "in_proj.weight", row_of(x, p));
    inputs.emplace_back(both.begin(), both.begin() + kInner);
    std::vector<double> u;
    for (std::int64_t i = 0; i < kInner; ++i) {
      double sum = tensors.at(at + "conv1d.bias", i);
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        const std::int64_t token = p - taps + 1 + tap;
        if (token < 0) continue;
        sum += tensors.at(at + "conv1d.weight", i * taps + tap) *
               inputs[static_cast<std::size_t>(token)][static_cast<std::size_t>(i)];
      }
      u.push_back(silu(sum));
    }
    const std::vector<double> dbc = tensors.times(at + "x_proj.weight", u);
    const auto dt = tensors.times(
        at + "dt_proj.weight",
        tensors.rms(at + "dt_layernorm.weight", {dbc.begin(), dbc.begin() + rank}, 1e-5),
        at + "dt_proj.bias");
    const auto b = tensors.rms(at + "b_layernorm.weight",
                               {dbc.begin() + rank, dbc.begin() + rank + state}, 1e-5);
    const auto c =
        tensors.rms(at + "c_layernorm.weight", {dbc.begin() + rank + state, dbc.end()}, 1e-5);
    std::vector<double> y;
    for (std::int64_t i = 0; i < kInner; ++i) {
      const auto e = static_cast<std::size_t>(i);
      const double step = std::log1p(std::exp(dt[e]));
      double sum = tensors.at(at + "D", i) * u[e];
      for (std::int64_t n = 0; n < state; ++n) {
        const auto s = static_cast<std::size_t>(n);
        double& cell = h[e * static_cast<std::size_t>(state) + s];
        cell = std::exp(-std::exp(tensors.at(at + "A_log", i * state + n)) * step) * cell +
               step * b[s] * u[e];
        sum += cell * c[s];
      }
      y.push_back(sum * silu(both[e + static_cast<std::size_t>(kInner)]));
    }
    result.push_back(tensors.times(at + "out_proj.weight", y));
  }
  return result;
}

void expect_reference(std::int64_t state, std::int64_t taps, std::int64_t rank,
                      std::int64_t tokens) {
  MadeUpTensors tensors;
  const Model model = model_of(state, taps, rank);
  const auto before = make_mixer(model, tensors, 0, experts::best_isa());
  const auto mixer = make_mixer(model, tensors, 1, experts::best_isa());
  const experts::Matrix x = made_up_rows(tokens, kHidden);
  const std::vector<const Mixer*> both{before.get(), mixer.get()};
  EXPECT_LT(worst_error(in_pieces(both, x, {tokens}), reference(tensors, x, state, taps, rank)),
            1e-5);
  EXPECT_TRUE(same_however_cut(both, x));
}

TEST(Mamba, IsItsRecurrenceAtAnySize) {
  expect_reference(4, 4, 3, 40);
  expect_reference(1, 2, 1, 7);
  expect_reference(3, 1, 2, 7);
  expect_reference(4, 4, 3, 1);
}

TEST(Mamba, RemembersAsMuchAfterAnyNumberOfTokens) {
  MadeUpTensors tensors;
  const auto mixer = make_mixer(model_of(4, 4, 3), tensors, 0, experts::best_isa());
  EXPECT_EQ(mixer->make_state()->bytes(), 4 * (3 * 20 + 20 * 4));
}

TEST(Mamba, EveryEighthLayerAttendsInstead) {
  MadeUpTensors tensors;
  const Model model = model_of(4, 4, 3);
  const auto mixer = make_mixer(model, tensors, 4, experts::best_isa());
  const experts::Matrix x = made_up_rows(5, kHidden);
  std::vector<std::unique_ptr<Mixer>> before;
  std::vector<const Mixer*> all;
  for (std::int64_t layer = 0; layer < 4; ++layer) {
    before.push_back(make_mixer(model, tensors, layer, experts::best_isa()));
    all.push_back(before.back().get());
  }
  all.push_back(mixer.get());
  EXPECT_TRUE(same_however_cut(all, x));
  EXPECT_NO_THROW((void)tensors.at("model.layers.4.self_attn.q_proj.weight", 0));
  EXPECT_THROW((void)tensors.at("model.layers.4.mamba.D", 0), std::out_of_range);
}
}  // namespace
}  // namespace switchyard::runtime
