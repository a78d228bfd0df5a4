// SPDX-License-Identifier: Apache-2.0
// Grouped-query attention with what the families add to it: one matrix for q, k and v, biases,
// clipping, norms of q and k before or after the turning, windows, chunks, sinks, layers without
// positions and their temperature.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "experts/kernels/math.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"
#include "runtime/transformer/attend.hpp"
#include "runtime/transformer/linear.hpp"
#include "runtime/transformer/mixer_kinds.hpp"
#include "runtime/transformer/norm.hpp"
#include "runtime/transformer/rotary.hpp"

namespace switchyard::runtime {
namespace {
namespace v1 = switchyard::model::v1;
using View = experts::MatrixView<float>;

struct GroupedState final : MixerState {
  explicit GroupedState(KeyValues empty) : cache(std::move(empty)) {}
  [[nodiscard]] std::int64_t bytes() const override { return cache.bytes(); }
  KeyValues cache;
};

template <class List>
bool has(const List& list, std::int64_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

class GroupedMixer final : public Mixer {
 public:
  explicit GroupedMixer(const MixerParts& parts);
  void forward(const Batch& batch, experts::MatrixView<const float> x, States& states,
               View out) const override;
  [[nodiscard]] std::unique_ptr<MixerState> make_state() const override {
    return std::make_unique<GroupedState>(
        KeyValues(kv_heads_, dim_, dim_, std::max<std::int64_t>(rotary_.sets(), 1)));
  }
  [[nodiscard]] bool rewind(MixerState& state, std::int64_t end) const override {
    return dynamic_cast<GroupedState&>(state).cache.rewind(end, rule_.first_seen(end));
  }
  [[nodiscard]] std::int64_t weight_bytes() const override {
    return qkv_.bytes() + q_.bytes() + k_.bytes() + v_.bytes() + o_.bytes() + q_norm_.bytes() +
           k_norm_.bytes();
  }

 private:
  void read_weights(const MixerParts& parts);
  void read_norms(TensorSource& tensors, const v1::Model& m, const std::string& at);
  void clip(std::span<float> values) const;
  void normalise(const Norm& norm, std::span<float> heads) const;
  void attend_segment(const Segment& segment, View q, View k, View v, KeyValues& cache, View out,
                      AttendScratch& scratch) const;
  /// Stores the key in all its sets and turns the query, in place.
  void place(std::int64_t position, std::span<float> q, std::span<float> k,
             std::span<const float> v, KeyValues& cache) const;

  std::int64_t layer_;
  std::int64_t heads_;
  std::int64_t kv_heads_;
  std::int64_t dim_;
  experts::Isa isa_;
  Linear qkv_;  ///< or the three
  Linear q_;
  Linear k_;
  Linear v_;
  Linear o_;
  Norm q_norm_;
  Norm k_norm_;
  bool norm_full_width_ = false;
  bool norm_after_turn_ = false;
  Rotary rotary_;
  float clip_ = 0;
  double scale_;
  AttendRule rule_;
  std::vector<float> sinks_;
  std::int64_t temperature_floor_ = 0;
  double temperature_scale_ = 0;
};

GroupedMixer::GroupedMixer(const MixerParts& parts)
    : layer_(parts.layer),
      heads_(parts.model.message().num_heads()),
      kv_heads_(parts.model.message().num_kv_heads()),
      dim_(parts.model.message().head_dim()),
      isa_(parts.isa),
      scale_(score_scale(parts.model, parts.model.message().head_dim())) {
  const v1::Model& m = parts.model.message();
  read_weights(parts);
  clip_ = static_cast<float>(m.qkv_clip());
  if (has(m.no_rope_layers(), layer_)) {
    temperature_floor_ = m.temperature_floor();
    temperature_scale_ = m.temperature_scale();
  } else {
    rotary_ = Rotary(parts.model, dim_);
  }
  rule_.cap = m.attention_logit_cap();
  rule_.sinks = sinks_;
  if (has(m.full_attention_layers(), layer_)) return;
  rule_.window = m.attention_window();
  rule_.chunk = m.attention_chunk();
}

void GroupedMixer::read_weights(const MixerParts& parts) {
  const v1::Model& m = parts.model.message();
  const TensorNames n = tensor_names(parts.model.family());
  const std::string at = layer_prefix(parts.model, layer_) + n.attention;
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
    return Linear(parts.tensors, at + name + n.weight, out, in, isa_,
                  bias ? at + name + ".bias" : "", n.input_first);
  };
  const bool bias = m.attn_bias() != v1::AttnBias::no;
  const std::int64_t q = heads_ * dim_;
  const std::int64_t kv = kv_heads_ * dim_;
  if (!n.qkv.empty()) {
    qkv_ = linear(n.qkv, q + 2 * kv, m.hidden_size(), bias);
  } else {
    q_ = linear(n.q, q, m.hidden_size(), bias);
    k_ = linear(n.k, kv, m.hidden_size(), bias);
    v_ = linear(n.v, kv, m.hidden_size(), bias);
  }
  o_ = linear(n.o, m.hidden_size(), q, m.attn_bias() == v1::AttnBias::yes);
  read_norms(parts.tensors, m, at);
  if (m.attention() == v1::Attention::gqa_sinks) {
    sinks_ = parts.tensors.values(at + "sinks", heads_);
  }
}

void GroupedMixer::read_norms(TensorSource& tensors, const v1::Model& m, const std::string& at) {
  const TensorNames n = tensor_names(m.family());
  norm_after_turn_ = m.qk_norm_after_rope();
  norm_full_width_ = m.qk_norm() == v1::QkNorm::full_width;
  switch (m.qk_norm()) {
    case v1::QkNorm::per_head:
    case v1::QkNorm::full_width:
      q_norm_ = Norm::rms(tensors, at + n.q_norm + n.norm_weight,
                          norm_full_width_ ? heads_ * dim_ : dim_, m.rms_norm_eps());
      k_norm_ = Norm::rms(tensors, at + n.k_norm + n.norm_weight,
                          norm_full_width_ ? kv_heads_ * dim_ : dim_, m.rms_norm_eps());
      return;
    case v1::QkNorm::l2_no_weight:  // where there are no positions there is no norm either
      if (has(m.no_rope_layers(), layer_)) return;
      q_norm_ = Norm(NormKind::kRms, {}, {}, m.rms_norm_eps());
      k_norm_ = q_norm_;
      return;
    default:
      return;
  }
}

void GroupedMixer::clip(std::span<float> values) const {
  if (clip_ <= 0) return;
  for (float& value : values) value = std::clamp(value, -clip_, clip_);
}

void GroupedMixer::normalise(const Norm& norm, std::span<float> heads) const {
  if (norm.empty()) return;
  if (norm_full_width_) return norm.apply(heads, heads);
  const auto dim = static_cast<std::size_t>(dim_);
  for (std::size_t at = 0; at < heads.size(); at += dim) {
    norm.apply(heads.subspan(at, dim), heads.subspan(at, dim));
  }
}

void GroupedMixer::place(std::int64_t position, std::span<float> q, std::span<float> k,
                         std::span<const float> v, KeyValues& cache) const {
  const auto dim = static_cast<std::size_t>(dim_);
  const auto pairs = static_cast<std::size_t>(rotary_.pairs());
  std::vector<float> turned(k.size() + 2 * pairs);
  const std::span<float> key(turned.data(), k.size());
  const std::span<float> cos(turned.data() + k.size(), pairs);
  const std::span<float> sin(cos.data() + pairs, pairs);
  if (!norm_after_turn_) {
    normalise(q_norm_, q);
    normalise(k_norm_, k);
  }
  clip(q);  // after the norms, where a family has both (OLMoE)
  clip(k);
  for (std::int64_t set = 0; set < std::max<std::int64_t>(rotary_.sets(), 1); ++set) {
    std::copy(k.begin(), k.end(), key.begin());
    if (rotary_.sets() > 0) {
      rotary_.angles(position, set, cos, sin);
      for (std::size_t at = 0; at < k.size(); at += dim) rotary_.turn(cos, sin, key.data() + at);
      if (set == rotary_.set_of(position)) {
        for (std::size_t at = 0; at < q.size(); at += dim) rotary_.turn(cos, sin, q.data() + at);
      }
    }
    if (norm_after_turn_) normalise(k_norm_, key);
    for (std::int64_t head = 0; head < kv_heads_; ++head) {
      cache.put_key(position, head, key.subspan(static_cast<std::size_t>(head) * dim, dim), set);
    }
  }
  if (norm_after_turn_) normalise(q_norm_, q);
  for (std::int64_t head = 0; head < kv_heads_; ++head) {
    cache.put_value(position, head, v.subspan(static_cast<std::size_t>(head) * dim, dim));
  }
  double scale = scale_;
  if (temperature_scale_ != 0 && temperature_floor_ > 0) {
    const auto whole = static_cast<double>((position + 1) / temperature_floor_);
    scale *= 1 + temperature_scale_ * experts::portable::log(1 + whole);
  }
  for (float& value : q) value *= static_cast<float>(scale);
}

void GroupedMixer::attend_segment(const Segment& segment, View q, View k, View v, KeyValues& cache,
                                  View out, AttendScratch& scratch) const {
  require_next(segment, cache.end());
  cache.extend(segment.count);
  for (std::int64_t r = 0; r < segment.count; ++r) {
    place(segment.first + r, q.row(r), k.row(r), v.row(r), cache);
  }
  for (std::int64_t r = 0; r < segment.count;) {  // a run of queries with one set of keys
    AttendRule rule = rule_;
    rule.set = rotary_.set_of(segment.first + r);
    std::int64_t end = r + 1;
    while (end < segment.count && rotary_.set_of(segment.first + end) == rule.set) ++end;
    attend(rule, cache, q.slice(r, end - r), segment.first + r, out.slice(r, end - r), isa_,
           scratch);
    r = end;
  }
  cache.forget_before(rule_.first_seen(segment.first + segment.count));
}

void GroupedMixer::forward(const Batch& batch, experts::MatrixView<const float> x, States& states,
                           View out) const {
  const std::int64_t rows = batch.rows();
  if (rows == 0) return;
  const std::int64_t q_width = heads_ * dim_;
  const std::int64_t kv_width = kv_heads_ * dim_;
  const std::int64_t width = q_width + 2 * kv_width;
  experts::Matrix all(rows, width);
  experts::Matrix seen(rows, q_width);
  const View q(all.data(), rows, q_width, width);
  const View k(all.data() + q_width, rows, kv_width, width);
  const View v(all.data() + q_width + kv_width, rows, kv_width, width);
  experts::AlignedBuffer packed;
  if (!qkv_.empty()) {
    qkv_.apply(x, all.view(), packed);
  } else {
    q_.apply(x, q, packed);
    k_.apply(x, k, packed);
    v_.apply(x, v, packed);
  }
  for (std::int64_t r = 0; r < rows; ++r) clip(v.row(r));
  AttendScratch scratch;
  std::int64_t first = 0;
  for (const Segment& segment : batch.segments) {
    auto& state = dynamic_cast<GroupedState&>(*states.at(segment.sequence, layer_));
    const std::int64_t n = segment.count;
    attend_segment(segment, q.slice(first, n), k.slice(first, n), v.slice(first, n), state.cache,
                   seen.view().slice(first, n), scratch);
    first += n;
  }
  o_.apply(std::as_const(seen).view(), out, packed);
}
}  // namespace

std::unique_ptr<Mixer> make_grouped(const MixerParts& parts) {
  return std::make_unique<GroupedMixer>(parts);
}
}  // namespace switchyard::runtime
