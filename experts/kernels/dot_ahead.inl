// SPDX-License-Identifier: Apache-2.0
// Weights fetched as one stream, where the processor wants that: after dot.inl.
#include "experts/kernels/ahead.hpp"

namespace switchyard::experts::dot {
namespace {

/// A line or two every step, so that they come as evenly as they are used. A lone pass over a panel
/// fetches what itself will read; one of several its share of what comes next.
struct Ahead {
  const std::byte* next;
  std::int64_t step;  ///< bytes a step, 128 at most: no line is left out
  bool lone = false;  ///< it fetches for itself

  /// @param streams     of the block: nothing is left to them
  /// @param step_bytes  of the panel
  [[gnu::always_inline]] Ahead(const Block& b, Streams& streams, std::int64_t steps,
                               std::int64_t step_bytes, bool near)
      : next(b.panel), step(step_bytes) {
    if (!reads_ahead()) return;  // lines that are in use already
    streams.left = 0;
    next += near ? kNearBytes : kFarBytes;
    lone = streams.parts == 1;
    if (lone) return;
    const auto share = static_cast<std::int64_t>(static_cast<std::uint32_t>(b.fetch_bytes) /
                                                 static_cast<std::uint32_t>(streams.parts));
    step = b.fetch == nullptr ? 0 : share / steps + 1;
    next = b.fetch == nullptr ? b.panel : b.fetch + share * streams.part;
  }
  template <bool kNear>
  [[gnu::always_inline]] void fetch() {
    fetch<kNear>(step);
  }
  /// Two lines, of which so many bytes are new.
  template <bool kNear>
  [[gnu::always_inline]] void fetch(std::int64_t bytes) {
    __builtin_prefetch(next, 0, kNear ? 3 : 2);
    __builtin_prefetch(next + kLine, 0, kNear ? 3 : 2);
    next += bytes;
  }
};
}  // namespace
}  // namespace switchyard::experts::dot
