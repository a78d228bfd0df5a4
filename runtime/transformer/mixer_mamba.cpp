// SPDX-License-Identifier: Apache-2.0
// A selective state space instead of attention (Jamba's Mamba): a causal convolution, then a linear
// recurrence whose step, input and output weights depend on the token.
// Source: arXiv:2312.00752, algorithm 2; norms of dt, B and C: huggingface/transformers,
// src/transformers/models/jamba (JambaMambaMixer).
#include <algorithm>
#include <cmath>
#include <utility>

#include "experts/kernels/math.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/transformer/linear.hpp"
#include "runtime/transformer/mixer_kinds.hpp"
#include "runtime/transformer/norm.hpp"

namespace switchyard::runtime {
namespace {
namespace portable = experts::portable;
using View = experts::MatrixView<float>;

struct MambaState final : MixerState {
  [[nodiscard]] std::int64_t bytes() const override {
    return static_cast<std::int64_t>(sizeof(float) * (inputs.size() + hidden.size()));
  }
  std::int64_t end = 0;       ///< tokens so far
  std::vector<float> inputs;  ///< [taps - 1, inner]: the last rows that went into the convolution
  std::vector<float> hidden;  ///< [inner, state]
};

float silu(float x) {
  return x * portable::sigmoid_float32(x);
}

/// ln(1 + e^x)
float softplus(float x) {
  const auto wide = static_cast<double>(x);
  if (wide > 20) return x;  // as the reference's softplus
  const double e = portable::exp(wide);
  return static_cast<float>(e < 1e-6 ? e - 0.5 * e * e : portable::log(1 + e));
}

class MambaMixer final : public Mixer {
 public:
  explicit MambaMixer(const MixerParts& parts);
  void forward(const Batch& batch, experts::MatrixView<const float> x, States& states,
               View out) const override;
  [[nodiscard]] std::unique_ptr<MixerState> make_state() const override;
  [[nodiscard]] std::int64_t weight_bytes() const override {
    const auto floats = conv_.size() + conv_bias_.size() + decay_.size() + skip_.size();
    return in_proj_.bytes() + x_proj_.bytes() + dt_proj_.bytes() + out_proj_.bytes() +
           dt_norm_.bytes() + b_norm_.bytes() + c_norm_.bytes() +
           static_cast<std::int64_t>(sizeof(float) * floats);
  }

 private:
  void convolve(View rows, MambaState& state) const;
  void scan(experts::MatrixView<const float> u, experts::MatrixView<const float> dt,
            experts::MatrixView<const float> b, experts::MatrixView<const float> c, View y,
            MambaState& state) const;

  std::int64_t layer_;
  std::int64_t inner_;
  std::int64_t state_;
  std::int64_t taps_;
  std::int64_t rank_;
  Linear in_proj_;                ///< [2 inner, hidden]: what is convolved, then the gate
  std::vector<float> conv_;       ///< [inner, taps], the oldest token first
  std::vector<float> conv_bias_;  ///< [inner]
  Linear x_proj_;                 ///< [rank + 2 state, inner]: dt, B, C
  Norm dt_norm_;
  Norm b_norm_;
  Norm c_norm_;
  Linear dt_proj_;            ///< [inner, rank]
  std::vector<float> decay_;  ///< [inner, state]: -exp(A_log)
  std::vector<float> skip_;   ///< [inner]: D
  Linear out_proj_;           ///< [hidden, inner]
};

MambaMixer::MambaMixer(const MixerParts& parts)
    : layer_(parts.layer),
      inner_(parts.model.message().mamba_inner()),
      state_(parts.model.message().mamba_state()),
      taps_(parts.model.message().mamba_conv()),
      rank_(parts.model.message().mamba_dt_rank()) {
  const auto& m = parts.model.message();
  const std::string at = layer_prefix(parts.model, layer_) + "mamba.";
  TensorSource& tensors = parts.tensors;
  in_proj_ = Linear(tensors, at + "in_proj.weight", 2 * inner_, m.hidden_size(), parts.isa);
  conv_ = tensors.values(at + "conv1d.weight", inner_ * taps_);
  conv_bias_ = tensors.values(at + "conv1d.bias", inner_);
  x_proj_ = Linear(tensors, at + "x_proj.weight", rank_ + 2 * state_, inner_, parts.isa);
  dt_norm_ = Norm::rms(tensors, at + "dt_layernorm.weight", rank_, m.rms_norm_eps());
  b_norm_ = Norm::rms(tensors, at + "b_layernorm.weight", state_, m.rms_norm_eps());
  c_norm_ = Norm::rms(tensors, at + "c_layernorm.weight", state_, m.rms_norm_eps());
  dt_proj_ = Linear(tensors, at + "dt_proj.weight", inner_, rank_, parts.isa, at + "dt_proj.bias");
  decay_ = tensors.values(at + "A_log", inner_ * state_);
  for (float& a : decay_) a = static_cast<float>(-portable::exp(static_cast<double>(a)));
  skip_ = tensors.values(at + "D", inner_);
  out_proj_ = Linear(tensors, at + "out_proj.weight", m.hidden_size(), inner_, parts.isa);
}

std::unique_ptr<MixerState> MambaMixer::make_state() const {
  auto state = std::make_unique<MambaState>();
  state->inputs.resize(static_cast<std::size_t>((taps_ - 1) * inner_));
  state->hidden.resize(static_cast<std::size_t>(inner_ * state_));
  return state;
}

/// Rows become silu(convolution + bias), in place; the state keeps the last rows as they came.
void MambaMixer::convolve(View rows, MambaState& state) const {
  const std::int64_t past = taps_ - 1;
  experts::Matrix all(past + rows.rows, inner_);
  std::copy(state.inputs.begin(), state.inputs.end(), all.data());
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    std::copy_n(rows.row(r).data(), inner_, all.row(past + r).data());
  }
  std::copy_n(all.row(rows.rows).data(), past * inner_, state.inputs.data());
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    for (std::int64_t i = 0; i < inner_; ++i) {
      float sum = conv_bias_[static_cast<std::size_t>(i)];
      const float* const weight = conv_.data() + i * taps_;
      for (std::int64_t tap = 0; tap < taps_; ++tap) sum += weight[tap] * all(r + tap, i);
      rows(r, i) = silu(sum);
    }
  }
}

