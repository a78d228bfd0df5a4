// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/quantise.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "experts/kernels/dot.hpp"

namespace switchyard::experts {
namespace {

using dot::kColumns;
using dot::kGroup;
using dot::kGroupBytes;

/// @param values  [kGroup]
/// @param out     element k goes to out[k / 4 * 128 + k % 4]
/// @return        the scale
float quantise(const std::array<float, kGroup>& values, std::int8_t* out) {
  constexpr float kShift = 0x1.8p23F;  // adding it rounds to an integer
  float largest = 0;
  bool finite = true;
  for (const float value : values) {
    largest = std::max(largest, std::abs(value));
    finite = finite && std::isfinite(value);
  }
  const bool some = finite && largest >= 0x1p-100F;  // its reciprocal is finite
  const float inverse = some ? 127.0F / largest : 0.0F;
  for (std::size_t k = 0; k < values.size(); ++k) {
    const float rounded = some ? values[k] * inverse + kShift - kShift : 0.0F;
    out[k / 4 * 4 * kColumns + k % 4] = static_cast<std::int8_t>(rounded);
  }
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  return some ? largest / 127.0F : 0.0F;
}
}  // namespace

void quantise_columns(const WeightView& weight, std::int64_t first_output, std::int64_t count,
                      std::int64_t first_column, std::byte* panel) {
  std::array<float, kGroup> values{};
  for (std::int64_t first = 0; first < weight.in; first += kGroup, panel += kGroupBytes) {
    auto* scales = reinterpret_cast<float*>(panel) + first_column;
    auto* bytes = reinterpret_cast<std::int8_t*>(panel) + kColumns * 4 + first_column * 4;
    const std::int64_t inputs = std::min(kGroup, weight.in - first);
    for (std::int64_t c = 0; c < count; ++c) {
      const std::int64_t output = first_output + c;
      values.fill(0.0F);
      for (std::int64_t k = 0; output < weight.out && k < inputs; ++k) {
        values[static_cast<std::size_t>(k)] = weight.at(output, first + k);
      }
      scales[c] = quantise(values, bytes + 4 * c);
    }
  }
}
}  // namespace switchyard::experts
