// SPDX-License-Identifier: Apache-2.0
#include "experts/sum.hpp"

#include <stdexcept>
#include <string>

#include "experts/kernels/dispatch.hpp"

namespace switchyard::experts {

void weighted_sum(Isa isa, std::span<const float* const> rows, std::span<const float> weights,
                  std::span<float> out) {
  if (rows.size() != weights.size()) {
    throw std::invalid_argument("weighted sum: " + std::to_string(weights.size()) +
                                " weights, want " + std::to_string(rows.size()));
  }
  kernels_of(isa).sum(rows.data(), weights.data(), static_cast<std::int64_t>(rows.size()),
                      static_cast<std::int64_t>(out.size()), out.data());
}
}  // namespace switchyard::experts
