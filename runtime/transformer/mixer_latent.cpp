// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention (DeepSeek): keys and values of all heads are products of one small
// latent a token, which is all that is kept, with the one turned key that the heads share. Products
// are absorbed: q k = (q W_k) latent and the sum of values = W_v (sum of latents), so nothing is
// ever expanded, in prefill as in decode. With a sparse indexer: GLM-5.
// Sources: arXiv:2405.04434, section 2.1; huggingface/transformers, src/transformers/models/
// deepseek_v3 and glm_moe_dsa; the absorbed form: deepseek-ai/DeepSeek-V3, inference/model.py.
#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "experts/kernels/math.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"
#include "runtime/transformer/attend.hpp"
#include "runtime/transformer/indexer.hpp"
#include "runtime/transformer/linear.hpp"
#include "runtime/transformer/mixer_kinds.hpp"
#include "runtime/transformer/norm.hpp"
#include "runtime/transformer/rotary.hpp"

namespace switchyard::runtime {
namespace {
namespace v1 = switchyard::model::v1;
using View = experts::MatrixView<float>;
using Rows = experts::MatrixView<const float>;

constexpr double kLatentEps = 1e-6;  // in the references' code, whatever rms_norm_eps says
constexpr std::int64_t kFloatsAtOnce = std::int64_t{1} << 22U;  // of absorbed queries

struct LatentState final : MixerState {
  explicit LatentState(KeyValues empty) : cache(std::move(empty)) {}
  [[nodiscard]] std::int64_t bytes() const override { return cache.bytes() + index.bytes(); }
  KeyValues cache;  ///< [latent, turned key] a token
  IndexKeys index;
};

class LatentMixer final : public Mixer {
 public:
  explicit LatentMixer(const MixerParts& parts);
  void forward(const Batch& batch, Rows x, States& states, View out) const override;
  [[nodiscard]] std::unique_ptr<MixerState> make_state() const override {
    return std::make_unique<LatentState>(KeyValues::latent(latent_ + rope_, latent_));
  }
  [[nodiscard]] bool rewind(MixerState& state, std::int64_t end) const override {
    auto& latent = dynamic_cast<LatentState&>(state);
    return latent.cache.rewind(end, 0) && (!indexer_ || latent.index.rewind(end));
  }
  [[nodiscard]] std::int64_t weight_bytes() const override;

 private:
  /// One segment's rows in all their forms.
  struct Part {
    Rows x;         ///< [rows, hidden]
    Rows q_latent;  ///< [rows, q_lora_rank]; or x
    View q;         ///< [rows, heads * (nope + rope)]
    View kv;        ///< [rows, latent + rope]
    View values;    ///< [rows, heads * value]
  };
  void read_expansion(const MixerParts& parts, const std::string& name);
  void place(std::int64_t position, std::span<float> q, std::span<float> kv, Turn& turn,
             KeyValues& cache) const;
  void attend_segment(const Segment& segment, const Part& part, LatentState& state,
                      AttendScratch& scratch) const;
  void attend_rows(AttendRule rule, const KeyValues& cache, Rows q, std::int64_t first, View values,
                   AttendScratch& scratch) const;

