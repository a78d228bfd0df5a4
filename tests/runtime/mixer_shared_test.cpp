// SPDX-License-Identifier: Apache-2.0
// Mixers that share or filter what they attend with, against their formulas in float64: cross-layer
// attention (Hunyuan), localized filtering (Yuan), mixture of attention heads (JetMoE).
#include <algorithm>
#include <gmock/gmock.h>

#include "made_up_tensors.hpp"

namespace switchyard::runtime {
namespace {
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Vectors = std::vector<std::vector<double>>;

std::vector<double> part(const std::vector<double>& x, std::int64_t first, std::int64_t count) {
  return {x.begin() + first, x.begin() + first + count};
}

/// A sequence of one head's queries, keys and values, attended to in full.
Vectors attend_reference(const Vectors& q, const Vectors& k, const Vectors& v) {
  Vectors result;
  const double scale = 1 / std::sqrt(static_cast<double>(q.at(0).size()));
  for (std::size_t p = 0; p < q.size(); ++p) {
    std::vector<double> scores;
    for (std::size_t j = 0; j <= p; ++j) scores.push_back(scale * dot(q[p], k[j]));
    const auto end = static_cast<std::ptrdiff_t>(p + 1);
    result.push_back(weigh_reference(scores, {v.begin(), v.begin() + end}));
  }
  return result;
}

// ---- cross-layer attention ----

constexpr std::int64_t kHidden = 12;  // of all models here
constexpr std::int64_t kDim = 4;

Model hunyuan(std::int64_t share, bool norm, std::int64_t heads = 3, std::int64_t kv_heads = 1) {
  return Model::from_config_json(
      R"({"model_type": "hunyuan", "vocab_size": 50, "num_hidden_layers": 6, "hidden_size": 12,
          "head_dim": 4, "num_experts": 4, "use_mixed_mlp_moe": true, "use_cla": true,
          "rope_theta": 100.0, "num_attention_heads": )" +
          std::to_string(heads) + R"(, "num_key_value_heads": )" + std::to_string(kv_heads) +
          R"(, "cla_share_factor": )" + std::to_string(share) + R"(, "use_qk_norm": )" +
          (norm ? "true" : "false") + "}",
      "");
}

/// As the vendor's code: the keys before the turn travel from layer to layer; each layer turns them
/// and norms them with its own weight.
Vectors cross_layer_reference(const MadeUpTensors& tensors, const experts::Matrix& x,
                              std::int64_t layer, std::int64_t owner, bool norm, std::int64_t heads,
                              std::int64_t kv_heads, bool own_key_norm) {
  const auto at = [](std::int64_t l, const std::string& name) {
    return "model.layers." + std::to_string(l) + ".self_attn." + name;
  };
  Vectors outputs(static_cast<std::size_t>(x.rows()));
  for (std::int64_t h = 0; h < heads; ++h) {
    Vectors q;
    Vectors k;
    Vectors v;
    const std::int64_t kv = h / (heads / kv_heads);
    for (std::int64_t p = 0; p < x.rows(); ++p) {
      const std::vector<double> row = row_of(x, p);
      q.push_back(part(tensors.times(at(layer, "q_proj.weight"), row), h * kDim, kDim));
      k.push_back(part(tensors.times(at(owner, "k_proj.weight"), row), kv * kDim, kDim));
      v.push_back(part(tensors.times(at(owner, "v_proj.weight"), row), kv * kDim, kDim));
      for (auto* head : {&q.back(), &k.back()}) {
        turn_reference(head->data(), {1, 0.1}, static_cast<double>(p), false);
      }
      if (!norm) continue;
      q.back() = tensors.rms(at(layer, "query_layernorm.weight"), q.back(), 1e-5);
      k.back() =
          tensors.rms(at(own_key_norm ? layer : owner, "key_layernorm.weight"), k.back(), 1e-5);
    }
    const Vectors seen = attend_reference(q, k, v);
    for (std::size_t p = 0; p < seen.size(); ++p) {
      outputs[p].insert(outputs[p].end(), seen[p].begin(), seen[p].end());
    }
  }
  for (auto& row : outputs) row = tensors.times(at(layer, "o_proj.weight"), row);
  return outputs;
}

void expect_cross_layer(std::int64_t share, bool norm, std::int64_t heads, std::int64_t kv_heads,
                        std::int64_t tokens, bool own_key_norm = true) {
  MadeUpTensors tensors;
  if (!own_key_norm) {
    for (std::int64_t layer = 0; layer < 3; ++layer) {
      tensors.missing.insert("model.layers." + std::to_string(layer) +
                             ".self_attn.key_layernorm.weight");
    }
  }
  const Model model = hunyuan(share, norm, heads, kv_heads);
  const experts::Matrix x = made_up_rows(tokens, kHidden);
  std::vector<std::unique_ptr<Mixer>> mixers;
  std::vector<const Mixer*> layers;
  for (std::int64_t layer = 0; layer < 3; ++layer) {
    mixers.push_back(make_mixer(model, tensors, layer, experts::best_isa()));
    layers.push_back(mixers.back().get());
    const std::int64_t owner = layer / share * share;
    EXPECT_EQ(mixers.back()->make_state() == nullptr, layer != owner);
    EXPECT_LT(worst_error(in_pieces(layers, x, {tokens}),
                          cross_layer_reference(tensors, x, layer, owner, norm, heads, kv_heads,
                                                own_key_norm)),
              1e-5)
        << layer;
  }
  EXPECT_TRUE(same_however_cut({layers[0], layers[1]}, x));
  EXPECT_TRUE(same_however_cut(layers, x));
}

TEST(CrossLayerAttention, LayersWithoutKeysUseThoseOfTheOwner) {
  expect_cross_layer(2, true, 3, 1, 70);
  expect_cross_layer(2, false, 4, 2, 9);
  expect_cross_layer(3, true, 1, 1, 5);
  expect_cross_layer(1, true, 2, 2, 5);
  expect_cross_layer(2, true, 2, 1, 1);
}

TEST(CrossLayerAttention, TheOwnersNormStandsInForOneThatIsLeftOut) {
  expect_cross_layer(2, true, 2, 1, 6, false);
}

TEST(CrossLayerAttention, ANormBeforeTheTurnIsRefused) {
  MadeUpTensors tensors;
  Model model = hunyuan(2, true);
  model.set("qk_norm_after_rope=false");
  EXPECT_THAT([&] { (void)make_mixer(model, tensors, 0, experts::best_isa()); },
              ThrowsMessage<std::invalid_argument>(
                  HasSubstr("model: qk_norm, got per_head before the turn, want")));
}

// ---- localized filtering ----

Model yuan(std::int64_t heads, std::int64_t head_dim) {
  return Model::from_config_json(
      R"({"model_type": "yuan", "vocab_size": 50, "num_hidden_layers": 4, "hidden_size": 12,
          "rope_theta": 100.0, "moe_config": {"moe_num_experts": 4, "ffn_hidden_size": 8},
          "num_attention_heads": )" +
          std::to_string(heads) + R"(, "attention_projection_size": )" +
          std::to_string(heads * head_dim) + "}",
      "");
}

