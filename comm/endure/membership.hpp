// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Who of a group's ranks still lives: one word in memory that the ranks of a node share, which
/// only gains bits, and a look at their processes. Nothing here waits for a rank.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/error.hpp"
#include "comm/group/group.hpp"

namespace switchyard::comm {

/// The membership is another one than the group goes by: whatever is in flight is void.
class MembershipChanged : public TemporaryError {
  using TemporaryError::TemporaryError;
};

/// The others have taken this rank for lost, and go on without it: it has to leave.
class TakenForLost : public TemporaryError {
  using TemporaryError::TemporaryError;
};

/// A state of the membership as one word. Bit r: rank r is lost; bit 63 - s: the spare s has
/// joined. Two ranks that see the same word see the same members, in the same order.
struct MemberWord {
  std::uint64_t bits = 0;

  /// Counts the changes that led here: bits are never taken back.
  [[nodiscard]] int epoch() const;
  [[nodiscard]] bool lost(int rank) const { return (bits >> rank & 1U) != 0; }
  [[nodiscard]] bool joined(int spare) const { return (bits >> (63 - spare) & 1U) != 0; }
  friend bool operator==(const MemberWord&, const MemberWord&) = default;
};

class Membership {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int kMostRanks = 48;   ///< spares included
  static constexpr int kMostSpares = 16;  ///< together they fill a word

  /// Collective over `base`, which must outlive it, while all ranks live.
  /// @param spares   the last ranks: they wait until they join
  /// @param silence  without a sign of life, after which a rank is killed and counts as lost
  /// @throws CollectiveError  on every rank: several nodes, more ranks than a word has bits for, no
  ///                          member
  Membership(Group& base, int spares, std::chrono::milliseconds silence);
  /// Of a rank that has not departed: to the others, where ranks are threads, its end.
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] int workers() const { return size_ - spares_; }
  [[nodiscard]] int spares() const { return spares_; }
  [[nodiscard]] MemberWord word() const;
  /// Ranks of the base group that take part: workers that live, then spares that have joined.
  [[nodiscard]] std::vector<int> members(MemberWord word) const;
  /// Spares that live and have not joined.
  [[nodiscard]] std::vector<int> waiting_spares(MemberWord word) const;

  /// A sign of life of this rank.
  void tick() { beat_.store(++beats_, std::memory_order_relaxed); }
  /// Looks whose process has ended, and marks it as lost.
  void look();
  /// From now on silence counts. Before that ranks load, for as long as it takes: only an end does.
  void expect_signs() { expects_signs_ = true; }
  /// For who waits since `since`: looks, and kills and marks those of `whom` that have given no
  /// sign of life for as long as is allowed.
  void look_for_silence(const std::vector<int>& whom, Clock::time_point since);
  /// This rank, a spare, takes part from now on.
  void join();
  /// This rank takes the place of `lost`, if nobody alive has. @return  whether it is this rank's
  [[nodiscard]] bool claim(int lost);
  /// Ranks that were killed for their silence.
  [[nodiscard]] int fenced() const;

  /// This rank has finished with this status: its end is no loss from now on.
  void depart(int status);
  /// For the last that leaves, after its own departure: waits until the other processes have ended.
  /// Kills who gives no sign of life before its departure, and whoever is left when none has ended
  /// for `patience`: a stopped process would keep the job from its end.
  void see_off(std::chrono::milliseconds patience);
  /// The status of a rank that has finished.
  [[nodiscard]] std::optional<int> departed(int rank) const;

 private:
  struct Board;
  struct Pulse {
    std::uint64_t beat = 0;
    Clock::time_point since{};  ///< when it was seen to change
  };
  [[nodiscard]] bool ended(int rank) const;
  void lose(int rank);
  void kill(int rank) const;
  /// Ranks whose processes may still run; of threads, those that have not departed.
  [[nodiscard]] std::vector<int> running() const;

  int rank_;
  int size_;
  int spares_;
  std::chrono::milliseconds silence_;
  std::unique_ptr<SharedMemory> memory_;
  Board* board_ = nullptr;
  std::atomic<std::uint64_t>& beat_;
  std::uint64_t beats_ = 0;
  std::vector<int> processes_;  ///< [size], descriptors; -1: a thread of this process
  std::vector<Pulse> pulses_;   ///< [size]
  bool expects_signs_ = false;
  Clock::time_point looked_{};
};
}  // namespace switchyard::comm