/// h = exp(dt A) h + dt B u and y = C h + D u, a token after the other.
void MambaMixer::scan(experts::MatrixView<const float> u, experts::MatrixView<const float> dt,
                      experts::MatrixView<const float> b, experts::MatrixView<const float> c,
                      View y, MambaState& state) const {
  for (std::int64_t r = 0; r < u.rows; ++r) {
    for (std::int64_t i = 0; i < inner_; ++i) {
      float* const h = state.hidden.data() + i * state_;
      const float* const a = decay_.data() + i * state_;
      const float step = dt(r, i);
      float sum = 0;
      for (std::int64_t n = 0; n < state_; ++n) {
        h[n] = portable::exp_float32(step * a[n]) * h[n] + step * b(r, n) * u(r, i);
        sum += h[n] * c(r, n);
      }
      y(r, i) = sum + skip_[static_cast<std::size_t>(i)] * u(r, i);
    }
  }
}

void MambaMixer::forward(const Batch& batch, experts::MatrixView<const float> x, States& states,
                         View out) const {
  const std::int64_t rows = batch.rows();
  if (rows == 0) return;
  experts::AlignedBuffer packed;
  experts::Matrix both(rows, 2 * inner_);
  in_proj_.apply(x, both.view(), packed);
  const View u(both.data(), rows, inner_, 2 * inner_);
  const View gate(both.data() + inner_, rows, inner_, 2 * inner_);
  std::int64_t first = 0;
  for (const Segment& segment : batch.segments) {
    auto& state = dynamic_cast<MambaState&>(*states.at(segment.sequence, layer_));
    require_next(segment, state.end);
    convolve(u.slice(first, segment.count), state);
    first += segment.count;
  }
  experts::Matrix selected(rows, rank_ + 2 * state_);
  x_proj_.apply(u, selected.view(), packed);
  const View dt(selected.data(), rows, rank_, selected.cols());
  const View b(selected.data() + rank_, rows, state_, selected.cols());
  const View c(selected.data() + rank_ + state_, rows, state_, selected.cols());
  dt_norm_.apply(dt, dt);
  b_norm_.apply(b, b);
  c_norm_.apply(c, c);
  experts::Matrix steps(rows, inner_);
  dt_proj_.apply(dt, steps.view(), packed);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (float& step : steps.row(r)) step = softplus(step);
  }
  experts::Matrix y(rows, inner_);
  first = 0;
  for (const Segment& segment : batch.segments) {
    auto& state = dynamic_cast<MambaState&>(*states.at(segment.sequence, layer_));
    const std::int64_t n = segment.count;
    scan(u.slice(first, n), std::as_const(steps).view().slice(first, n), b.slice(first, n),
         c.slice(first, n), y.view().slice(first, n), state);
    state.end += n;
    first += n;
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < inner_; ++i) y(r, i) *= silu(gate(r, i));
  }
  out_proj_.apply(std::as_const(y).view(), out, packed);
}
}  // namespace

std::unique_ptr<Mixer> make_mamba(const MixerParts& parts) {
  return std::make_unique<MambaMixer>(parts);
}
}  // namespace switchyard::runtime
