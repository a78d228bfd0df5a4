// SPDX-License-Identifier: Apache-2.0
// How a panel lies and what of it is fetched when: over the `Simd` of the including file.
// Everything here has internal linkage.
#include "experts/kernels/ahead.hpp"

namespace switchyard::experts::panel {
namespace {

using Float = Simd::Float;

template <unsigned kValue>
struct Index {
  static constexpr unsigned value = kValue;
};
/// Calls f(Index<0>), f(Index<1>), ...: unrolled by the language, not by the optimizer's leave.
template <unsigned kCount, unsigned kFirst = 0, class F>
[[gnu::always_inline]] inline void unrolled(const F& f) {
  if constexpr (kFirst < kCount) {
    f(Index<kFirst>{});
    unrolled<kCount, kFirst + 1>(f);
  }
}

/// How a panel lies: steps of 32 columns, each with the inputs that are side by side in a column.
template <Stored kStored>
struct Panel {
  static constexpr unsigned kDepth = kStored == Stored::kBfloat16 ? 2 : 1;
  static constexpr std::int64_t kStepBytes = kStored == Stored::kFloat16 ? 64 : 128;
  static std::int64_t steps(std::int64_t depth) { return (depth + kDepth - 1) / kDepth; }

  /// Columns [part * kLanes, ...) and those 16 further on of input kInput of a step.
  template <unsigned kInput>
  [[gnu::always_inline]] static inline void load(const std::byte* step, int part, Float& low,
                                                 Float& high) {
    constexpr std::int64_t kHalfStep = kStepBytes / 2;
    const std::byte* p = step + part * Simd::kLanes * (kHalfStep / kHalf);
    if constexpr (kStored == Stored::kFloat32) {
      low = Simd::load(reinterpret_cast<const float*>(p));
      high = Simd::load(reinterpret_cast<const float*>(p + kHalfStep));
    } else if constexpr (kStored == Stored::kFloat16) {
      low = Simd::half(p);
      high = Simd::half(p + kHalfStep);
    } else if constexpr (kInput == 0) {
      low = Simd::even(p);
      high = Simd::even(p + kHalfStep);
    } else {
      low = Simd::odd(p);
      high = Simd::odd(p + kHalfStep);
    }
  }
};

/// The inputs of a segment as float32: [inputs][32].
template <Stored kStored>
void widen(const std::byte* panel, std::int64_t steps, float* out) {
  using P = Panel<kStored>;
  for (std::int64_t step = 0; step < steps; ++step, panel += P::kStepBytes) {
    unrolled<P::kDepth>([&](auto input) __attribute__((always_inline)) {
      for (int part = 0; part < kHalf / Simd::kLanes; ++part) {
        Float low;
        Float high;
        P::template load<input.value>(panel, part, low, high);
        Simd::store(out + part * Simd::kLanes, low);
        Simd::store(out + part * Simd::kLanes + kHalf, high);
      }
      out += kColumns;
    });
  }
}

// ---- What is fetched when. The panels of a matrix lie one behind the other and are read in order,
// so they are one stream of blocks. While a block is worked on, the next one is fetched into the
// second cache, its eight pages in turns: one core gets 1.4 times as much out of the memory that
// way as by reading on in one place, and needs no huge pages for it (README.md, Speed).

constexpr std::int64_t kPageBytes = 4096;
constexpr std::int64_t kPages = 8;  ///< of a block
constexpr std::int64_t kBlockBytes = kPages * kPageBytes;
constexpr std::int64_t kLineBytes = 64;

/// Inputs of a segment of which all groups of rows make use before the next: as float32 16 KiB, so
/// that it stays in the first cache beside the rows. Twice or half as many are 4 % slower.
constexpr std::int64_t kSegmentInputs = 128;

/// How a pass over (a part of) a block fetches. A lone one fetches all lines of all pages. Several
/// that share the work each go through one half of so many pages.
/// Or it fetches what itself will read a little later, into the first cache or the second.
enum class Fetch { kAlone, kNear, kFar, kNone, kTwo, kFour, kEight };
constexpr std::int64_t kHalfPageBytes = kPageBytes / 2;

/// What a pass goes through between two lines of a page.
template <Stored kStored, Fetch kFetch>
struct Round {
  static constexpr bool kIsAhead = kFetch == Fetch::kNear || kFetch == Fetch::kFar;
  static constexpr bool kIsAlone = kFetch == Fetch::kAlone || kIsAhead;
  static constexpr unsigned kInputs =
      kIsAlone ? kPages * kLineBytes / Panel<kStored>::kStepBytes * Panel<kStored>::kDepth
               : kSegmentInputs * kLineBytes / kHalfPageBytes;
  static constexpr unsigned kSteps = kInputs / Panel<kStored>::kDepth;
  static constexpr unsigned kFetched = kFetch == Fetch::kAlone || kFetch == Fetch::kEight ? 8
                                       : kFetch == Fetch::kFour                           ? 4
                                       : kFetch == Fetch::kTwo                            ? 2
                                                                                          : 0;
};
}  // namespace
}  // namespace switchyard::experts::panel
