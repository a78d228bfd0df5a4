// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Rounds of an exchange whose every byte any rank can work out: an offer comes from (seed, rank)
/// alone, so a receiver makes its sources' offers again and compares.
#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "comm/exchange/exchange.hpp"

namespace switchyard::comm::testing {

enum class Shape {
  kRagged,        ///< 0 to 7 rows from each to each, some named twice
  kNothing,       ///< no rows, no notes, no results
  kAllToLast,     ///< every row goes to the last rank
  kRankZeroIdle,  ///< rank 0 offers nothing and still takes part
  kWide,          ///< rows of more than MPI's eager limit
};
inline constexpr Shape kShapes[] = {Shape::kRagged, Shape::kNothing, Shape::kAllToLast,
                                    Shape::kRankZeroIdle, Shape::kWide};

/// Different bytes for different rows.
inline void paint(std::span<std::byte> bytes, std::uint64_t tag) {
  for (std::size_t i = 0; i < bytes.size(); i += 4) {
    const std::uint64_t word = ((tag + i) * 0x9E3779B97F4A7C15U) >> 32;
    std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(4, bytes.size() - i));
  }
}

struct OfferedRows {
  std::vector<std::byte> memory;
  Offer offer;
};

/// What `rank` of `size` offers in the round `seed`.
/// @param stages  0: an offer without stages
inline OfferedRows offer_of(int rank, int size, std::uint64_t seed, Shape shape, int stages = 0) {
  std::mt19937_64 common(seed);
  std::mt19937_64 draw(seed * 1000 + static_cast<std::uint64_t>(rank));
  const auto below = [&](std::uint64_t end) { return static_cast<std::int64_t>(draw() % end); };
  OfferedRows made;
  Offer& offer = made.offer;
  offer.row_bytes = static_cast<std::int64_t>(4 * (1 + common() % 16));
  if (shape == Shape::kWide) offer.row_bytes += 20480;
  const bool idle = shape == Shape::kNothing || (shape == Shape::kRankZeroIdle && rank == 0);
  constexpr std::int64_t kMemoryRows = 9;
  made.memory.resize(static_cast<std::size_t>(kMemoryRows * offer.row_bytes));
  paint(made.memory, draw());
  offer.row_offsets = {0};
  offer.note_offsets = {0};
  for (int to = 0; to < size; ++to) {
    const bool here = !idle && (shape != Shape::kAllToLast || to == size - 1);
    const std::int64_t rows = here ? below(8) : 0;
    for (std::int64_t i = 0; i < rows; ++i) offer.rows.push_back(below(kMemoryRows));
    const std::int64_t note = here ? below(40) : 0;
    for (std::int64_t i = 0; i < note; ++i) {
      offer.notes.push_back(static_cast<std::byte>(below(256)));
    }
    offer.results.push_back(here ? below(9) : 0);
    offer.row_offsets.push_back(static_cast<std::int64_t>(offer.rows.size()));
    offer.note_offsets.push_back(static_cast<std::int64_t>(offer.notes.size()));
  }
  const auto cut = [&](std::vector<std::int64_t>& counts, std::int64_t total) {
    std::int64_t last = 0;
    for (int s = 0; s < stages; ++s) {
      last = s == stages - 1 ? total : last + below(static_cast<std::uint64_t>(total - last) + 1);
      counts.push_back(last);
    }
  };
  for (int to = 0; to < size; ++to) {
    const auto r = static_cast<std::size_t>(to);
    cut(offer.stage_rows, offer.row_offsets[r + 1] - offer.row_offsets[r]);
    cut(offer.stage_results, offer.results[r]);
  }
  offer.result_bytes = offer.row_bytes + 4;
  offer.more = !idle && below(4) == 0;
  if (!offer.rows.empty()) offer.base = made.memory.data();
  return made;
}

/// The calls of one round, each checked against what the offers of all ranks say.
class Round {
 public:
  Round(Exchange& exchange, int rank, int size, std::uint64_t seed, Shape shape)
      : exchange_(exchange), rank_(rank), size_(size), seed_(seed) {
    // Exchanges with stages take offers without them too.
    stages_ = exchange.stages() > 1 && seed % 2 == 1 ? exchange.stages() : 0;
    for (int r = 0; r < size; ++r) offers_.push_back(offer_of(r, size, seed, shape, stages_));
    where_ = std::string(exchange.name()) + " of " + std::to_string(size) + ", rank " +
             std::to_string(rank) + ", seed " + std::to_string(seed);
  }

