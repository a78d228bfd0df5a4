// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A group that outlives its ranks: messages carry the epoch of the membership, every wait ends
/// when a rank is lost, and those who are left go on under new numbers.
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/endure/membership.hpp"
#include "comm/group/group.hpp"

namespace switchyard::comm {

/// Rank r is the r-th of Membership::members. Any call may throw MembershipChanged; all that was
/// made on the group (exchanges, what is in flight) is then void, and every member calls regroup().
/// Shares no memory: nothing on its path but messages that need not complete.
class EnduringGroup final : public Group {
 public:
  /// Both must outlive it.
  EnduringGroup(Group& base, Membership& membership);

  /// Whether this rank takes part. A spare does not until it joins: it is alone here until then.
  [[nodiscard]] bool takes_part() const { return takes_part_; }
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return static_cast<int>(members_.size()); }
  /// The base group's number of a rank: its name for people, which it keeps.
  [[nodiscard]] int name_of(int rank) const { return members_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] Membership& membership() { return membership_; }
  [[nodiscard]] const MemberWord& word() const { return word_; }

  [[nodiscard]] Pending send(int to, Channel channel, Buffer buffer, Extent extent) override;
  [[nodiscard]] Pending receive(int from, Channel channel, Buffer buffer, Extent extent) override;
  [[nodiscard]] Pending take_stray(int from, Channel channel) override;
  /// @throws std::logic_error  always
  [[nodiscard]] std::unique_ptr<SharedMemory> share(std::int64_t capacity) override;

  /// Goes by the newest membership. Local.
  /// @throws TakenForLost  this rank is not in it any more
  void regroup();
  /// @throws MembershipChanged  somebody was lost or has joined since
  void check() const;
  /// Throws away what has come of older epochs. After something collective in this one, so that
  /// nobody sends any more of them.
  void drop_stale();
  /// Messages of older epochs that were thrown away.
  [[nodiscard]] std::int64_t dropped() const { return dropped_; }

 private:
  class Watched;
  struct Stale {
    int epoch = 0;
    int next_channel = 0;
  };
  [[nodiscard]] int find_leader() override { return 0; }
  [[nodiscard]] static Channel in_epoch(Channel channel, int epoch);
  /// A message was not complete when asked for.
  void waiting();
  /// MPI says no: because of a loss that nobody has seen yet, or not.
  void explain();

  Group& base_;
  Membership& membership_;
  MemberWord word_;
  std::vector<int> members_;
  int rank_ = 0;
  bool takes_part_ = false;
  std::vector<Stale> stale_;
  std::vector<Pending> dropping_;
  std::int64_t dropped_ = 0;
  int looks_ = 0;  ///< since the last message that was complete
  Membership::Clock::time_point quiet_since_{};
  Membership::Clock::time_point next_look_{};
};
}  // namespace switchyard::comm