Vectors filtered_reference(const MadeUpTensors& tensors, const experts::Matrix& x,
                           std::int64_t heads, std::int64_t dim) {
  const auto at = [](const std::string& name) { return "model.layers.1.self_attn." + name; };
  const auto convolve = [&](const std::string& name, const Vectors& rows, std::int64_t out) {
    Vectors result;
    const auto in = static_cast<std::int64_t>(rows.at(0).size());
    for (std::size_t p = 0; p < rows.size(); ++p) {
      auto& row = result.emplace_back();
      for (std::int64_t o = 0; o < out; ++o) {
        row.push_back(tensors.at(at(name + ".bias"), o));
        for (std::int64_t i = 0; i < in; ++i) {
          const auto e = static_cast<std::size_t>(i);
          const std::int64_t tap = 2 * (o * in + i);
          if (p > 0) row.back() += tensors.at(at(name + ".weight"), tap) * rows[p - 1][e];
          row.back() += tensors.at(at(name + ".weight"), tap + 1) * rows[p][e];
        }
      }
    }
    return result;
  };
  Vectors rows;
  for (std::int64_t p = 0; p < x.rows(); ++p) rows.push_back(row_of(x, p));
  Vectors filtered =
      convolve("lf_gate.conv2", convolve("lf_gate.conv1", rows, kHidden / 2), kHidden);
  Vectors qk;
  for (std::size_t p = 0; p < rows.size(); ++p) {
    for (std::size_t i = 0; i < rows[p].size(); ++i) filtered[p][i] += rows[p][i];
    filtered[p] = tensors.rms(at("lf_gate.output_layernorm.weight"), filtered[p], 1e-6);
    qk.push_back(tensors.times(at("q_proj.weight"), filtered[p]));
    const std::vector<double> k = tensors.times(at("k_proj.weight"), filtered[p]);
    qk.back().insert(qk.back().end(), k.begin(), k.end());
  }
  Vectors outputs(rows.size());
  const std::int64_t turned = kHidden / heads;  // as many as a head of hidden / heads would have
  std::vector<double> frequencies;
  for (std::int64_t i = 0; i < turned / 2; ++i) {
    frequencies.push_back(
        std::pow(100.0, -2.0 * static_cast<double>(i) / static_cast<double>(turned)));
  }
  for (std::int64_t h = 0; h < heads; ++h) {
    Vectors q;
    Vectors k;
    Vectors v;
    for (std::size_t p = 0; p < rows.size(); ++p) {
      q.push_back(part(qk[p], 2 * h * dim, dim));
      k.push_back(part(qk[p], (2 * h + 1) * dim, dim));
      v.push_back(part(tensors.times(at("v_proj.weight"), rows[p]), h * dim, dim));
      turn_reference(q.back().data(), frequencies, static_cast<double>(p), false);
      turn_reference(k.back().data(), frequencies, static_cast<double>(p), false);
    }
    const Vectors seen = attend_reference(q, k, v);
    for (std::size_t p = 0; p < seen.size(); ++p) {
      outputs[p].insert(outputs[p].end(), seen[p].begin(), seen[p].end());
    }
  }
  for (auto& row : outputs) row = tensors.times(at("o_proj.weight"), row);
  return outputs;
}

