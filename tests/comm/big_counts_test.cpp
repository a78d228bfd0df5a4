// SPDX-License-Identifier: Apache-2.0
/// @file
/// Counts around 2^30, 2^31 and 2^32 over a transport that moves nothing: messages of that size
/// need no memory here, and a count that wraps shows. The real thing: large_test.
#include <cstddef>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <utility>
#include <vector>

#include "comm/base/error.hpp"
#include "comm/group/group.hpp"
#include "comm/group/shared_memory.hpp"
#include "comm/group/stream.hpp"
#include "comm/wire/frame.hpp"

namespace switchyard::comm {
namespace {
constexpr std::int64_t kTwo30 = std::int64_t{1} << 30;
constexpr std::int64_t kTwo31 = std::int64_t{1} << 31;
constexpr std::int64_t kTwo32 = std::int64_t{1} << 32;

/// A message that has always arrived.
class Arrived final : public Pending::State {
 public:
  explicit Arrived(Buffer buffer) : buffer_(std::move(buffer)) {}
  bool test() override { return true; }
  [[nodiscard]] int peer() const override { return 1; }
  Buffer take() override { return std::move(buffer_); }

 private:
  Buffer buffer_;
};

/// Rank 0 of 2 whose messages go nowhere; keeps where each began and how long it was.
class Nowhere final : public Group {
 public:
  Nowhere() : Group(std::chrono::seconds(1)) {}
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 2; }
  Pending send(int to, Channel, Buffer buffer, Extent extent) override {
    require_message("send", *this, to, extent);
    started.emplace_back(buffer.data(), extent.bytes());
    return Pending(std::make_unique<Arrived>(std::move(buffer)));
  }
  Pending receive(int from, Channel channel, Buffer buffer, Extent extent) override {
    return send(from, channel, std::move(buffer), extent);
  }
  Pending take_stray(int, Channel) override { throw std::logic_error("no"); }
  std::unique_ptr<SharedMemory> share(std::int64_t) override { throw std::logic_error("no"); }
  std::vector<std::pair<const std::byte*, std::int64_t>> started;

 private:
  int find_leader() override { return 0; }
};

/// Addresses without memory.
class Addresses {
 public:
  explicit Addresses(std::int64_t bytes)
      : bytes_(static_cast<std::size_t>(bytes)),
        data_(::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                     0)) {
    if (data_ == MAP_FAILED) throw std::runtime_error("mmap");
  }
  ~Addresses() { ::munmap(data_, bytes_); }
  Addresses(const Addresses&) = delete;
  Addresses& operator=(const Addresses&) = delete;
  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  std::size_t bytes_;
  void* data_;
};

class BigCounts : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(BigCounts, AStreamIsCutIntoPiecesThatMeetAndCrossNoStage) {
  const std::int64_t length = GetParam();
  const Addresses memory(length);
  for (const auto way : {Stream::Way::kOut, Stream::Way::kIn}) {
    const std::vector<std::int64_t> cuts{1, length / 2 + 1, length - 1, length};
    Nowhere group;
    Stream stream(group, kFirstExchange, 1, way);
    stream.begin(memory.data(), cuts);
    stream.allow(length);
    while (!stream.finished()) stream.progress();
    std::int64_t at = 0;
    std::size_t cut = 0;
    for (const auto& [begin, bytes] : group.started) {
      ASSERT_EQ(begin - memory.data(), at);
      ASSERT_GE(bytes, 1);
      ASSERT_LE(bytes, kPieceBytes);
      at += bytes;
      ASSERT_LE(at, cuts[cut]) << "a piece crosses stage " << cut;
      if (at == cuts[cut]) ++cut;
    }
    EXPECT_EQ(at, length);
    EXPECT_EQ(stream.done(), length);
  }
}

INSTANTIATE_TEST_SUITE_P(Around, BigCounts,
                         ::testing::Values(kTwo30, kTwo31 - 1, kTwo31, kTwo32 + 1),
                         [](const auto& which) { return "B" + std::to_string(which.param); });

TEST(BigCounts, AMessageHasAtMostSoManyRowsOfAtMostSoManyBytes) {
  const Nowhere group;
  const auto ask = [&](std::int64_t row_bytes, std::int64_t rows) {
    require_message("send", group, 1, {.row_bytes = row_bytes, .rows = rows});
  };
  for (const std::int64_t good : {kTwo30, kTwo31 - 1}) {
    EXPECT_NO_THROW(ask(1, good));
    EXPECT_NO_THROW(ask(good, good));
    EXPECT_EQ((Extent{.row_bytes = good, .rows = 3}).bytes(), 3 * good);
  }
  // As an int these would be negative, 0 and 1.
  for (const std::int64_t bad : {kTwo31, kTwo32, kTwo32 + 1}) {
    EXPECT_THROW(ask(1, bad), std::invalid_argument) << bad;
    EXPECT_THROW(ask(bad, 1), std::invalid_argument) << bad;
  }
}

TEST(BigCounts, AHeaderSaysCountsUpToTwo31AndIsRefusedBeyond) {
  for (const std::int64_t rows : {kTwo30, kTwo31 - 1, kTwo31, kTwo32 + 1}) {
    FrameHeader header;
    header.row_bytes = 65536;
    header.rows = rows;
    std::array<std::byte, kFrameHeaderBytes> bytes{};
    write_header(header, bytes);
    const ExpectedFrame expected{.row_bytes = 65536};
    if (rows < kTwo31) {
      EXPECT_EQ(body_extent(read_header(bytes, expected)).bytes(), rows * 65536);
    } else {
      EXPECT_THROW(static_cast<void>(read_header(bytes, expected)), ProtocolError) << rows;
    }
  }
}
}  // namespace
}  // namespace switchyard::comm