  std::int64_t layer_;
  std::int64_t heads_;
  std::int64_t nope_;
  std::int64_t rope_;
  std::int64_t value_;
  std::int64_t latent_;
  experts::Isa isa_;
  Linear q_a_;  ///< empty: queries are not compressed
  Norm q_norm_;
  Linear q_b_;
  Linear kv_a_;
  Norm kv_norm_;
  std::vector<Linear> absorb_;  ///< a head each: [latent, nope]
  std::vector<Linear> expand_;  ///< a head each: [value, latent]
  Linear o_;
  Rotary rotary_;
  double scale_;
  std::int64_t temperature_floor_ = 0;
  double temperature_scale_ = 0;
  AttendRule rule_;
  std::optional<Indexer> indexer_;
};

LatentMixer::LatentMixer(const MixerParts& parts)
    : layer_(parts.layer),
      heads_(parts.model.message().num_heads()),
      nope_(parts.model.message().qk_nope_head_dim()),
      rope_(parts.model.message().qk_rope_head_dim()),
      value_(parts.model.message().v_head_dim()),
      latent_(parts.model.message().kv_lora_rank()),
      isa_(parts.isa),
      rotary_(parts.model, rope_),
      scale_(score_scale(parts.model, nope_ + rope_)) {
  const v1::Model& m = parts.model.message();
  static_cast<void>(Turn(rotary_));  // is refused here rather than at the first token
  const TensorNames n = tensor_names(parts.model.family());
  const std::string at = layer_prefix(parts.model, layer_) + n.attention;
  const bool bias = m.attn_bias() == v1::AttnBias::yes;
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in,
                          bool has_bias) {
    return Linear(parts.tensors, at + name + n.weight, out, in, isa_,
                  has_bias ? at + name + ".bias" : "");
  };
  const std::int64_t q = heads_ * (nope_ + rope_);
  if (m.q_lora_rank() > 0) {
    q_a_ = linear(n.q_a, m.q_lora_rank(), m.hidden_size(), bias);
    q_norm_ =
        Norm::rms(parts.tensors, at + n.q_a_norm + n.norm_weight, m.q_lora_rank(), kLatentEps);
    q_b_ = linear(n.q_b, q, m.q_lora_rank(), false);
  } else {
    q_b_ = linear(n.q, q, m.hidden_size(), false);
  }
  kv_a_ = linear(n.kv_a, latent_ + rope_, m.hidden_size(), bias);
  kv_norm_ = Norm::rms(parts.tensors, at + n.kv_a_norm + n.norm_weight, latent_, kLatentEps);
  read_expansion(parts, at + n.kv_b + n.weight);
  o_ = linear(n.o, m.hidden_size(), heads_ * value_, bias);
  if (m.temperature_everywhere()) {
    temperature_floor_ = m.temperature_floor();
    temperature_scale_ = m.temperature_scale();
  }
  if (m.attention() == v1::Attention::mla_dsa) indexer_.emplace(parts);
}

/// kv_b has the rows of a head's keys, then those of its values, head after head.
void LatentMixer::read_expansion(const MixerParts& parts, const std::string& name) {
  const std::int64_t rows = nope_ + value_;
  const experts::WeightView whole = parts.tensors.matrix(name, heads_ * rows, latent_);
  std::vector<float> head(static_cast<std::size_t>(rows * latent_));
  for (std::int64_t h = 0; h < heads_; ++h) {
    for (std::int64_t o = 0; o < rows; ++o) {
      for (std::int64_t i = 0; i < latent_; ++i) {
        head[static_cast<std::size_t>(o * latent_ + i)] = whole.at(h * rows + o, i);
      }
    }
    absorb_.emplace_back(experts::WeightView{.data = head.data(),
                                             .out = latent_,
                                             .in = nope_,
                                             .out_stride = 1,
                                             .in_stride = latent_},
                         std::vector<float>{}, isa_);
    expand_.emplace_back(experts::WeightView{.data = head.data() + nope_ * latent_,
                                             .out = value_,
                                             .in = latent_,
                                             .out_stride = latent_},
                         std::vector<float>{}, isa_);
  }
}

std::int64_t LatentMixer::weight_bytes() const {
  std::int64_t sum = q_a_.bytes() + q_norm_.bytes() + q_b_.bytes() + kv_a_.bytes() +
                     kv_norm_.bytes() + o_.bytes() + (indexer_ ? indexer_->bytes() : 0);
  for (const Linear& head : absorb_) sum += head.bytes();
  for (const Linear& head : expand_) sum += head.bytes();
  return sum;
}

/// Norms the latent, turns the shared key and what of the queries goes with it, and keeps the key.
void LatentMixer::place(std::int64_t position, std::span<float> q, std::span<float> kv, Turn& turn,
                        KeyValues& cache) const {
  const auto latent = static_cast<std::size_t>(latent_);
  kv_norm_.apply(kv.first(latent), kv.first(latent));
  turn.to(position);
  turn.apply(kv.data() + latent);
  for (std::int64_t h = 0; h < heads_; ++h) turn.apply(q.data() + h * (nope_ + rope_) + nope_);
  cache.put_key(position, 0, kv);
  double scale = scale_;
  if (temperature_scale_ != 0 && temperature_floor_ > 0) {
    const auto whole = static_cast<double>(position / temperature_floor_);
    scale *= 1 + temperature_scale_ * experts::portable::log(1 + whole);
  }
  for (float& element : q) element *= static_cast<float>(scale);
}

/// @param q       [rows, heads * (nope + rope)], turned and scaled
/// @param values  [rows, heads * value]
void LatentMixer::attend_rows(AttendRule rule, const KeyValues& cache, Rows q, std::int64_t first,
                              View values, AttendScratch& scratch) const {
  const std::int64_t width = latent_ + rope_;
  experts::Matrix queries(q.rows, heads_ * width);
  experts::Matrix sums(q.rows, heads_ * latent_);
  experts::AlignedBuffer packed;
  for (std::int64_t h = 0; h < heads_; ++h) {
    const Rows head(q.data + h * (nope_ + rope_), q.rows, nope_, q.stride);
    absorb_[static_cast<std::size_t>(h)].apply(
        head, View(queries.data() + h * width, q.rows, latent_, heads_ * width), packed);
    for (std::int64_t r = 0; r < q.rows; ++r) {
      std::copy_n(head.row(r).data() + nope_, rope_, queries.row(r).data() + h * width + latent_);
    }
  }
  attend(rule, cache, std::as_const(queries).view(), first, sums.view(), isa_, scratch);
  for (std::int64_t h = 0; h < heads_; ++h) {
    expand_[static_cast<std::size_t>(h)].apply(
        Rows(sums.data() + h * latent_, q.rows, latent_, heads_ * latent_),
        View(values.data + h * value_, q.rows, value_, values.stride), packed);
  }
}

void LatentMixer::attend_segment(const Segment& segment, const Part& part, LatentState& state,
                                 AttendScratch& scratch) const {
  require_next(segment, state.cache.end());
  state.cache.extend(segment.count);
  Turn turn(rotary_);
  for (std::int64_t r = 0; r < segment.count; ++r) {
    place(segment.first + r, part.q.row(r), part.kv.row(r), turn, state.cache);
  }
  if (indexer_) indexer_->extend(part.x, state.index);
  const std::int64_t at_once =
      std::max<std::int64_t>(kFloatsAtOnce / (heads_ * (latent_ + rope_)), 1);
  std::vector<std::uint8_t> allowed;
  for (std::int64_t r = 0; r < segment.count; r += at_once) {
    const std::int64_t count = std::min(at_once, segment.count - r);
    const std::int64_t first = segment.first + r;
    AttendRule rule = rule_;
    if (indexer_ && first + count > indexer_->topk()) {
      allowed.resize(static_cast<std::size_t>(count * state.index.end));
      const experts::MatrixView<std::uint8_t> seen(allowed.data(), count, state.index.end);
      indexer_->choose(part.x.slice(r, count), part.q_latent.slice(r, count), first, state.index,
                       seen);
      rule.allowed = seen;
    }
    attend_rows(rule, state.cache, part.q.slice(r, count), first, part.values.slice(r, count),
                scratch);
  }
}

void LatentMixer::forward(const Batch& batch, Rows x, States& states, View out) const {
  const std::int64_t rows = batch.rows();
  if (rows == 0) return;
  experts::AlignedBuffer packed;
  experts::Matrix compressed;
  Rows q_latent = x;
  if (!q_a_.empty()) {
    compressed.reshape(rows, q_a_.out());
    q_a_.apply(x, compressed.view(), packed);
    q_norm_.apply(std::as_const(compressed).view(), compressed.view());
    q_latent = std::as_const(compressed).view();
  }
  experts::Matrix q(rows, heads_ * (nope_ + rope_));
  experts::Matrix kv(rows, latent_ + rope_);
  experts::Matrix values(rows, heads_ * value_);
  q_b_.apply(q_latent, q.view(), packed);
  kv_a_.apply(x, kv.view(), packed);
  AttendScratch scratch;
  std::int64_t first = 0;
  for (const Segment& segment : batch.segments) {
    const std::int64_t n = segment.count;
    attend_segment(segment,
                   {.x = x.slice(first, n),
                    .q_latent = q_latent.slice(first, n),
                    .q = q.view().slice(first, n),
                    .kv = kv.view().slice(first, n),
                    .values = values.view().slice(first, n)},
                   dynamic_cast<LatentState&>(*states.at(segment.sequence, layer_)), scratch);
    first += n;
  }
  o_.apply(std::as_const(values).view(), out, packed);
}
}  // namespace

std::unique_ptr<Mixer> make_latent(const MixerParts& parts) {
  return std::make_unique<LatentMixer>(parts);
}
}  // namespace switchyard::runtime