void expect_filtered(std::int64_t heads, std::int64_t dim, std::int64_t tokens) {
  MadeUpTensors tensors;
  const Model model = yuan(heads, dim);
  const auto before = make_mixer(model, tensors, 0, experts::best_isa());
  const auto mixer = make_mixer(model, tensors, 1, experts::best_isa());
  const std::vector<const Mixer*> both{before.get(), mixer.get()};
  const experts::Matrix x = made_up_rows(tokens, kHidden);
  EXPECT_LT(worst_error(in_pieces(both, x, {tokens}), filtered_reference(tensors, x, heads, dim)),
            1e-5)
      << heads << " heads of " << dim;
  EXPECT_TRUE(same_however_cut(both, x));
}

TEST(LocalizedFiltering, FeedsQueriesAndKeysAndNotValues) {
  expect_filtered(2, 12, 70);  // rotary on half of each head, as released
  expect_filtered(3, 4, 9);    // on all of it
  expect_filtered(1, 14, 5);
  expect_filtered(2, 12, 1);
}

// ---- mixture of attention heads ----

Model jetmoe(std::int64_t experts, std::int64_t top_k, std::int64_t kv_heads) {
  return Model::from_config_json(
      R"({"model_type": "jetmoe", "vocab_size": 50, "num_hidden_layers": 4, "hidden_size": 12,
          "intermediate_size": 8, "kv_channels": 4, "rope_theta": 100.0, "num_local_experts": )" +
          std::to_string(experts) + R"(, "num_experts_per_tok": )" + std::to_string(top_k) +
          R"(, "num_key_value_heads": )" + std::to_string(kv_heads) + "}",
      "");
}

