// SPDX-License-Identifier: Apache-2.0
// Mixture of attention heads (JetMoE): a router of the layer's own chooses top_k experts a token;
// each has a matrix for queries and one for outputs, and all use the same keys and values.
// out = bias + sum over the chosen of weight x W_out attention(W_in x). Local to the rank.
// Source: huggingface/transformers, src/transformers/models/jetmoe (JetMoeMoA, JetMoeAttention).
#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "experts/kernels/math.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"
#include "runtime/transformer/attend.hpp"
#include "runtime/transformer/linear.hpp"
#include "runtime/transformer/mixer_kinds.hpp"
#include "runtime/transformer/rotary.hpp"

namespace switchyard::runtime {
namespace {
using View = experts::MatrixView<float>;
using Rows = experts::MatrixView<const float>;

struct MixtureState final : MixerState {
  explicit MixtureState(KeyValues empty) : cache(std::move(empty)) {}
  [[nodiscard]] std::int64_t bytes() const override { return cache.bytes(); }
  KeyValues cache;
};

/// Who was chosen, best first.
struct Choice {
  std::vector<std::int64_t> experts;  ///< [rows, top_k]
  std::vector<float> weights;         ///< [rows, top_k]
};

class MixtureMixer final : public Mixer {
 public:
  explicit MixtureMixer(const MixerParts& parts);
  void forward(const Batch& batch, Rows x, States& states, View out) const override;
  [[nodiscard]] std::unique_ptr<MixerState> make_state() const override {
    return std::make_unique<MixtureState>(KeyValues(kv_heads_, dim_, dim_));
  }
  [[nodiscard]] bool rewind(MixerState& state, std::int64_t end) const override {
    return dynamic_cast<MixtureState&>(state).cache.rewind(end, 0);
  }
  [[nodiscard]] std::int64_t weight_bytes() const override;

 private:
  [[nodiscard]] Choice choose(Rows x) const;
  /// Calls visit(expert, its slots) for every expert that was chosen; slot = row * top_k + rank.
  template <class Visit>
  void each_expert(const Choice& choice, const Visit& visit) const;
  void attend_segment(const Segment& segment, View q, View kv, KeyValues& cache, View seen,
                      AttendScratch& scratch) const;

