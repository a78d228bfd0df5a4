// SPDX-License-Identifier: Apache-2.0
#include "comm/base/crc32c.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>
#ifdef __x86_64__
#include <nmmintrin.h>
#endif

namespace switchyard::comm {
namespace {
static_assert(std::endian::native == std::endian::little);
constexpr std::uint32_t kPolynomial = 0x82F63B78U;  // reflected

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

/// kTables[t][b]: what byte b does to a sum, t bytes later.
constexpr Tables kTables = [] {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1U) ^ ((value & 1U) != 0 ? kPolynomial : 0U);
    }
    tables[0][byte] = value;
  }
  for (std::size_t t = 1; t < 8; ++t) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t value = tables[t - 1][byte];
      tables[t][byte] = (value >> 8U) ^ tables[0][value & 0xFFU];
    }
  }
  return tables;
}();

std::uint64_t word_at(const std::byte* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

std::uint32_t by_table(const std::byte* at, std::size_t count, std::uint32_t sum) {
  for (; count >= 8; count -= 8, at += 8) {
    const std::uint64_t word = word_at(at) ^ sum;
    sum = 0;
    for (unsigned b = 0; b < 8; ++b) sum ^= kTables[7 - b][(word >> (8 * b)) & 0xFFU];
  }
  for (; count > 0; --count, ++at) {
    sum = (sum >> 8U) ^ kTables[0][(sum ^ std::to_integer<std::uint32_t>(*at)) & 0xFFU];
  }
  return sum;
}

#ifdef __x86_64__
/// What so many zero bytes do to a sum: linear, so a table for each of its four bytes.
class Zeros {
 public:
  /// @param bytes  a power of two
  explicit constexpr Zeros(std::size_t bytes) {
    Matrix matrix{};
    matrix[0] = kPolynomial;  // one zero bit
    for (unsigned i = 1; i < 32; ++i) matrix[i] = 1U << (i - 1);
    for (std::size_t bits = 1; bits < 8 * bytes; bits *= 2) matrix = squared(matrix);
    for (unsigned part = 0; part < 4; ++part) {
      for (std::uint32_t byte = 0; byte < 256; ++byte) {
        tables_[part][byte] = times(matrix, byte << (8 * part));
      }
    }
  }
  [[nodiscard]] std::uint32_t after(std::uint32_t sum) const {
    return tables_[0][sum & 0xFFU] ^ tables_[1][(sum >> 8U) & 0xFFU] ^
           tables_[2][(sum >> 16U) & 0xFFU] ^ tables_[3][sum >> 24U];
  }

 private:
  using Matrix = std::array<std::uint32_t, 32>;
  static constexpr std::uint32_t times(const Matrix& matrix, std::uint32_t vector) {
    std::uint32_t sum = 0;
    for (unsigned i = 0; vector != 0; ++i, vector >>= 1U) {
      if ((vector & 1U) != 0) sum ^= matrix[i];
    }
    return sum;
  }
  static constexpr Matrix squared(const Matrix& matrix) {
    Matrix result{};
    for (unsigned i = 0; i < 32; ++i) result[i] = times(matrix, matrix[i]);
    return result;
  }
  std::array<std::array<std::uint32_t, 256>, 4> tables_{};
};

// The instruction takes three cycles and starts one a cycle: three chains fill it.
constexpr std::size_t kLong = 8192;
constexpr std::size_t kShort = 256;
constexpr Zeros kAfterLong(kLong);
constexpr Zeros kAfterShort(kShort);

template <std::size_t kRun>
__attribute__((target("sse4.2"))) std::uint32_t three_chains(const std::byte*& at,
                                                             std::size_t& count, std::uint32_t sum,
                                                             const Zeros& zeros) {
  while (count >= 3 * kRun) {
    std::uint64_t first = sum;
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < kRun; i += 8) {
      first = _mm_crc32_u64(first, word_at(at + i));
      second = _mm_crc32_u64(second, word_at(at + kRun + i));
      third = _mm_crc32_u64(third, word_at(at + 2 * kRun + i));
    }
    sum = zeros.after(static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second);
    sum = zeros.after(sum) ^ static_cast<std::uint32_t>(third);
    at += 3 * kRun;
    count -= 3 * kRun;
  }
  return sum;
}

__attribute__((target("sse4.2"))) std::uint32_t by_instruction(const std::byte* at,
                                                               std::size_t count,
                                                               std::uint32_t sum) {
  sum = three_chains<kLong>(at, count, sum, kAfterLong);
  sum = three_chains<kShort>(at, count, sum, kAfterShort);
  for (; count >= 8; count -= 8, at += 8) {
    sum = static_cast<std::uint32_t>(_mm_crc32_u64(sum, word_at(at)));
  }
  for (; count > 0; --count, ++at) sum = _mm_crc32_u8(sum, std::to_integer<std::uint8_t>(*at));
  return sum;
}
#endif
}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("sse4.2") != 0) {
    return ~by_instruction(bytes.data(), bytes.size(), ~before);
  }
#endif
  return crc32c_by_table(bytes, before);
}

std::uint32_t crc32c_by_table(std::span<const std::byte> bytes, std::uint32_t before) {
  return ~by_table(bytes.data(), bytes.size(), ~before);
}

std::vector<std::uint32_t> crc32c_of_pieces(std::span<const std::byte> bytes, std::size_t piece) {
  if (piece < 1) throw std::invalid_argument("checksum: pieces of 0 bytes, want at least 1");
  std::vector<std::uint32_t> sums((bytes.size() + piece - 1) / piece);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sums[i] = crc32c(bytes.subspan(i * piece, std::min(piece, bytes.size() - i * piece)));
  }
  return sums;
}
}  // namespace switchyard::comm