Vectors mixture_reference(const MadeUpTensors& tensors, const experts::Matrix& x,
                          std::int64_t num_experts, std::int64_t top_k, std::int64_t kv_heads) {
  const auto at = [](const std::string& name) { return "model.layers.1.self_attention." + name; };
  const std::int64_t width = kv_heads * kDim;
  const auto expert = [&](const std::string& name, std::int64_t e, const std::vector<double>& in) {
    std::vector<double> all = tensors.times(at(name), in);
    const std::int64_t out = static_cast<std::int64_t>(all.size()) / num_experts;
    return part(all, e * out, out);
  };
  std::vector<std::vector<std::int64_t>> chosen;
  Vectors weights;
  Vectors keys;
  for (std::int64_t p = 0; p < x.rows(); ++p) {
    const std::vector<double> logits =
        tensors.times(at("experts.router.layer.weight"), row_of(x, p));
    std::vector<std::int64_t> order(logits.size());
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
    });
    order.resize(static_cast<std::size_t>(top_k));
    std::vector<double> shares;
    for (const std::int64_t e : order) {
      shares.push_back(std::exp(logits[static_cast<std::size_t>(e)]));
    }
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares) share /= sum;
    chosen.push_back(order);
    weights.push_back(shares);
    keys.push_back(tensors.times(at("kv_proj.weight"), row_of(x, p)));
  }
  Vectors outputs(static_cast<std::size_t>(x.rows()), std::vector<double>(kHidden));
  for (std::size_t slot = 0; slot < static_cast<std::size_t>(top_k); ++slot) {
    Vectors results(outputs.size());
    for (std::int64_t h = 0; h < kv_heads; ++h) {
      Vectors q;
      Vectors k;
      Vectors v;
      for (std::size_t p = 0; p < outputs.size(); ++p) {
        const std::vector<double> row = row_of(x, static_cast<std::int64_t>(p));
        q.push_back(
            part(expert("experts.input_linear.weight", chosen[p][slot], row), h * kDim, kDim));
        k.push_back(part(keys[p], h * kDim, kDim));
        v.push_back(part(keys[p], width + h * kDim, kDim));
        turn_reference(q.back().data(), {1, 0.1}, static_cast<double>(p), false);
        turn_reference(k.back().data(), {1, 0.1}, static_cast<double>(p), false);
      }
      const Vectors seen = attend_reference(q, k, v);
      for (std::size_t p = 0; p < seen.size(); ++p) {
        results[p].insert(results[p].end(), seen[p].begin(), seen[p].end());
      }
    }
    for (std::size_t p = 0; p < outputs.size(); ++p) {
      const std::vector<double> out =
          expert("experts.output_linear.weight", chosen[p][slot], results[p]);
      for (std::size_t c = 0; c < out.size(); ++c) outputs[p][c] += weights[p][slot] * out[c];
    }
  }
  for (auto& row : outputs) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      row[c] += tensors.at(at("experts.bias"), static_cast<std::int64_t>(c));
    }
  }
  return outputs;
}

void expect_mixture(std::int64_t num_experts, std::int64_t top_k, std::int64_t kv_heads,
                    std::int64_t tokens) {
  MadeUpTensors tensors;
  const Model model = jetmoe(num_experts, top_k, kv_heads);
  const auto before = make_mixer(model, tensors, 0, experts::best_isa());
  const auto mixer = make_mixer(model, tensors, 1, experts::best_isa());
  const std::vector<const Mixer*> both{before.get(), mixer.get()};
  const experts::Matrix x = made_up_rows(tokens, kHidden);
  EXPECT_LT(worst_error(in_pieces(both, x, {tokens}),
                        mixture_reference(tensors, x, num_experts, top_k, kv_heads)),
            1e-5)
      << top_k << " of " << num_experts << ", " << kv_heads << " heads";
  EXPECT_TRUE(same_however_cut(both, x));
}

TEST(MixtureOfHeads, EveryChosenExpertAttendsToTheSameKeys) {
  expect_mixture(5, 2, 3, 70);
  expect_mixture(4, 1, 2, 9);
  expect_mixture(3, 3, 1, 9);
  expect_mixture(1, 1, 1, 4);
  expect_mixture(5, 2, 3, 1);
}

TEST(EveryMixer, TakesABatchWithoutRows) {
  for (const Model& model : {hunyuan(2, true), yuan(2, 12), jetmoe(4, 2, 2)}) {
    MadeUpTensors tensors;
    const auto mixer = make_mixer(model, tensors, 0, experts::best_isa());
    States states;
    experts::Matrix none(0, kHidden);
    EXPECT_NO_THROW(mixer->forward({}, std::as_const(none).view(), states, none.view()));
    EXPECT_GT(mixer->weight_bytes(), 0);
  }
}
}  // namespace
}  // namespace switchyard::runtime
