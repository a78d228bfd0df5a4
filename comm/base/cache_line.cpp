// SPDX-License-Identifier: Apache-2.0
#include "comm/base/cache_line.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace switchyard::comm {
namespace {
/// Looks that a long one is remembered for: a line may have been fetched along with another.
constexpr int kRemembered = 4;
}  // namespace

#if defined(__x86_64__)
namespace {
constexpr std::int64_t kVector = sizeof(__m128i);
constexpr std::int64_t kLine = 64;
/// Between what a line takes from a neighbour (20 to 60 ns) and from another chiplet or socket (130
/// and more).
constexpr std::uint64_t kLongNs = 100;

/// Steps of the counter in so many nanoseconds.
std::uint64_t ticks_in(std::uint64_t wanted_ns) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kLook = std::chrono::microseconds(20);
  const auto begin = Clock::now();
  const std::uint64_t first = __rdtsc();
  auto now = begin;
  while (now - begin < kLook) now = Clock::now();
  const std::uint64_t ticks = __rdtsc() - first;
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now - begin).count();
  return ticks * wanted_ns / static_cast<std::uint64_t>(ns);
}
}  // namespace

void copy_past_caches(std::byte* to, const std::byte* from, std::int64_t bytes) {
  const auto misplaced = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) % kLine);
  const std::int64_t head = std::min(bytes, (kLine - misplaced) % kLine);
  std::memcpy(to, from, static_cast<std::size_t>(head));
  std::int64_t i = head;
  for (; i + kLine <= bytes; i += kLine) {
    for (std::int64_t v = i; v < i + kLine; v += kVector) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + v),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + v)));
    }
  }
  std::memcpy(to + i, from + i, static_cast<std::size_t>(bytes - i));
  _mm_sfence();
}

Distances::Distances(int mates) : Distances(mates, ticks_in(kLongNs), 0) {}

void Distances::look(int mate, const std::int64_t& word) {
  // The fences keep the load between the two looks at the counter.
  _mm_lfence();
  const std::uint64_t begin = __rdtsc();
  _mm_lfence();
  static_cast<void>(*const_cast<const volatile std::int64_t*>(&word));
  _mm_lfence();
  const std::uint64_t took = __rdtsc() - begin;
  int& votes = votes_[static_cast<std::size_t>(mate)];
  votes = took > long_ticks_ ? kRemembered : std::max(votes - 1, 0);
}
#else
Distances::Distances(int mates) : Distances(mates, 0, 0) {}

void Distances::look(int, const std::int64_t&) {}

void copy_past_caches(std::byte* to, const std::byte* from, std::int64_t bytes) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
}
#endif

Distances Distances::all_far(int mates) {
  return {mates, 0, kRemembered};
}

bool Distances::any_far() const {
  for (std::size_t mate = 0; mate < votes_.size(); ++mate) {
    if (far(static_cast<int>(mate))) return true;
  }
  return false;
}
}  // namespace switchyard::comm
