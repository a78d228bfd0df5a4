// SPDX-License-Identifier: Apache-2.0
// The inner loop, written over `Simd`, for panel.inl.
#include "experts/kernels/layout.inl"

namespace switchyard::experts::panel {
namespace {

/// Adds `steps` steps of a panel to sums[r][c] of kRows rows and its 32 columns.
/// @tparam kFetched  pages of which a line is fetched every unit
/// @param x      [inputs][kRows]
/// @param fetch  the first of those lines
/// @param odd    the last step has one input only; the one that fills it up is left out, for 0
/// times
///               infinity is no zero
template <unsigned kRows, Stored kStored, unsigned kFetched>
[[gnu::noinline]] void tile(const float* x, const std::byte* panel, std::int64_t steps, bool odd,
                            std::uintptr_t fetch, bool fresh, float* sums) {
  using P = Panel<kStored>;
  constexpr unsigned kUnit = kUnitBytes / P::kStepBytes;
  for (int part = 0; part < kHalf / Simd::kLanes; ++part) {
    float* const out = sums + part * Simd::kLanes;
    Float low[kRows];
    Float high[kRows];
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      low[r.value] = fresh ? Simd::set(0.0F) : Simd::load(out + r.value * kColumns);
      high[r.value] = fresh ? Simd::set(0.0F) : Simd::load(out + r.value * kColumns + kHalf);
    });
    const std::byte* weights = panel;
    const float* values = x;
    const auto add_input = [&](auto input, unsigned step) __attribute__((always_inline)) {
      Float w_low;
      Float w_high;
      P::template load<input.value>(weights + step * P::kStepBytes, part, w_low, w_high);
      const float* row = values + (step * P::kDepth + input.value) * kRows;
      unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
        const Float value = Simd::set(row[r.value]);
        low[r.value] = Simd::fma(w_low, value, low[r.value]);
        high[r.value] = Simd::fma(w_high, value, high[r.value]);
      });
    };
    std::int64_t left = odd ? steps - 1 : steps;
    for (; left >= kUnit; left -= kUnit) {
      if (part == 0) {
        unrolled<kFetched>([&](auto page) __attribute__((always_inline)) {
          __builtin_prefetch(reinterpret_cast<const void*>(fetch + page.value * kPageBytes), 0, 2);
        });
        fetch += kLineBytes;
      }
      unrolled<kUnit>([&](auto step) __attribute__((always_inline)) {
        unrolled<P::kDepth>([&](auto input)
                                __attribute__((always_inline)) { add_input(input, step.value); });
      });
      weights += kUnitBytes;
      values += kUnit * P::kDepth * kRows;
    }
    for (; left > 0; --left) {
      unrolled<P::kDepth>([&](auto input) __attribute__((always_inline)) { add_input(input, 0); });
      weights += P::kStepBytes;
      values += P::kDepth * kRows;
    }
    if (odd) add_input(Index<0>{}, 0);
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      Simd::store(out + r.value * kColumns, low[r.value]);
      Simd::store(out + r.value * kColumns + kHalf, high[r.value]);
    });
  }
}
}  // namespace
}  // namespace switchyard::experts::panel
