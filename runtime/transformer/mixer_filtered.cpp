// SPDX-License-Identifier: Apache-2.0
// Attention with localized filtering (Yuan): queries and keys read what two causal convolutions
// over two tokens each, a residual and a norm make of the input; values read the input itself.
// Rows of q_proj and k_proj, one after the other, are the heads' [query, key] pairs: the first half
// of the heads is q_proj, the second k_proj.
// Source: IEIT-Yuan/Yuan2.0-M32, yuan_moe_hf_model.py (LocalizedFiltering, YuanAttention).
#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"
#include "runtime/transformer/attend.hpp"
#include "runtime/transformer/linear.hpp"
#include "runtime/transformer/mixer_kinds.hpp"
#include "runtime/transformer/norm.hpp"
#include "runtime/transformer/rotary.hpp"

namespace switchyard::runtime {
namespace {
using View = experts::MatrixView<float>;
using Rows = experts::MatrixView<const float>;

constexpr double kFilterEps = 1e-6;  // in the vendor's code, whatever rms_norm_eps says

struct FilteredState final : MixerState {
  explicit FilteredState(KeyValues empty) : cache(std::move(empty)) {}
  [[nodiscard]] std::int64_t bytes() const override {
    return cache.bytes() +
           static_cast<std::int64_t>(sizeof(float) * (input.size() + between.size()));
  }
  KeyValues cache;
  std::vector<float> input;    ///< [hidden]: of the last token; zero before the first
  std::vector<float> between;  ///< [hidden / 2]: what the first convolution made of it
};

/// A causal convolution over the last two tokens, as one matrix over pairs (before, now).
class PairFilter {
 public:
  PairFilter() = default;
  PairFilter(const MixerParts& parts, const std::string& name, std::int64_t out, std::int64_t in) {
    // [out, in, 2, 1] is, without a copy, [out, (in, tap)].
    const std::vector<float> taps = parts.tensors.values(name + ".weight", out * in * 2);
    pairs_ = Linear({.data = taps.data(), .out = out, .in = 2 * in, .out_stride = 2 * in},
                    parts.tensors.values(name + ".bias", out), parts.isa);
  }
  /// @param before  of each state: its last row, replaced by the new last one
  template <class Before>
  [[nodiscard]] experts::Matrix apply(const Batch& batch, Rows x, const Before& before) const {
    experts::Matrix pairs(x.rows, 2 * x.cols);
    std::int64_t row = 0;
    for (const Segment& segment : batch.segments) {
      std::vector<float>& last = before(segment);
      for (std::int64_t end = row + segment.count; row < end; ++row) {
        for (std::int64_t i = 0; i < x.cols; ++i) {
          pairs(row, 2 * i) = last[static_cast<std::size_t>(i)];
          pairs(row, 2 * i + 1) = x(row, i);
        }
        std::copy_n(x.row(row).data(), x.cols, last.data());
      }
    }
    return pairs_.apply(std::as_const(pairs).view());
  }
  [[nodiscard]] std::int64_t bytes() const { return pairs_.bytes(); }

 private:
  Linear pairs_;
};

class FilteredMixer final : public Mixer {
 public:
  explicit FilteredMixer(const MixerParts& parts);
  void forward(const Batch& batch, Rows x, States& states, View out) const override;
  [[nodiscard]] std::unique_ptr<MixerState> make_state() const override {
    auto state = std::make_unique<FilteredState>(KeyValues(heads_, dim_, dim_));
    state->input.resize(static_cast<std::size_t>(hidden_));
    state->between.resize(static_cast<std::size_t>(hidden_ / 2));
    return state;
  }
  [[nodiscard]] std::int64_t weight_bytes() const override {
    return first_.bytes() + second_.bytes() + norm_.bytes() + q_.bytes() + k_.bytes() + v_.bytes() +
           o_.bytes();
  }

 private:
  [[nodiscard]] experts::Matrix filter(const Batch& batch, Rows x, States& states) const;
  void attend_segment(const Segment& segment, View qk, View v, KeyValues& cache, View out,
                      AttendScratch& scratch) const;

