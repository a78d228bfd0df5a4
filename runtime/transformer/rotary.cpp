// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/rotary.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

#include "experts/kernels/math.hpp"
#include "runtime/model/model.pb.h"

namespace switchyard::runtime {
namespace {
namespace v1 = switchyard::model::v1;
namespace portable = experts::portable;

constexpr double kTwoPi = 6.283185307179586;

double require(double value, const char* field) {
  if (value > 0) return value;
  throw std::invalid_argument(std::string("model: ") + field + ", got " + std::to_string(value) +
                              ", want more than 0: positions need it");
}

/// YaRN's m(a) = 0.1 a ln(factor) + 1.
double yarn_m(double factor, double a) {
  return factor > 1 ? 0.1 * a * portable::log(factor) + 1 : 1.0;
}

std::vector<double> plain_frequencies(double theta, std::int64_t pairs) {
  std::vector<double> result;
  const double log_theta = portable::log(theta);
  for (std::int64_t i = 0; i < pairs; ++i) {
    result.push_back(
        portable::exp(-log_theta * static_cast<double>(i) / static_cast<double>(pairs)));
  }
  return result;
}

/// Frequencies whose wave is longer than the original context are stretched, short ones are not.
void scale_llama3(const v1::Model& m, std::vector<double>& frequencies) {
  const double factor = require(m.rope_factor(), "rope_factor");
  const double low = require(m.rope_low_freq_factor(), "rope_low_freq_factor");
  const double high = require(m.rope_high_freq_factor(), "rope_high_freq_factor");
  const double context =
      require(static_cast<double>(m.rope_original_context()), "rope_original_context");
  for (double& f : frequencies) {
    const double turns = context * f / kTwoPi;  // in the original context
    if (turns > high) continue;
    const double blend = turns < low ? 0.0 : (turns - low) / (high - low);
    f = (1 - blend) * f / factor + blend * f;
  }
}

/// Pair i keeps 1 - ramp(i) of its frequency and takes the rest from the stretched one; the ramp
/// runs between the pairs that turn beta_fast and beta_slow times in the original context.
void scale_yarn(const v1::Model& m, std::vector<double>& frequencies) {
  const auto pairs = static_cast<double>(frequencies.size());
  const double factor = require(m.rope_factor(), "rope_factor");
  const double context =
      require(static_cast<double>(m.rope_original_context()), "rope_original_context");
  const double log_theta = portable::log(m.rope_theta());
  const auto pair_of = [&](double turns) {
    return pairs * portable::log(context / (turns * kTwoPi)) / log_theta;
  };
  double low = pair_of(m.has_yarn_beta_fast() ? m.yarn_beta_fast() : 32.0);
  double high = pair_of(m.has_yarn_beta_slow() ? m.yarn_beta_slow() : 1.0);
  if (!m.has_yarn_truncate() || m.yarn_truncate()) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, 2 * pairs - 1);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / factor * ramp + frequencies[i] * (1 - ramp);
  }
}

std::vector<double> divided(const std::vector<double>& frequencies,
                            const google::protobuf::RepeatedField<double>& factors,
                            const char* field) {
  if (static_cast<std::size_t>(factors.size()) != frequencies.size()) {
    throw std::invalid_argument(std::string("model: ") + field + ", got " +
                                std::to_string(factors.size()) + " numbers, want " +
                                std::to_string(frequencies.size()));
  }
  std::vector<double> result = frequencies;
  for (std::size_t i = 0; i < result.size(); ++i) result[i] /= factors[static_cast<int>(i)];
  return result;
}

/// What cos and sin are multiplied by.
double factor_of(const v1::Model& m) {
  if (m.has_rope_attention_factor()) return m.rope_attention_factor();
  if (m.rope_scaling() == v1::RopeScaling::yarn) {
    if (m.yarn_mscale() != 0 && m.yarn_mscale_all_dim() != 0) {
      return yarn_m(m.rope_factor(), m.yarn_mscale()) /
             yarn_m(m.rope_factor(), m.yarn_mscale_all_dim());
    }
    return yarn_m(m.rope_factor(), 1);
  }
  if (m.rope_scaling() == v1::RopeScaling::longrope && m.rope_factor() > 1) {
    return std::sqrt(1 + portable::log(m.rope_factor()) /
                             portable::log(static_cast<double>(m.rope_original_context())));
  }
  return 1;
}
}  // namespace

