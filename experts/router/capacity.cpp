// SPDX-License-Identifier: Apache-2.0
#include "experts/router/capacity.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "experts/router/router.hpp"

namespace switchyard::experts {
namespace {

__extension__ using Wide = unsigned __int128;  // a GNU extension; both gcc and clang have it

// A positive number as digits * 10^exponent.
struct Decimal {
  std::uint64_t digits = 0;  // at most 17 of them
  int exponent = 0;
};

// "1.25e+00" is 125 * 10^-2.
Decimal shortest_decimal(double value) {
  std::array<char, 32> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific);
  Decimal decimal;
  bool fraction = false;
  const char* at = text.data();
  for (; at != end.ptr && *at != 'e'; ++at) {
    if (*at == '.') {
      fraction = true;
      continue;
    }
    decimal.digits = decimal.digits * 10 + static_cast<std::uint64_t>(*at - '0');
    if (fraction) --decimal.exponent;
  }
  const bool negative = at + 1 != end.ptr && at[1] == '-';
  int magnitude = 0;
  std::from_chars(at + 2, end.ptr, magnitude);
  decimal.exponent += negative ? -magnitude : magnitude;
  return decimal;
}

Wide round_up_if(Rounding rounding, Wide quotient, Wide rest, Wide divisor) {
  if (rest == 0 || rounding == Rounding::kDown) return quotient;
  if (rounding == Rounding::kUp) return quotient + 1;
  const Wide other = divisor - rest;
  const bool up = rest > other || (rest == other && quotient % 2 == 1);
  return up ? quotient + 1 : quotient;
}
}  // namespace

std::int64_t exact_share(std::int64_t rows, double factor, std::int64_t parts, Rounding rounding) {
  const Decimal decimal = shortest_decimal(factor);
  Wide dividend = static_cast<Wide>(rows) * decimal.digits;
  Wide divisor = static_cast<Wide>(parts);
  for (int e = decimal.exponent; e > 0; --e) dividend *= 10;
  for (int e = decimal.exponent; e < 0; ++e) divisor *= 10;
  const Wide rounded = round_up_if(rounding, dividend / divisor, dividend % divisor, divisor);
  constexpr Wide kMost = std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(std::min(rounded, kMost));
}

std::int64_t capacity_of(const RouterSpec& spec, std::int64_t tokens) {
  validate(spec);
  const CapacitySpec& capacity = spec.capacity;
  const auto rows = [&](std::int64_t offered, std::int64_t parts, Rounding rounding) {
    return exact_share(offered, capacity.factor, parts, rounding);
  };
  constexpr std::int64_t kLeast = 4;  // of flaxformer and ColossalAI
  if (spec.choice == Choice::kExpertChoice) return rows(tokens, spec.experts, Rounding::kUp);
  if (capacity.factor == 0) return tokens;
  const std::int64_t slots = tokens * spec.top_k;
  switch (capacity.rule) {
    case CapacityRule::kNone:
      return tokens;
    case CapacityRule::kDeepspeedTop2:
    case CapacityRule::kDeepspeedProbs:
    case CapacityRule::kDeepspeedPosition:
    case CapacityRule::kRecycle:
      return std::max(capacity.min_capacity, rows(slots, spec.experts, Rounding::kUp));
    case CapacityRule::kFlaxformer:
      return std::max(kLeast, rows(tokens, spec.experts, Rounding::kHalfEven));
    case CapacityRule::kColossal: {
      const std::int64_t whole = rows(slots, spec.experts, Rounding::kDown);
      return std::max(kLeast, whole + whole % 2);
    }
    case CapacityRule::kDeviceBudget:
      return rows(slots, capacity.devices, Rounding::kUp);
  }
  return tokens;
}
}  // namespace switchyard::experts
