// SPDX-License-Identifier: Apache-2.0
// The inner loop, written over `Simd`, for panel.inl.
#include "experts/kernels/layout.inl"

namespace switchyard::experts::panel {
namespace {

/// Adds `steps` steps of a panel to sums[r][c] of kRows rows and its 32 columns.
/// @tparam kKeep      whether the widened weights are wanted
/// @tparam kAnyOrder  whether additions may be made in another order, should that be faster
/// @param x      [inputs][kRows]
/// @param odd    the last step has one input only; the one that fills it up is left out, for 0
///               times infinity is no zero
/// @param fetch  the line to fetch first
/// @param fresh  sums are 0, whatever is there
/// @param wide   [inputs][32], if they are wanted
template <unsigned kRows, Stored kStored, Fetch kFetch, bool kKeep, bool kAnyOrder>
[[gnu::noinline]] void tile(const float* x, const std::byte* panel, std::int64_t steps, bool odd,
                            std::uintptr_t fetch, bool fresh, float* sums, float* wide) {
  using P = Panel<kStored>;
  using R = Round<kStored, kFetch>;
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
    float* kept = kKeep ? wide + part * Simd::kLanes : nullptr;
    const auto add_input = [&](auto input) __attribute__((always_inline)) {
      Float w_low;
      Float w_high;
      P::template load<input.value>(weights, part, w_low, w_high);
      if constexpr (kKeep) {
        Simd::store(kept, w_low);
        Simd::store(kept + kHalf, w_high);
        kept += kColumns;
      }
      unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
        const Float value = Simd::set(values[r.value]);
        low[r.value] = Simd::fma(w_low, value, low[r.value]);
        high[r.value] = Simd::fma(w_high, value, high[r.value]);
      });
      values += kRows;
    };
    std::int64_t left = odd ? steps - 1 : steps;
    unsigned until_fetch = 1;
    for (; left > 0; --left) {
      if (R::kFetched > 0 && part == 0 && --until_fetch == 0) {
        unrolled<R::kFetched>([&](auto page) __attribute__((always_inline)) {
          __builtin_prefetch(reinterpret_cast<const void*>(fetch + page.value * kPageBytes), 0, 2);
        });
        fetch += kLineBytes;
        until_fetch = R::kSteps;
      }
      unrolled<P::kDepth>(add_input);
      weights += P::kStepBytes;
    }
    if (odd) add_input(Index<0>{});
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      Simd::store(out + r.value * kColumns, low[r.value]);
      Simd::store(out + r.value * kColumns + kHalf, high[r.value]);
    });
  }
}
}  // namespace
}  // namespace switchyard::experts::panel