  void dispatch() {
    auto given = std::make_unique<Offer>(offers_[at(rank_)].offer);
    delivery_ = &exchange_.dispatch(*given);
    given.reset();  // only the rows must stay
    bool more = false;
    ASSERT_EQ(delivery_->row_offsets.size(), at(size_) + 1) << where_;
    ASSERT_EQ(delivery_->notes.size(), at(size_)) << where_;
    std::size_t row = 0;
    for (int from = 0; from < size_; ++from) {
      const Offer& offer = offers_[at(from)].offer;
      more = more || offer.more;
      EXPECT_EQ(delivery_->row_offsets[at(from)], static_cast<std::int64_t>(row)) << where_;
      EXPECT_EQ(delivery_->results[at(from)], offer.results[at(rank_)]) << where_;
      const std::int64_t rows = offer.row_offsets[at(rank_) + 1] - offer.row_offsets[at(rank_)];
      row += at(rows);
      ASSERT_LE(row, delivery_->rows.size()) << where_;
      if (stages_ == 0) expect_rows(from, 0, rows);
      const auto note_at = at(offer.note_offsets[at(rank_)]);
      const auto note_bytes = at(offer.note_offsets[at(rank_) + 1]) - note_at;
      ASSERT_EQ(delivery_->notes[at(from)].size(), note_bytes) << where_;
      EXPECT_TRUE(note_bytes == 0 || std::memcmp(delivery_->notes[at(from)].data(),
                                                 offer.notes.data() + note_at, note_bytes) == 0)
          << where_ << ", note from rank " << from;
    }
    EXPECT_EQ(delivery_->row_offsets.back(), static_cast<std::int64_t>(row)) << where_;
    EXPECT_EQ(delivery_->rows.size(), row) << where_;
    EXPECT_EQ(delivery_->more, more) << where_;
  }

  void give_results() {
    const auto slots = exchange_.open_returns(result_bytes());
    ASSERT_EQ(slots.size(), at(size_)) << where_;
    for (int stage = 0; stage < stages_; ++stage) {
      exchange_.await_stage(stage);
      for (int from = 0; from < size_; ++from) {
        const auto [first, last] = part(offers_[at(from)].offer.stage_rows, stage);
        expect_rows(from, first, last);
        const auto [first_result, last_result] = part(offers_[at(from)].offer.stage_results, stage);
        write_results(slots, from, first_result, last_result);
        exchange_.progress();
      }
      exchange_.release_stage(stage);
    }
    for (int home = 0; stages_ == 0 && home < size_; ++home) {
      write_results(slots, home, 0, delivery_->results[at(home)]);
    }
  }

  void collect() {
    const auto results = exchange_.collect();
    ASSERT_EQ(results.size(), at(size_)) << where_;
    std::vector<std::byte> want(at(result_bytes()));
    for (int from = 0; from < size_; ++from) {
      const std::int64_t count = offers_[at(rank_)].offer.results[at(from)];
      for (std::int64_t j = 0; j < count; ++j) {
        paint(want, tag(from, rank_, j));
        EXPECT_EQ(std::memcmp(results[at(from)] + j * result_bytes(), want.data(), want.size()), 0)
            << where_ << ", result " << j << " from rank " << from;
      }
    }
  }

  void play() {
    dispatch();
    give_results();
    collect();
  }

