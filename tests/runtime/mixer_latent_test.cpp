// SPDX-License-Identifier: Apache-2.0
// Latent attention and the sparse indexer against the expanded formula in float64.
#include <algorithm>
#include <gmock/gmock.h>

#include "made_up_tensors.hpp"

namespace switchyard::runtime {
namespace {
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

struct Settings {
  bool compressed = true;
  bool interleaved = true;
  bool yarn = false;
  bool bias = false;
  std::int64_t heads = 3;
  std::int64_t index_topk = 0;  ///< 0: no indexer
};

constexpr std::int64_t kHidden = 20;
constexpr std::int64_t kNope = 6;
constexpr std::int64_t kRope = 4;
constexpr std::int64_t kValue = 5;
constexpr std::int64_t kLatent = 9;
constexpr std::int64_t kQueryLatent = 7;
constexpr std::int64_t kIndexHeads = 2;
constexpr std::int64_t kIndexDim = 8;

Model model_of(const Settings& s) {
  const auto number = [](std::int64_t value) { return std::to_string(value); };
  std::string json =
      R"({"model_type": ")" + std::string(s.index_topk > 0 ? "glm_moe_dsa" : "deepseek_v3") +
      R"(", "vocab_size": 50, "num_hidden_layers": 4, "rope_theta": 100.0,
      "hidden_size": 20, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5,
      "kv_lora_rank": 9, "index_n_heads": 2, "index_head_dim": 8, "q_lora_rank": )" +
      (s.compressed ? "7" : "null") + R"(, "num_attention_heads": )" + number(s.heads) +
      R"(, "rope_interleave": )" + (s.interleaved ? "true" : "false") + R"(, "attention_bias": )" +
      (s.bias ? "true" : "false");
  if (s.index_topk > 0) json += R"(, "index_topk": )" + number(s.index_topk);
  if (s.yarn) {
    json += R"(, "max_position_embeddings": 256, "rope_scaling": {"type": "yarn", "factor": 4,
        "original_max_position_embeddings": 64, "mscale": 1.0, "mscale_all_dim": 1.0})";
  }
  return Model::from_config_json(json + "}", "");
}

/// The reference: every head's keys and values in full.
class Expanded {
 public:
  Expanded(const Settings& s, const MadeUpTensors& tensors, const experts::Matrix& x)
      : s_(s), tensors_(tensors) {
    for (std::int64_t p = 0; p < x.rows(); ++p) add(row_of(x, p), static_cast<double>(p));
  }

  [[nodiscard]] std::vector<std::vector<double>> rows() const {
    std::vector<std::vector<double>> result;
    const double m = s_.yarn ? 0.1 * std::log(4.0) + 1 : 1;
    const double scale = m * m / std::sqrt(static_cast<double>(kNope + kRope));
    for (std::size_t p = 0; p < q_.size(); ++p) {
      const std::vector<bool> seen = chosen(p);
      std::vector<double> heads;
      for (std::size_t h = 0; h < static_cast<std::size_t>(s_.heads); ++h) {
        std::vector<double> scores;
        std::vector<std::vector<double>> values;
        for (std::size_t j = 0; j <= p; ++j) {
          if (!seen[j]) continue;
          scores.push_back(scale * dot(q_[p][h], k_[j][h]));
          values.push_back(v_[j][h]);
        }
        const std::vector<double> head = weigh_reference(scores, values);
        heads.insert(heads.end(), head.begin(), head.end());
      }
      result.push_back(tensors_.times(at("o_proj.weight"), heads, bias("o_proj.bias")));
    }
    return result;
  }

 private:
  static std::string at(const std::string& name) { return "model.layers.1.self_attn." + name; }
  [[nodiscard]] std::string bias(const std::string& name) const { return s_.bias ? at(name) : ""; }
  void turn(double* head, double position) const {
    // 100^(-2 i / 4). YaRN's ramp here runs from pair 0 to pair 2, so pair 1 is half a quarter.
    turn_reference(head, {1, s_.yarn ? 0.1 * (0.5 + 0.5 / 4) : 0.1}, position, s_.interleaved);
  }

