// SPDX-License-Identifier: Apache-2.0
#include "comm/base/crc32c.hpp"

#include <array>
#include <gtest/gtest.h>
#include <string>

namespace {
using namespace switchyard::comm;

std::vector<std::byte> made_up(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * i + i / 7);
  return bytes;
}

TEST(Crc32c, GivesTheCheckValueAndTheVectorsOfRfc3720) {
  const std::string digits = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span(digits))), 0xE3069283U);
  EXPECT_EQ(crc32c(std::array<std::byte, 32>{}), 0x8A9136AAU);
  std::array<std::byte, 32> ones{};
  ones.fill(std::byte{0xFF});
  EXPECT_EQ(crc32c(ones), 0x62A8AB43U);
  EXPECT_EQ(crc32c_by_table(ones), 0x62A8AB43U);
}

TEST(Crc32c, IsTheSameByInstructionAndByTableWhateverTheLengthAndTheAddress) {
  const auto bytes = made_up(100'000);
  for (const std::size_t size : {0U, 1U, 7U, 8U, 60U, 767U, 768U, 769U, 4092U, 24575U, 24576U,
                                 24577U, 49153U, 65536U, 99'990U}) {
    for (const std::size_t first : {0U, 1U, 3U}) {
      const auto part = std::span(bytes).subspan(first, size);
      EXPECT_EQ(crc32c(part), crc32c_by_table(part)) << size << " bytes from " << first;
    }
  }
}

TEST(Crc32c, GoesOnFromWhatStandsBefore) {
  const auto bytes = made_up(60'000);
  const auto all = std::span(bytes);
  const std::uint32_t whole = crc32c(all);
  for (const std::size_t first : {0U, 1U, 9U, 1000U, 30'000U, 60'000U}) {
    EXPECT_EQ(crc32c(all.subspan(first), crc32c(all.first(first))), whole) << first;
    EXPECT_EQ(crc32c_by_table(all.subspan(first), crc32c_by_table(all.first(first))), whole);
  }
}

TEST(Crc32c, OfPiecesIsThatOfEachPiece) {
  const auto bytes = made_up(1000);
  for (const std::size_t size : {0U, 1U, 7U, 8U, 63U, 64U, 999U, 1000U}) {
    for (const std::size_t piece : {1U, 5U, 8U, 64U, 100U, 250U, 1000U, 4096U}) {
      const auto part = std::span(bytes).first(size);
      const auto sums = crc32c_of_pieces(part, piece);
      ASSERT_EQ(sums.size(), (size + piece - 1) / piece);
      for (std::size_t i = 0; i < sums.size(); ++i) {
        const std::size_t first = i * piece;
        EXPECT_EQ(sums[i], crc32c_by_table(part.subspan(first, std::min(piece, size - first))))
            << size << " bytes, piece " << i << " of " << piece;
      }
    }
  }
}
}  // namespace
