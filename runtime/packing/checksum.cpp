// SPDX-License-Identifier: Apache-2.0
#include "runtime/packing/checksum.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

#include "comm/crc32c.hpp"
#ifdef __x86_64__
#include <nmmintrin.h>
#endif

namespace switchyard::runtime {
namespace {
#ifdef __x86_64__
/// Checksums of as many runs of `count` bytes, one behind the other. The instruction takes three
/// cycles and starts one a cycle, so four chains fill it.
template <std::size_t kChains>
__attribute__((target("sse4.2"))) void side_by_side(const std::byte* first, std::size_t count,
                                                    std::uint32_t* sums) {
  std::array<std::uint64_t, kChains> crc{};
  crc.fill(0xFFFFFFFFU);
  std::size_t at = 0;
  for (; at + 8 <= count; at += 8) {
    for (std::size_t c = 0; c < kChains; ++c) {
      std::uint64_t word = 0;
      std::memcpy(&word, first + c * count + at, sizeof word);
      crc[c] = _mm_crc32_u64(crc[c], word);
    }
  }
  for (std::size_t c = 0; c < kChains; ++c) {
    auto sum = static_cast<std::uint32_t>(crc[c]);
    for (std::size_t i = at; i < count; ++i) {
      sum = _mm_crc32_u8(sum, std::to_integer<std::uint8_t>(first[c * count + i]));
    }
    sums[c] = ~sum;
  }
}

bool sum_by_instruction(std::span<const std::byte> bytes, std::size_t piece, std::uint32_t* sums) {
  if (__builtin_cpu_supports("sse4.2") == 0) return false;
  while (bytes.size() >= 4 * piece) {
    side_by_side<4>(bytes.data(), piece, sums);
    bytes = bytes.subspan(4 * piece);
    sums += 4;
  }
  while (!bytes.empty()) {
    const std::size_t count = std::min(piece, bytes.size());
    side_by_side<1>(bytes.data(), count, sums++);
    bytes = bytes.subspan(count);
  }
  return true;
}
#else
bool sum_by_instruction(std::span<const std::byte>, std::size_t, std::uint32_t*) {
  return false;
}
#endif
}  // namespace

std::vector<std::uint32_t> crc32c_of_pieces(std::span<const std::byte> bytes, std::size_t piece) {
  if (piece < 1) throw std::invalid_argument("checksum: pieces of 0 bytes, want at least 1");
  std::vector<std::uint32_t> sums((bytes.size() + piece - 1) / piece);
  if (sum_by_instruction(bytes, piece, sums.data())) return sums;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sums[i] = comm::crc32c(bytes.subspan(i * piece, std::min(piece, bytes.size() - i * piece)));
  }
  return sums;
}
}  // namespace switchyard::runtime