  void add(const std::vector<double>& x, double position) {
    std::vector<double> latent = x;
    if (s_.compressed) {
      latent = tensors_.rms(at("q_a_layernorm.weight"),
                            tensors_.times(at("q_a_proj.weight"), x, bias("q_a_proj.bias")), 1e-6);
    }
    const std::vector<double> q =
        tensors_.times(at(s_.compressed ? "q_b_proj.weight" : "q_proj.weight"), latent);
    const std::vector<double> kv =
        tensors_.times(at("kv_a_proj_with_mqa.weight"), x, bias("kv_a_proj_with_mqa.bias"));
    const std::vector<double> wide = tensors_.times(
        at("kv_b_proj.weight"),
        tensors_.rms(at("kv_a_layernorm.weight"), {kv.begin(), kv.begin() + kLatent}, 1e-6));
    std::vector<double> shared(kv.begin() + kLatent, kv.end());
    turn(shared.data(), position);
    auto& queries = q_.emplace_back();
    auto& keys = k_.emplace_back();
    auto& values = v_.emplace_back();
    for (std::int64_t h = 0; h < s_.heads; ++h) {
      const auto own = q.begin() + h * (kNope + kRope);
      queries.emplace_back(own, own + kNope + kRope);
      turn(queries.back().data() + kNope, position);
      const auto head = wide.begin() + h * (kNope + kValue);
      keys.emplace_back(head, head + kNope);
      keys.back().insert(keys.back().end(), shared.begin(), shared.end());
      values.emplace_back(head + kNope, head + kNope + kValue);
    }
    if (s_.index_topk > 0) add_index(x, latent, position);
  }

  void add_index(const std::vector<double>& x, const std::vector<double>& latent, double position) {
    std::vector<double> k = tensors_.times(at("indexer.wk.weight"), x);
    double mean = 0;
    for (const double v : k) mean += v / kIndexDim;
    double variance = 0;
    for (const double v : k) variance += (v - mean) * (v - mean) / kIndexDim;
    for (std::size_t i = 0; i < k.size(); ++i) {
      const auto e = static_cast<std::int64_t>(i);
      k[i] =
          (k[i] - mean) / std::sqrt(variance + 1e-6) * tensors_.at(at("indexer.k_norm.weight"), e) +
          tensors_.at(at("indexer.k_norm.bias"), e);
    }
    turn_reference(k.data(), {1, 0.1}, position, true);
    index_k_.push_back(k);
    index_q_.push_back(tensors_.times(at("indexer.wq_b.weight"), latent));
    for (std::int64_t h = 0; h < kIndexHeads; ++h) {
      turn_reference(index_q_.back().data() + h * kIndexDim, {1, 0.1}, position, true);
    }
    index_w_.push_back(tensors_.times(at("indexer.weights_proj.weight"), x));
  }

  [[nodiscard]] std::vector<bool> chosen(std::size_t p) const {
    std::vector<bool> seen(p + 1, true);
    if (s_.index_topk == 0 || static_cast<std::int64_t>(p) < s_.index_topk) return seen;
    std::vector<std::pair<double, std::size_t>> scores;  // negated: best first, then lower position
    for (std::size_t j = 0; j <= p; ++j) {
      double score = 0;
      for (std::int64_t h = 0; h < kIndexHeads; ++h) {
        const auto q = index_q_[p].begin() + h * kIndexDim;
        const double product = std::inner_product(q, q + kIndexDim, index_k_[j].begin(), 0.0);
        score += index_w_[p][static_cast<std::size_t>(h)] / std::sqrt(double{kIndexHeads}) *
                 std::max(product / std::sqrt(double{kIndexDim}), 0.0);
      }
      scores.emplace_back(-score, j);
    }
    std::sort(scores.begin(), scores.end());
    seen.assign(p + 1, false);
    for (std::int64_t i = 0; i < s_.index_topk; ++i) {
      seen[scores[static_cast<std::size_t>(i)].second] = true;
    }
    return seen;
  }

  const Settings& s_;
  const MadeUpTensors& tensors_;
  using Heads = std::vector<std::vector<double>>;
  std::vector<Heads> q_;
  std::vector<Heads> k_;
  std::vector<Heads> v_;
  Heads index_q_;
  Heads index_k_;
  Heads index_w_;
};

/// Layer 1's mixer; layer 0's stands in for it where only a number of states is needed.
std::unique_ptr<Mixer> mixer_of(const Settings& s, MadeUpTensors& tensors, std::int64_t layer,
                                experts::Isa isa = experts::best_isa()) {
  return make_mixer(model_of(s), tensors, layer, isa);
}

void expect_reference(const Settings& s, std::int64_t tokens) {
  MadeUpTensors tensors;
  const auto before = mixer_of(s, tensors, 0);
  const auto mixer = mixer_of(s, tensors, 1);
  const experts::Matrix x = made_up_rows(tokens, kHidden);
  const Expanded reference(s, tensors, x);
  EXPECT_LT(worst_error(in_pieces({before.get(), mixer.get()}, x, {tokens}), reference.rows()),
            1e-5);
  EXPECT_TRUE(same_however_cut({before.get(), mixer.get()}, x));
}

TEST(LatentAttention, IsTheExpandedFormulaWithEverySetting) {
  expect_reference({}, 70);
  expect_reference({.compressed = false}, 9);
  expect_reference({.interleaved = false}, 9);
  expect_reference({.yarn = true}, 9);
  expect_reference({.bias = true}, 9);
  expect_reference({.heads = 1}, 5);
  expect_reference({}, 1);
}