  /// What crosses from this rank in this round when rows and results travel themselves, or (node)
  /// are read and written in shared memory, where a line of 64 bytes stands for the two headers, if
  /// there is anything.
  [[nodiscard]] Traffic expected_traffic() const {
    const bool shared = exchange_.name() == "node";
    Traffic traffic;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      const Offer& offer = offers_[at(rank_)].offer;
      const std::int64_t rows = offer.row_offsets[at(r) + 1] - offer.row_offsets[at(r)];
      const std::int64_t note = offer.note_offsets[at(r) + 1] - offer.note_offsets[at(r)];
      const std::int64_t results = offers_[at(r)].offer.results[at(rank_)];
      traffic.rows_out += rows;
      traffic.results_out += results;
      if (shared) {
        const std::int64_t owed = offer.results[at(r)];
        const bool told = rows > 0 || note > 0 || owed > 0;
        traffic.wire_bytes +=
            (told ? 64 : 0) + note + rows * (offer.row_bytes + 4) + results * result_bytes();
        continue;
      }
      traffic.wire_bytes += 2 * 64 + note + rows * offer.row_bytes + results * result_bytes();
      traffic.messages += 2 + (note > 0 ? 1 : 0) + (rows > 0 ? 1 : 0) + (results > 0 ? 1 : 0);
    }
    return traffic;
  }

 private:
  template <class I>
  static std::size_t at(I index) {
    return static_cast<std::size_t>(index);
  }
  /// What a stage holds of this rank's part.
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> part(const std::vector<std::int64_t>& counts,
                                                           int stage) const {
    const std::size_t i = at(rank_) * at(stages_) + at(stage);
    return {stage == 0 ? 0 : counts[i - 1], counts[i]};
  }
  void expect_rows(int from, std::int64_t first, std::int64_t last) const {
    const Offer& offer = offers_[at(from)].offer;
    for (std::int64_t i = first; i < last; ++i) {
      const std::byte* const got = delivery_->rows[at(delivery_->row_offsets[at(from)] + i)];
      const std::int64_t row = offer.rows[at(offer.row_offsets[at(rank_)] + i)];
      EXPECT_EQ(std::memcmp(got, offer.base + row * offer.row_bytes, at(offer.row_bytes)), 0)
          << where_ << ", row " << i << " from rank " << from;
    }
  }
  void write_results(std::span<std::byte* const> slots, int home, std::int64_t first,
                     std::int64_t last) const {
    for (std::int64_t j = first; j < last; ++j) {
      paint({slots[at(home)] + j * result_bytes(), at(result_bytes())}, tag(rank_, home, j));
    }
  }
  [[nodiscard]] std::int64_t result_bytes() const { return offers_[0].offer.row_bytes + 4; }
  [[nodiscard]] std::uint64_t tag(int from, int to, std::int64_t result) const {
    return ((seed_ * 64 + at(from)) * 64 + at(to)) * 64 + at(result);
  }

  Exchange& exchange_;
  int rank_;
  int size_;
  std::uint64_t seed_;
  int stages_ = 0;
  std::string where_;
  std::vector<OfferedRows> offers_;  ///< by rank
  const Delivery* delivery_ = nullptr;
};

/// All shapes, `rounds` times each, through one exchange.
inline void play_rounds(Group& group, std::string_view transport, std::uint64_t rounds) {
  const auto exchange = make_exchange(group, transport);
  EXPECT_EQ(exchange->name(), transport);
  Traffic want;
  for (std::uint64_t i = 0; i < rounds; ++i) {
    for (const Shape shape : kShapes) {
      Round round(*exchange, group.rank(), group.size(), 7 + i, shape);
      round.play();
      const Traffic more = round.expected_traffic();
      want.wire_bytes += more.wire_bytes;
      want.messages += more.messages;
      want.rows_out += more.rows_out;
      want.results_out += more.results_out;
    }
  }
  EXPECT_EQ(exchange->traffic().rows_out, want.rows_out);
  EXPECT_EQ(exchange->traffic().results_out, want.results_out);
  if (transport == "local" || transport == "two-level" || transport == "relay") {
    return;  // rows travel otherwise
  }
  EXPECT_EQ(exchange->traffic().wire_bytes, want.wire_bytes);
  EXPECT_EQ(exchange->traffic().messages, want.messages);
}

/// Two exchanges of one group in each other's rounds.
inline void interleave(Group& group, std::string_view one, std::string_view other) {
  const auto first = make_exchange(group, one);
  const auto second = make_exchange(group, other);
  for (std::uint64_t i = 0; i < 8; ++i) {
    Round outer(*first, group.rank(), group.size(), 100 + i, Shape::kRagged);
    Round inner(*second, group.rank(), group.size(), 200 + i, Shape::kRagged);
    outer.dispatch();
    inner.dispatch();
    outer.give_results();
    inner.give_results();
    inner.collect();
    outer.collect();
  }
}
}  // namespace switchyard::comm::testing
