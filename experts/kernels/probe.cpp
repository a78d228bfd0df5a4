// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/probe.hpp"

#include <algorithm>
#include <cstring>
#include <unistd.h>

#include "experts/kernels/ahead.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace switchyard::experts {
namespace {
constexpr std::int64_t kSteps = 50'000;
constexpr std::size_t kParts = 8;
constexpr std::size_t kPages = 8;
constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kBlockBytes = kPages * kPageBytes;

#if defined(__x86_64__)
[[gnu::target("avx512f"), gnu::noinline]] float multiply_adds_avx512(std::int64_t steps, float by) {
  __m512 sums[24];
  for (__m512& sum : sums) sum = _mm512_set1_ps(1.0F);
  const __m512 factor = _mm512_set1_ps(by);
  for (std::int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 24
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, factor);
  }
  for (int i = 1; i < 24; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  float lanes[16];
  _mm512_storeu_ps(lanes, sums[0]);
  return lanes[0];
}

[[gnu::target("avx2,fma"), gnu::noinline]] float multiply_adds_avx2(std::int64_t steps, float by) {
  __m256 sums[12];
  for (__m256& sum : sums) sum = _mm256_set1_ps(1.0F);
  const __m256 factor = _mm256_set1_ps(by);
  for (std::int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, factor);
  }
  for (int i = 1; i < 12; ++i) sums[0] = _mm256_add_ps(sums[0], sums[i]);
  float lanes[8];
  _mm256_storeu_ps(lanes, sums[0]);
  return lanes[0];
}

[[gnu::target("avx512f"), gnu::noinline]] std::int64_t read_avx512(const std::byte* data,
                                                                   std::size_t bytes) {
  __m512i sums[kPages];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (std::size_t at = 0; at + kBlockBytes <= bytes; at += kBlockBytes) {
    const std::byte* next = data + at + kBlockBytes;
    for (std::size_t line = 0; line < kBlockBytes; line += kPages * 64, next += 64) {
#pragma GCC unroll 8
      for (std::size_t page = 0; page < kPages; ++page) {
        _mm_prefetch(reinterpret_cast<const char*>(next + page * kPageBytes), _MM_HINT_T1);
        sums[page] = _mm512_xor_si512(sums[page], _mm512_load_si512(data + at + line + page * 64));
      }
    }
  }
  for (std::size_t i = 1; i < kPages; ++i) sums[0] = _mm512_xor_si512(sums[0], sums[i]);
  std::int64_t lanes[8];
  _mm512_storeu_si512(lanes, sums[0]);
  return lanes[0];
}

[[gnu::target("avx512f"), gnu::noinline]] std::int64_t read_ahead_avx512(const std::byte* data,
                                                                         std::size_t bytes) {
  __m512i sums[8];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (std::size_t at = 0; at + kBlockBytes <= bytes; at += kBlockBytes) {
    for (std::size_t line = 0; line < kBlockBytes; line += 8 * 64) {
#pragma GCC unroll 8
      for (std::size_t i = 0; i < 8; ++i) {
        const std::byte* from = data + at + line + i * 64;
        _mm_prefetch(reinterpret_cast<const char*>(from + kNearBytes), _MM_HINT_T0);
        sums[i] = _mm512_xor_si512(sums[i], _mm512_load_si512(from));
      }
    }
  }
  for (std::size_t i = 1; i < 8; ++i) sums[0] = _mm512_xor_si512(sums[0], sums[i]);
  std::int64_t lanes[8];
  _mm512_storeu_si512(lanes, sums[0]);
  return lanes[0];
}
#endif

/// Sixteen chains, in whatever vectors the baseline has; a product and a sum a step, as there may
/// be no fused one.
[[gnu::noinline]] float multiply_adds_portable(std::int64_t steps, float by) {
  float sums[16];
  std::fill_n(sums, 16, 1.0F);
  for (std::int64_t i = 0; i < steps; ++i) {
    for (float& sum : sums) sum = sum * by + by;
  }
  for (int i = 1; i < 16; ++i) sums[0] += sums[i];
  return sums[0];
}

[[gnu::noinline]] std::int64_t read_portable(const std::byte* data, std::size_t bytes) {
  using Line [[gnu::vector_size(64)]] = std::int64_t;
  Line sum{};
  for (std::size_t at = 0; at + kBlockBytes <= bytes; at += kBlockBytes) {
    const std::byte* next = data + at + kBlockBytes;
    for (std::size_t line = 0; line < kBlockBytes; line += kPages * 64, next += 64) {
#pragma GCC unroll 8
      for (std::size_t page = 0; page < kPages; ++page) {
        __builtin_prefetch(next + page * kPageBytes, 0, 2);
        Line read;
        std::memcpy(&read, data + at + line + page * 64, sizeof read);
        sum ^= read;
      }
    }
  }
  return sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}
}  // namespace

std::int64_t last_cache_bytes() {
  return std::max<std::int64_t>(0, ::sysconf(_SC_LEVEL3_CACHE_SIZE));
}

double probe_multiply_adds(Isa isa) {
  const volatile float by = 0.999F;  // volatile: or the probe is moved out of its timing
  volatile float sink = 0;
  double lanes = 16;
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) {
    sink = multiply_adds_avx512(kSteps, by);
    lanes = 24 * 16;
  } else if (isa == Isa::kAvx2) {
    sink = multiply_adds_avx2(2 * kSteps, by);
    lanes = 2 * 12 * 8;
  } else {
    sink = multiply_adds_portable(kSteps, by);
  }
#else
  static_cast<void>(isa);
  sink = multiply_adds_portable(kSteps, by);
#endif
  static_cast<void>(sink);
  return 2 * lanes * static_cast<double>(kSteps);
}

ReadProbe::ReadProbe()
    : memory_(static_cast<std::size_t>(
          std::max<std::int64_t>(std::int64_t{256} << 20U, 3 * last_cache_bytes()))) {
  std::fill_n(memory_.as<std::byte>(), memory_.size(), std::byte{1});
}

double ReadProbe::read(Isa isa) {
  const std::size_t bytes = memory_.size() / kParts / kBlockBytes * kBlockBytes;
  const std::byte* const part = memory_.as<std::byte>() + next_ * bytes;
  next_ = (next_ + 1) % kParts;
  volatile std::int64_t sink = 0;
#if defined(__x86_64__)
  if (isa == Isa::kAvx512 && reads_ahead()) {
    sink = read_ahead_avx512(part, bytes);
  } else {
    sink = isa == Isa::kAvx512 ? read_avx512(part, bytes) : read_portable(part, bytes);
  }
#else
  static_cast<void>(isa);
  sink = read_portable(part, bytes);
#endif
  static_cast<void>(sink);
  return static_cast<double>(bytes);
}
}  // namespace switchyard::experts
