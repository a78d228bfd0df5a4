// SPDX-License-Identifier: Apache-2.0
// Cross-layer attention (Hunyuan-Large): of cla_share_factor consecutive layers only the first has
// keys and values of its own, and the others attend to the same ones with their own queries. Keys
// are turned, then normed; the weight of that norm is each layer's own, so what is kept is the
// normed key without a weight, and the weight goes with the query.
// Source: Tencent/Tencent-Hunyuan-Large, models/modeling_hunyuan.py (HunYuanAttention).
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
namespace v1 = switchyard::model::v1;
using View = experts::MatrixView<float>;

struct SharedState final : MixerState {
  explicit SharedState(KeyValues empty) : cache(std::move(empty)) {}
  [[nodiscard]] std::int64_t bytes() const override { return cache.bytes(); }
  KeyValues cache;
};

class CrossLayerMixer final : public Mixer {
 public:
  explicit CrossLayerMixer(const MixerParts& parts);
  void forward(const Batch& batch, experts::MatrixView<const float> x, States& states,
               View out) const override;
  [[nodiscard]] std::unique_ptr<MixerState> make_state() const override {
    if (layer_ != owner_) return nullptr;
    return std::make_unique<SharedState>(KeyValues(kv_heads_, dim_, dim_));
  }
  [[nodiscard]] bool rewind(MixerState& state, std::int64_t end) const override {
    return dynamic_cast<SharedState&>(state).cache.rewind(end, 0);
  }
  [[nodiscard]] std::int64_t weight_bytes() const override {
    return q_.bytes() + k_.bytes() + v_.bytes() + o_.bytes() + q_norm_.bytes() +
           static_cast<std::int64_t>(sizeof(float) * key_weight_.size());
  }

 private:
  void read_norms(const MixerParts& parts);
  void place_keys(const Segment& segment, View k, View v, KeyValues& cache) const;
  void turn_queries(const Segment& segment, View q) const;

  std::int64_t layer_;
  std::int64_t owner_;  ///< the layer whose keys and values are used
  std::int64_t heads_;
  std::int64_t kv_heads_;
  std::int64_t dim_;
  experts::Isa isa_;
  Linear q_;
  Linear k_;  ///< empty where the layer owns none
  Linear v_;
  Linear o_;
  Norm q_norm_;                    ///< empty: none
  Norm k_norm_;                    ///< without weight
  std::vector<float> key_weight_;  ///< [dim] of this layer
  Rotary rotary_;
  float scale_;
};

CrossLayerMixer::CrossLayerMixer(const MixerParts& parts)
    : layer_(parts.layer),
      heads_(parts.model.message().num_heads()),
      kv_heads_(parts.model.message().num_kv_heads()),
      dim_(parts.model.message().head_dim()),
      isa_(parts.isa),
      rotary_(parts.model, dim_),
      scale_(static_cast<float>(score_scale(parts.model, dim_))) {
  const v1::Model& m = parts.model.message();
  owner_ = layer_ - layer_ % std::max<std::int64_t>(m.cla_share_factor(), 1);
  static_cast<void>(Turn(rotary_));  // is refused here rather than at the first token
  const TensorNames n = tensor_names(parts.model.family());
  const std::string at = layer_prefix(parts.model, layer_) + n.attention;
  const bool bias = m.attn_bias() != v1::AttnBias::no;
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in,
                          bool has_bias) {
    return Linear(parts.tensors, at + name + n.weight, out, in, isa_,
                  has_bias ? at + name + ".bias" : "");
  };
  q_ = linear(n.q, heads_ * dim_, m.hidden_size(), bias);
  if (layer_ == owner_) {
    k_ = linear(n.k, kv_heads_ * dim_, m.hidden_size(), bias);
    v_ = linear(n.v, kv_heads_ * dim_, m.hidden_size(), bias);
  }
  o_ = linear(n.o, m.hidden_size(), heads_ * dim_, m.attn_bias() == v1::AttnBias::yes);
  read_norms(parts);
}

