// SPDX-License-Identifier: Apache-2.0
// exp_each, by vectors of kVectorBytes that the including file names.
#include "experts/kernels/exp_steps.inl"

namespace switchyard::experts::portable {
namespace {

void exp_all(double* values, std::int64_t count) {
  using Double [[gnu::vector_size(kVectorBytes)]] = double;
  using Word [[gnu::vector_size(kVectorBytes)]] = std::uint64_t;
  constexpr auto kLanes = static_cast<std::int64_t>(kVectorBytes / sizeof(double));
  constexpr double kInfinity = __builtin_huge_val();
  for (std::int64_t first = 0; first < count; first += kLanes) {
    const std::int64_t left = count - first;
    const auto bytes = static_cast<std::size_t>(left < kLanes ? left : kLanes) * sizeof(double);
    Double x{};
    if (left < kLanes) {
      __builtin_memcpy(&x, values + first, bytes);
    } else {
      __builtin_memcpy(&x, values + first, sizeof x);
    }
    Double inside = x > kExpMost ? Double{} + kExpMost : x;
    inside = inside >= kExpLeast ? inside : Double{} + kExpLeast;  // nan too
    Double result = exp_in_range<Double, Word>(inside);
    result = x > kExpMost ? Double{} + kInfinity : result;
    result = x < kExpLeast ? Double{} : result;
    result = x == x ? result : x;
    if (left < kLanes) {
      __builtin_memcpy(values + first, &result, bytes);
    } else {
      __builtin_memcpy(values + first, &result, sizeof result);
    }
  }
}
}  // namespace
}  // namespace switchyard::experts::portable