TEST(LatentAttention, KeepsTheLatentAndOneTurnedKeyOfAToken) {
  MadeUpTensors tensors;
  const auto mixer = mixer_of({}, tensors, 0);
  States states;
  std::vector<std::unique_ptr<MixerState>> by_layer;
  by_layer.push_back(mixer->make_state());
  const std::int64_t sequence = states.add(std::move(by_layer));
  EXPECT_EQ(states.bytes(), 0);
  const experts::Matrix x = made_up_rows(64, kHidden);
  Batch batch;
  batch.ids.resize(64);
  batch.segments = {{.sequence = sequence, .first = 0, .count = 64}};
  experts::Matrix out(64, kHidden);
  mixer->forward(batch, x.view(), states, out.view());
  EXPECT_EQ(states.bytes(), 64 * (kLatent + kRope) * 4);
}

TEST(LatentAttention, HasOneSetOfBitsOverAllInstructions) {
  const experts::Matrix x = made_up_rows(67, kHidden);
  std::vector<experts::Matrix> results;
  for (const experts::Isa isa : {experts::Isa::kPortable, experts::best_isa()}) {
    MadeUpTensors tensors;
    const auto mixer = mixer_of({.index_topk = 8}, tensors, 0, isa);
    results.push_back(in_pieces({mixer.get()}, x, {67}));
  }
  EXPECT_TRUE(std::equal(results[0].data(), results[0].data() + 67 * kHidden, results[1].data()));
}

TEST(SparseIndexer, AttendsToTheBestPositionsOnly) {
  expect_reference({.index_topk = 4}, 130);
  expect_reference({.interleaved = false, .index_topk = 1}, 12);
}

TEST(SparseIndexer, ChangesNothingWhileThereIsNothingToLeaveOut) {
  const experts::Matrix x = made_up_rows(12, kHidden);
  MadeUpTensors tensors;
  const auto wide = mixer_of({.index_topk = 12}, tensors, 0);
  const auto narrow = mixer_of({.index_topk = 11}, tensors, 0);
  const auto plain = mixer_of({}, tensors, 0);
  const experts::Matrix all = in_pieces({plain.get()}, x, {12});
  const auto rows = [](const experts::Matrix& m, std::int64_t count) {
    return std::vector<float>(m.data(), m.data() + count * m.cols());
  };
  EXPECT_EQ(rows(in_pieces({wide.get()}, x, {12}), 12), rows(all, 12));
  EXPECT_EQ(rows(in_pieces({narrow.get()}, x, {12}), 11), rows(all, 11));
  EXPECT_NE(rows(in_pieces({narrow.get()}, x, {12}), 12), rows(all, 12));
}

TEST(SparseIndexer, TiesGoToTheLowerPosition) {
  // Weights of 0: all scores are equal, so the first index_topk positions are seen by all.
  MadeUpTensors tensors;
  const Settings s{.index_topk = 3};
  auto& weights = tensors.floats("model.layers.1.self_attn.indexer.weights_proj.weight",
                                 kIndexHeads * kHidden, kHidden);
  std::fill(weights.begin(), weights.end(), 0.0F);
  const auto before = mixer_of(s, tensors, 0);
  const auto mixer = mixer_of(s, tensors, 1);
  experts::Matrix x = made_up_rows(9, kHidden);
  const experts::Matrix one = in_pieces({before.get(), mixer.get()}, x, {9});
  for (float& value : x.row(4)) value = 7;  // not among the first three: only its own row changes
  const experts::Matrix two = in_pieces({before.get(), mixer.get()}, x, {9});
  for (std::int64_t r = 0; r < 9; ++r) {
    EXPECT_EQ(std::equal(one.row(r).begin(), one.row(r).end(), two.row(r).begin()), r != 4) << r;
  }
}

TEST(LatentAttention, ASequenceContinuesWhereItEnded) {
  MadeUpTensors tensors;
  const auto mixer = mixer_of({}, tensors, 0);
  States states;
  std::vector<std::unique_ptr<MixerState>> by_layer;
  by_layer.push_back(mixer->make_state());
  const std::int64_t sequence = states.add(std::move(by_layer));
  Batch batch;
  batch.ids.resize(1);
  batch.segments = {{.sequence = sequence, .first = 2, .count = 1}};
  const experts::Matrix x = made_up_rows(1, kHidden);
  experts::Matrix out(1, kHidden);
  EXPECT_THAT([&] { mixer->forward(batch, x.view(), states, out.view()); },
              ThrowsMessage<std::invalid_argument>(
                  HasSubstr("sequence 0: first new token, got position 2, want 0")));
}
}  // namespace
}  // namespace switchyard::runtime