SinCos sin_cos(double x) {
  // x - k pi / 2 in three parts of pi / 2; k has at most 28 bits, so the first products are exact.
  constexpr double kShift = 0x1.8p52;
  constexpr double kFirst = 0x1.921fb4p0;
  constexpr double kSecond = 0x1.4442d0p-24;
  constexpr double kThird = 0x1.8469898cc5170p-48;
  const double k = (x * 0.63661977236758134 + kShift) - kShift;
  const double r = ((x - k * kFirst) - k * kSecond) - k * kThird;
  constexpr std::array<double, 8> kSin = {-1.0 / 6,
                                          1.0 / 120,
                                          -1.0 / 5040,
                                          1.0 / 362880,
                                          -1.0 / 39916800.0,
                                          1.0 / 6227020800.0,
                                          -1.0 / 1307674368000.0,
                                          1.0 / 355687428096000.0};
  constexpr std::array<double, 8> kCos = {
      -1.0 / 2,         1.0 / 24,          -1.0 / 720,           1.0 / 40320,
      -1.0 / 3628800.0, 1.0 / 479001600.0, -1.0 / 87178291200.0, 1.0 / 20922789888000.0};
  const double s = r * r;
  double sine = kSin.back();
  double cosine = kCos.back();
  for (std::size_t i = kSin.size() - 1; i-- > 0;) {
    sine = sine * s + kSin[i];
    cosine = cosine * s + kCos[i];
  }
  sine = r + r * (s * sine);
  cosine = 1 + s * cosine;
  switch (static_cast<std::int64_t>(k) & 3) {
    case 0:
      return {sine, cosine};
    case 1:
      return {cosine, -sine};
    case 2:
      return {-sine, -cosine};
    default:
      return {-cosine, sine};
  }
}

Rotary::Rotary(const Model& model, std::int64_t head_dim) {
  const v1::Model& m = model.message();
  if (m.rope() == v1::Rope::none) return;
  const std::int64_t dim = m.rotary_dim() > 0 ? m.rotary_dim() : head_dim;
  if (dim % 2 != 0 || dim > head_dim) {
    throw std::invalid_argument("model: rotary_dim, got " + std::to_string(dim) +
                                ", want an even number up to " + std::to_string(head_dim));
  }
  interleaved_ = m.rope() == v1::Rope::interleaved;
  factor_ = factor_of(m);
  long_factor_ = m.has_rope_long_attention_factor() ? m.rope_long_attention_factor() : factor_;
  original_context_ = m.rope_original_context();
  frequencies_.push_back(plain_frequencies(require(m.rope_theta(), "rope_theta"), dim / 2));
  std::vector<double>& frequencies = frequencies_.front();
  switch (m.rope_scaling()) {
    case v1::RopeScaling::linear:
      for (double& f : frequencies) f /= require(m.rope_factor(), "rope_factor");
      break;
    case v1::RopeScaling::llama3:
      scale_llama3(m, frequencies);
      break;
    case v1::RopeScaling::yarn:
      scale_yarn(m, frequencies);
      break;
    case v1::RopeScaling::longrope: {
      require(static_cast<double>(original_context_), "rope_original_context");
      auto long_set = divided(frequencies, m.rope_long_factors(), "rope_long_factors");
      frequencies = divided(frequencies, m.rope_short_factors(), "rope_short_factors");
      frequencies_.push_back(std::move(long_set));
      break;
    }
    default:
      break;
  }
}

Rotary Rotary::of_indexer(const Model& model) {
  Rotary rotary(model, model.message().qk_rope_head_dim());
  rotary.interleaved_ = model.message().index_rope() == v1::Rope::interleaved;
  return rotary;
}

void Rotary::angles(std::int64_t position, std::int64_t set, std::span<float> cos,
                    std::span<float> sin) const {
  const std::vector<double>& frequencies = frequencies_[static_cast<std::size_t>(set)];
  const double factor = attention_factor(set);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const SinCos turned = sin_cos(static_cast<double>(position) * frequencies[i]);
    cos[i] = static_cast<float>(turned.cos * factor);
    sin[i] = static_cast<float>(turned.sin * factor);
  }
}

void Rotary::turn(std::span<const float> cos, std::span<const float> sin, float* head) const {
  const std::size_t half = cos.size();
  const std::size_t step = interleaved_ ? 2 : 1;
  const std::size_t partner = interleaved_ ? 1 : half;
  for (std::size_t i = 0; i < half; ++i) {
    float* const first = head + i * step;
    const float a = first[0];
    const float b = first[partner];
    first[0] = a * cos[i] - b * sin[i];
    first[partner] = b * cos[i] + a * sin[i];
  }
}

Turn::Turn(const Rotary& rotary)
    : rotary_(rotary),
      cos_(static_cast<std::size_t>(rotary.pairs())),
      sin_(static_cast<std::size_t>(rotary.pairs())) {
  if (rotary.sets() < 2) return;
  throw std::invalid_argument(
      "model: rope_scaling, got longrope, want another one with this kind of "
      "attention");
}

void Turn::to(std::int64_t position) {
  if (rotary_.sets() > 0) rotary_.angles(position, 0, cos_, sin_);
}

void Turn::apply(float* head) const {
  if (rotary_.sets() > 0) rotary_.turn(cos_, sin_, head);
}

double score_scale(const Model& model, std::int64_t dim) {
  const v1::Model& m = model.message();
  const double scale =
      m.has_attention_scale() ? m.attention_scale() : 1 / std::sqrt(static_cast<double>(dim));
  if (m.rope_scaling() != v1::RopeScaling::yarn || m.yarn_mscale_all_dim() == 0) return scale;
  const double stretch = yarn_m(m.rope_factor(), m.yarn_mscale_all_dim());
  return scale * stretch * stretch;
}
}  // namespace switchyard::runtime