void CrossLayerMixer::read_norms(const MixerParts& parts) {
  const v1::Model& m = parts.model.message();
  if (m.qk_norm() == v1::QkNorm::no) return;
  if (m.qk_norm() != v1::QkNorm::per_head || !m.qk_norm_after_rope()) {
    throw std::invalid_argument("model: qk_norm, got " + v1::QkNorm::Type_Name(m.qk_norm()) +
                                (m.qk_norm_after_rope() ? "" : " before the turn") +
                                ", want no or per_head with qk_norm_after_rope and gqa_cla");
  }
  const TensorNames n = tensor_names(parts.model.family());
  const auto name = [&](std::int64_t layer, const std::string& norm) {
    return layer_prefix(parts.model, layer) + n.attention + norm + n.norm_weight;
  };
  q_norm_ = Norm::rms(parts.tensors, name(layer_, n.q_norm), dim_, m.rms_norm_eps());
  k_norm_ = Norm(NormKind::kRms, {}, {}, m.rms_norm_eps());
  // The vendor's code has this norm in every layer; a checkpoint may leave out the copies.
  const bool own = parts.tensors.has(name(layer_, n.k_norm));
  key_weight_ = parts.tensors.values(name(own ? layer_ : owner_, n.k_norm), dim_);
}

void CrossLayerMixer::place_keys(const Segment& segment, View k, View v, KeyValues& cache) const {
  require_next(segment, cache.end());
  cache.extend(segment.count);
  Turn turn(rotary_);
  const auto dim = static_cast<std::size_t>(dim_);
  for (std::int64_t r = 0; r < segment.count; ++r) {
    turn.to(segment.first + r);
    for (std::int64_t h = 0; h < kv_heads_; ++h) {
      const std::span<float> key = k.row(r).subspan(static_cast<std::size_t>(h) * dim, dim);
      turn.apply(key.data());
      if (!k_norm_.empty()) k_norm_.apply(key, key);
      cache.put_key(segment.first + r, h, key);
      cache.put_value(segment.first + r, h,
                      v.row(r).subspan(static_cast<std::size_t>(h) * dim, dim));
    }
  }
}

void CrossLayerMixer::turn_queries(const Segment& segment, View q) const {
  Turn turn(rotary_);
  const auto dim = static_cast<std::size_t>(dim_);
  for (std::int64_t r = 0; r < segment.count; ++r) {
    turn.to(segment.first + r);
    for (std::int64_t h = 0; h < heads_; ++h) {
      const std::span<float> query = q.row(r).subspan(static_cast<std::size_t>(h) * dim, dim);
      turn.apply(query.data());
      if (!q_norm_.empty()) q_norm_.apply(query, query);
      for (std::size_t d = 0; d < key_weight_.size(); ++d) query[d] *= key_weight_[d];
      for (float& element : query) element *= scale_;
    }
  }
}

void CrossLayerMixer::forward(const Batch& batch, experts::MatrixView<const float> x,
                              States& states, View out) const {
  const std::int64_t rows = batch.rows();
  if (rows == 0) return;
  experts::AlignedBuffer packed;
  experts::Matrix q(rows, heads_ * dim_);
  experts::Matrix seen(rows, heads_ * dim_);
  experts::Matrix k;
  experts::Matrix v;
  q_.apply(x, q.view(), packed);
  if (layer_ == owner_) {
    k.reshape(rows, kv_heads_ * dim_);
    v.reshape(rows, kv_heads_ * dim_);
    k_.apply(x, k.view(), packed);
    v_.apply(x, v.view(), packed);
  }
  AttendScratch scratch;
  std::int64_t first = 0;
  for (const Segment& segment : batch.segments) {
    const std::int64_t n = segment.count;
    KeyValues& cache = dynamic_cast<SharedState&>(*states.at(segment.sequence, owner_)).cache;
    if (layer_ == owner_) {
      place_keys(segment, k.view().slice(first, n), v.view().slice(first, n), cache);
    }
    turn_queries(segment, q.view().slice(first, n));
    attend({}, cache, std::as_const(q).view().slice(first, n), segment.first,
           seen.view().slice(first, n), isa_, scratch);
    first += n;
  }
  o_.apply(std::as_const(seen).view(), out, packed);
}
}  // namespace

std::unique_ptr<Mixer> make_cross_layer(const MixerParts& parts) {
  return std::make_unique<CrossLayerMixer>(parts);
}
}  // namespace switchyard::runtime
