// SPDX-License-Identifier: Apache-2.0
/// @file
/// The bytes of a frame header, as wire.proto and the README lay them out.
#include "comm/wire/frame.hpp"

#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

#include "comm/base/error.hpp"

namespace switchyard::comm {
namespace {
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::string hex(std::span<const std::byte> bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15U];
  }
  return text;
}

/// The frame that comm/README.md walks: rank 1 sends rank 3 three rows and a note of 24 bytes.
FrameHeader example() {
  FrameHeader header;
  header.epoch = 2;
  header.from = 1;
  header.to = 3;
  header.flags = kMoreFlag;
  header.sequence = 5;
  header.rows = 3;
  header.row_bytes = 8192;
  header.results = 4;
  header.note_bytes = 24;
  return header;
}

ExpectedFrame expected() {
  return {.kind = FrameKind::kDispatch,
          .epoch = 2,
          .from = 1,
          .to = 3,
          .sequence = 5,
          .row_bytes = 8192};
}

TEST(Frame, HeaderHasTheBytesOfTheWalk) {
  std::array<std::byte, 64> bytes{};
  write_header(example(), bytes);
  const std::span<const std::byte> all = bytes;
  EXPECT_EQ(hex(all.first(4)), "53595244");                // SYRD
  EXPECT_EQ(hex(all.subspan(4, 2)), "0100");               // version
  EXPECT_EQ(hex(all.subspan(6, 2)), "0100");               // dispatch
  EXPECT_EQ(hex(all.subspan(8, 4)), "02000000");           // epoch
  EXPECT_EQ(hex(all.subspan(12, 4)), "01000000");          // from
  EXPECT_EQ(hex(all.subspan(16, 4)), "03000000");          // to
  EXPECT_EQ(hex(all.subspan(20, 4)), "01000000");          // more
  EXPECT_EQ(hex(all.subspan(24, 8)), "0500000000000000");  // sequence
  EXPECT_EQ(hex(all.subspan(32, 8)), "0300000000000000");  // rows
  EXPECT_EQ(hex(all.subspan(40, 4)), "00200000");          // row_bytes
  EXPECT_EQ(hex(all.subspan(44, 4)), "04000000");          // results
  EXPECT_EQ(hex(all.subspan(48, 8)), "1800000000000000");  // note_bytes
  EXPECT_EQ(hex(all.subspan(56, 4)), "00000000");          // edition
  EXPECT_EQ(hex(all.subspan(60, 4)), "4455edeb");
  const FrameHeader back = read_header(bytes, expected());
  EXPECT_EQ(back.rows, 3);
  EXPECT_EQ(body_extent(back).bytes(), 3 * 8192);
}

TEST(Frame, EveryFlippedBitIsRefused) {
  std::array<std::byte, 64> bytes{};
  write_header(example(), bytes);
  for (std::size_t bit = 0; bit < 512; ++bit) {
    std::array<std::byte, 64> flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_THROW(static_cast<void>(read_header(flipped, expected())), ProtocolError) << bit;
  }
}

TEST(Frame, ACutHeaderIsRefused) {
  std::array<std::byte, 64> bytes{};
  write_header(example(), bytes);
  EXPECT_THAT(
      [&] { static_cast<void>(read_header(std::span(bytes).first(63), expected())); },
      ThrowsMessage<ProtocolError>("frame from rank 1 to rank 3: header size is 63, want 64"));
}

TEST(Frame, RowsOtherThanPromisedAreRefused) {
  std::array<std::byte, 64> bytes{};
  write_header(example(), bytes);
  ExpectedFrame want = expected();
  want.rows = 4;
  EXPECT_THAT([&] { static_cast<void>(read_header(bytes, want)); },
              ThrowsMessage<ProtocolError>(HasSubstr("rows is 3, want 4")));
}

TEST(Frame, FieldsThatThisVersionDoesNotKnowAreRefused) {
  std::array<std::byte, 64> bytes{};
  FrameHeader header = example();
  header.flags = 2;
  write_header(header, bytes);
  EXPECT_THAT([&] { static_cast<void>(read_header(bytes, expected())); },
              ThrowsMessage<ProtocolError>(HasSubstr("unknown flags is 2, want 0")));
  header = example();
  header.edition = 1;
  write_header(header, bytes);
  EXPECT_THAT([&] { static_cast<void>(read_header(bytes, expected())); },
              ThrowsMessage<ProtocolError>(HasSubstr("edition is 1, want 0")));
}
}  // namespace
}  // namespace switchyard::comm
