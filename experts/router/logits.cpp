// SPDX-License-Identifier: Apache-2.0
#include "experts/router/logits.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "experts/kernels/math.hpp"

namespace switchyard::experts {
namespace {

[[noreturn]] void refuse(std::int64_t token, std::size_t expert, float logit) {
  throw std::invalid_argument(
      "token " + std::to_string(token) + ": logit of expert " + std::to_string(expert) + " is " +
      (std::isnan(logit) ? "nan" : "inf") + ", want a finite number or -inf");
}
}  // namespace

void tanh_layer(std::span<float> values) {
  for (float& value : values) value = static_cast<float>(portable::tanh(double{value}));
}

void attention_logits(std::span<const float> query, std::span<const float> key,
                      std::span<const float> value, std::span<float> logits) {
  for (std::size_t i = 0; i < query.size(); ++i) {
    const double q = query[i];
    double largest = q * double{key[0]};
    for (const float k : key) largest = std::max(largest, q * double{k});
    double total = 0;
    double mixed = 0;
    for (std::size_t j = 0; j < key.size(); ++j) {
      const double share = portable::exp(q * double{key[j]} - largest);
      total += share;
      mixed += share * double{value[j]};
    }
    logits[i] = static_cast<float>(mixed / total);
  }
}

void check_logits(std::int64_t token, std::span<const float> logits, std::int64_t wanted) {
  std::int64_t finite = 0;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    if (std::isfinite(logits[e])) {
      ++finite;
    } else if (!(logits[e] < 0)) {
      refuse(token, e, logits[e]);
    }
  }
  if (finite < wanted) {
    throw std::invalid_argument("token " + std::to_string(token) + ": " + std::to_string(finite) +
                                " of " + std::to_string(logits.size()) +
                                " logits are finite, want at least " + std::to_string(wanted));
  }
}
}  // namespace switchyard::experts
