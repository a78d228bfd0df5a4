// SPDX-License-Identifier: Apache-2.0
#include "runtime/bench/oracle.hpp"

#include <cmath>
#include <limits>

namespace switchyard::runtime::bench {
double error_of_rms(std::span<const double> want, std::span<const float> got) {
  double errors = 0;
  double squares = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double error = static_cast<double>(got[i]) - want[i];
    errors += error * error;
    squares += want[i] * want[i];
  }
  if (!std::isfinite(errors) || !std::isfinite(squares)) {
    return std::numeric_limits<double>::infinity();
  }
  return errors == 0 ? 0 : std::sqrt(errors / squares);
}

double error_limit(bool float32_products, std::int64_t depth) {
  if (!float32_products) return 1.5e-2;
  return 8 * 0x1p-24 * std::sqrt(static_cast<double>(depth));
}
}  // namespace switchyard::runtime::bench