  std::int64_t layer_;
  std::int64_t hidden_;
  std::int64_t heads_;
  std::int64_t dim_;
  experts::Isa isa_;
  PairFilter first_;
  PairFilter second_;
  Norm norm_;
  Linear q_;
  Linear k_;
  Linear v_;
  Linear o_;
  Rotary rotary_;
  float scale_;
};

FilteredMixer::FilteredMixer(const MixerParts& parts)
    : layer_(parts.layer),
      hidden_(parts.model.message().hidden_size()),
      heads_(parts.model.message().num_heads()),
      dim_(parts.model.message().head_dim()),
      isa_(parts.isa),
      rotary_(parts.model, dim_),
      scale_(static_cast<float>(score_scale(parts.model, dim_))) {
  if (parts.model.message().num_kv_heads() != heads_) {
    throw std::invalid_argument("model: num_kv_heads, got " +
                                std::to_string(parts.model.message().num_kv_heads()) +
                                ", want num_heads " + std::to_string(heads_) + " with gqa_lfa");
  }
  static_cast<void>(Turn(rotary_));  // is refused here rather than at the first token
  const TensorNames n = tensor_names(parts.model.family());
  const std::string at = layer_prefix(parts.model, layer_) + n.attention;
  first_ = PairFilter(parts, at + "lf_gate.conv1", hidden_ / 2, hidden_);
  second_ = PairFilter(parts, at + "lf_gate.conv2", hidden_, hidden_ / 2);
  norm_ = Norm::rms(parts.tensors, at + "lf_gate.output_layernorm" + n.norm_weight, hidden_,
                    kFilterEps);
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    return Linear(parts.tensors, at + name + n.weight, out, in, isa_);
  };
  q_ = linear(n.q, heads_ * dim_, hidden_);
  k_ = linear(n.k, heads_ * dim_, hidden_);
  v_ = linear(n.v, heads_ * dim_, hidden_);
  o_ = linear(n.o, hidden_, heads_ * dim_);
}

experts::Matrix FilteredMixer::filter(const Batch& batch, Rows x, States& states) const {
  const auto state = [&](const Segment& segment) -> FilteredState& {
    return dynamic_cast<FilteredState&>(*states.at(segment.sequence, layer_));
  };
  const experts::Matrix between = first_.apply(
      batch, x, [&](const Segment& s) -> std::vector<float>& { return state(s).input; });
  experts::Matrix filtered =
      second_.apply(batch, between.view(),
                    [&](const Segment& s) -> std::vector<float>& { return state(s).between; });
  for (std::int64_t r = 0; r < x.rows; ++r) {
    for (std::int64_t i = 0; i < hidden_; ++i) filtered(r, i) += x(r, i);
  }
  norm_.apply(std::as_const(filtered).view(), filtered.view());
  return filtered;
}

/// @param qk  [rows, heads * 2 * dim]: of each head its query, then its key
void FilteredMixer::attend_segment(const Segment& segment, View qk, View v, KeyValues& cache,
                                   View out, AttendScratch& scratch) const {
  cache.extend(segment.count);
  experts::Matrix queries(segment.count, heads_ * dim_);
  Turn turn(rotary_);
  const auto dim = static_cast<std::size_t>(dim_);
  for (std::int64_t r = 0; r < segment.count; ++r) {
    turn.to(segment.first + r);
    for (std::int64_t h = 0; h < heads_; ++h) {
      const auto head = static_cast<std::size_t>(h);
      const std::span<float> query = qk.row(r).subspan(2 * head * dim, dim);
      const std::span<float> key = qk.row(r).subspan((2 * head + 1) * dim, dim);
      turn.apply(query.data());
      turn.apply(key.data());
      for (std::size_t d = 0; d < dim; ++d) queries.row(r)[head * dim + d] = query[d] * scale_;
      cache.put_key(segment.first + r, h, key);
      cache.put_value(segment.first + r, h, v.row(r).subspan(head * dim, dim));
    }
  }
  attend({}, cache, std::as_const(queries).view(), segment.first, out, isa_, scratch);
}

void FilteredMixer::forward(const Batch& batch, Rows x, States& states, View out) const {
  const std::int64_t rows = batch.rows();
  if (rows == 0) return;
  for (const Segment& segment : batch.segments) {
    const MixerState& state = *states.at(segment.sequence, layer_);
    require_next(segment, dynamic_cast<const FilteredState&>(state).cache.end());
  }
  const experts::Matrix filtered = filter(batch, x, states);
  const std::int64_t width = heads_ * dim_;
  experts::AlignedBuffer packed;
  experts::Matrix qk(rows, 2 * width);
  experts::Matrix v(rows, width);
  experts::Matrix seen(rows, width);
  q_.apply(filtered.view(), View(qk.data(), rows, width, 2 * width), packed);
  k_.apply(filtered.view(), View(qk.data() + width, rows, width, 2 * width), packed);
  v_.apply(x, v.view(), packed);
  AttendScratch scratch;
  std::int64_t first = 0;
  for (const Segment& segment : batch.segments) {
    const std::int64_t n = segment.count;
    attend_segment(segment, qk.view().slice(first, n), v.view().slice(first, n),
                   dynamic_cast<FilteredState&>(*states.at(segment.sequence, layer_)).cache,
                   seen.view().slice(first, n), scratch);
    first += n;
  }
  o_.apply(std::as_const(seen).view(), out, packed);
}
}  // namespace

std::unique_ptr<Mixer> make_filtered(const MixerParts& parts) {
  return std::make_unique<FilteredMixer>(parts);
}
}  // namespace switchyard::runtime