  std::int64_t layer_;
  std::int64_t kv_heads_;
  std::int64_t dim_;
  std::int64_t top_k_;
  experts::Isa isa_;
  Linear router_;
  std::vector<Linear> to_queries_;    ///< an expert each: [kv_heads * dim, hidden]
  std::vector<Linear> from_results_;  ///< an expert each: [hidden, kv_heads * dim]
  std::vector<float> bias_;           ///< [hidden] or empty
  Linear kv_;                         ///< keys, then values
  Rotary rotary_;
  float scale_;
};

MixtureMixer::MixtureMixer(const MixerParts& parts)
    : layer_(parts.layer),
      kv_heads_(parts.model.message().num_kv_heads()),
      dim_(parts.model.message().head_dim()),
      top_k_(parts.model.message().top_k()),
      isa_(parts.isa),
      rotary_(parts.model, dim_),
      scale_(static_cast<float>(score_scale(parts.model, dim_))) {
  const auto& m = parts.model.message();
  if (m.num_heads() != kv_heads_ * top_k_) {
    throw std::invalid_argument("model: num_heads, got " + std::to_string(m.num_heads()) +
                                ", want num_kv_heads * top_k " +
                                std::to_string(kv_heads_ * top_k_) + " with moa");
  }
  static_cast<void>(Turn(rotary_));  // is refused here rather than at the first token
  const std::string at =
      layer_prefix(parts.model, layer_) + tensor_names(parts.model.family()).attention;
  const std::int64_t num_experts = m.routed_experts();
  const std::int64_t hidden = m.hidden_size();
  const std::int64_t width = kv_heads_ * dim_;
  router_ = Linear(parts.tensors, at + "experts.router.layer.weight", num_experts, hidden, isa_);
  const auto read = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    const std::vector<float> all = parts.tensors.values(at + name, num_experts * out * in);
    std::vector<Linear> linears;
    for (std::int64_t e = 0; e < num_experts; ++e) {
      linears.emplace_back(
          experts::WeightView{
              .data = all.data() + e * out * in, .out = out, .in = in, .out_stride = in},
          std::vector<float>{}, isa_);
    }
    return linears;
  };
  to_queries_ = read("experts.input_linear.weight", width, hidden);
  from_results_ = read("experts.output_linear.weight", hidden, width);
  if (m.expert_bias() == switchyard::model::v1::ExpertBias::shared_output_bias) {
    bias_ = parts.tensors.values(at + "experts.bias", hidden);
  }
  kv_ = Linear(parts.tensors, at + "kv_proj.weight", 2 * width, hidden, isa_);
}

std::int64_t MixtureMixer::weight_bytes() const {
  std::int64_t sum =
      router_.bytes() + kv_.bytes() + static_cast<std::int64_t>(sizeof(float) * bias_.size());
  for (const Linear& expert : to_queries_) sum += expert.bytes();
  for (const Linear& expert : from_results_) sum += expert.bytes();
  return sum;
}

/// The top_k highest logits, ties to the lower expert; weights are the softmax over them.
Choice MixtureMixer::choose(Rows x) const {
  const experts::Matrix logits = router_.apply(x);
  Choice choice;
  std::vector<std::int64_t> order(static_cast<std::size_t>(logits.cols()));
  for (std::int64_t r = 0; r < x.rows; ++r) {
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::partial_sort(
        order.begin(), order.begin() + top_k_, order.end(), [&](std::int64_t a, std::int64_t b) {
          return logits(r, a) > logits(r, b) || (logits(r, a) == logits(r, b) && a < b);
        });
    const double most = static_cast<double>(logits(r, order.front()));
    double sum = 0;
    std::vector<double> shares;
    for (std::int64_t slot = 0; slot < top_k_; ++slot) {
      const std::int64_t expert = order[static_cast<std::size_t>(slot)];
      shares.push_back(experts::portable::exp(static_cast<double>(logits(r, expert)) - most));
      sum += shares.back();
      choice.experts.push_back(expert);
    }
    for (const double share : shares) choice.weights.push_back(static_cast<float>(share / sum));
  }
  return choice;
}

template <class Visit>
void MixtureMixer::each_expert(const Choice& choice, const Visit& visit) const {
  for (std::size_t expert = 0; expert < to_queries_.size(); ++expert) {
    std::vector<std::int64_t> slots;
    for (std::size_t slot = 0; slot < choice.experts.size(); ++slot) {
      if (choice.experts[slot] == static_cast<std::int64_t>(expert)) {
        slots.push_back(static_cast<std::int64_t>(slot));
      }
    }
    if (!slots.empty()) visit(expert, slots);
  }
}

/// @param q, seen  [rows, kv_heads, top_k, dim]: the heads that share keys stand together
/// @param kv       [rows, 2 * kv_heads * dim]
void MixtureMixer::attend_segment(const Segment& segment, View q, View kv, KeyValues& cache,
                                  View seen, AttendScratch& scratch) const {
  require_next(segment, cache.end());
  cache.extend(segment.count);
  Turn turn(rotary_);
  const auto dim = static_cast<std::size_t>(dim_);
  const auto width = static_cast<std::size_t>(kv_heads_) * dim;
  for (std::int64_t r = 0; r < segment.count; ++r) {
    turn.to(segment.first + r);
    for (std::size_t at = 0; at < q.row(r).size(); at += dim) turn.apply(q.row(r).data() + at);
    for (float& element : q.row(r)) element *= scale_;
    for (std::int64_t h = 0; h < kv_heads_; ++h) {
      const std::size_t at = static_cast<std::size_t>(h) * dim;
      turn.apply(kv.row(r).data() + at);
      cache.put_key(segment.first + r, h, kv.row(r).subspan(at, dim));
      cache.put_value(segment.first + r, h, kv.row(r).subspan(width + at, dim));
    }
  }
  attend({}, cache, q, segment.first, seen, isa_, scratch);
}

void MixtureMixer::forward(const Batch& batch, Rows x, States& states, View out) const {
  const std::int64_t rows = batch.rows();
  if (rows == 0) return;
  const std::int64_t width = kv_heads_ * dim_;
  const Choice choice = choose(x);
  experts::AlignedBuffer packed;
  experts::Matrix kv(rows, 2 * width);
  kv_.apply(x, kv.view(), packed);
  experts::Matrix q(rows, width * top_k_);
  experts::Matrix seen(rows, width * top_k_);
  // Head h of the slot stands at [h][slot] of its row.
  const auto head = [&](experts::Matrix& m, std::int64_t slot, std::int64_t h) {
    return m.row(slot / top_k_).data() + (h * top_k_ + slot % top_k_) * dim_;
  };
  each_expert(choice, [&](std::size_t expert, const std::vector<std::int64_t>& slots) {
    experts::Matrix own(static_cast<std::int64_t>(slots.size()), x.cols);
    for (std::int64_t i = 0; i < own.rows(); ++i) {
      std::ranges::copy(x.row(slots[static_cast<std::size_t>(i)] / top_k_), own.row(i).begin());
    }
    const experts::Matrix queries = to_queries_[expert].apply(std::as_const(own).view());
    for (std::int64_t i = 0; i < own.rows(); ++i) {
      for (std::int64_t h = 0; h < kv_heads_; ++h) {
        std::copy_n(queries.row(i).data() + h * dim_, dim_,
                    head(q, slots[static_cast<std::size_t>(i)], h));
      }
    }
  });
  AttendScratch scratch;
  std::int64_t first = 0;
  for (const Segment& segment : batch.segments) {
    const std::int64_t n = segment.count;
    attend_segment(segment, q.view().slice(first, n), kv.view().slice(first, n),
                   dynamic_cast<MixtureState&>(*states.at(segment.sequence, layer_)).cache,
                   seen.view().slice(first, n), scratch);
    first += n;
  }
  experts::Matrix results(rows * top_k_, x.cols);
  each_expert(choice, [&](std::size_t expert, const std::vector<std::int64_t>& slots) {
    experts::Matrix own(static_cast<std::int64_t>(slots.size()), width);
    for (std::int64_t i = 0; i < own.rows(); ++i) {
      for (std::int64_t h = 0; h < kv_heads_; ++h) {
        std::copy_n(head(seen, slots[static_cast<std::size_t>(i)], h), dim_,
                    own.row(i).data() + h * dim_);
      }
    }
    const experts::Matrix part = from_results_[expert].apply(std::as_const(own).view());
    for (std::int64_t i = 0; i < own.rows(); ++i) {
      std::ranges::copy(part.row(i), results.row(slots[static_cast<std::size_t>(i)]).begin());
    }
  });
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < x.cols; ++c) {
      float sum = 0;
      for (std::int64_t slot = r * top_k_; slot < (r + 1) * top_k_; ++slot) {
        sum += choice.weights[static_cast<std::size_t>(slot)] * results(slot, c);
      }
      out(r, c) = bias_.empty() ? sum : sum + bias_[static_cast<std::size_t>(c)];
    }
  }
}
}  // namespace

std::unique_ptr<Mixer> make_mixture(const MixerParts& parts) {
  return std::make_unique<MixtureMixer>(parts);
}
}  // namespace switchyard::runtime
