// SPDX-License-Identifier: Apache-2.0
#include "comm/endure/enduring_group.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "comm/base/words.hpp"

namespace switchyard::comm {
namespace {
/// Channels that an epoch has. With at most 64 changes all tags stay below 2^18.
constexpr int kChannels = 4096;
constexpr int kLooksAClock = 8;
constexpr std::chrono::microseconds kBetweenLooks{300};
/// How long a process may be dead before everybody sees it.
constexpr std::chrono::milliseconds kToBeSeen{200};
}  // namespace

/// A message that its membership can end.
class EnduringGroup::Watched final : public Pending::State {
 public:
  Watched(EnduringGroup& group, Pending message, int peer)
      : group_(group), message_(std::move(message)), peer_(peer) {}

  [[nodiscard]] bool test() override {
    if (done_) return true;  // asked again beside others: no news
    if (!here()) {
      group_.waiting();
      return false;
    }
    group_.looks_ = 0;
    return done_ = true;
  }
  [[nodiscard]] int peer() const override { return peer_; }
  [[nodiscard]] Buffer take() override { return message_.take(); }

 private:
  bool here() {
    try {
      return message_.test();
    } catch (const std::runtime_error&) {  // MPI, or a protocol that a loss has broken
      group_.explain();
      throw;
    }
  }

  EnduringGroup& group_;
  Pending message_;
  int peer_;
  bool done_ = false;
};

EnduringGroup::EnduringGroup(Group& base, Membership& membership)
    : Group(base.deadline().limit()), base_(base), membership_(membership) {
  regroup();
}

Channel EnduringGroup::in_epoch(Channel channel, int epoch) {
  const int number = static_cast<int>(channel);
  if (number >= kChannels) throw std::invalid_argument("group: no channel left in this epoch");
  return Channel{(epoch + 1) * kChannels + number};
}

Pending EnduringGroup::send(int to, Channel channel, Buffer buffer, Extent extent) {
  require_message("send", *this, to, extent);
  check();
  return Pending(std::make_unique<Watched>(
      *this, base_.send(name_of(to), in_epoch(channel, word_.epoch()), std::move(buffer), extent),
      to));
}

Pending EnduringGroup::receive(int from, Channel channel, Buffer buffer, Extent extent) {
  require_message("receive", *this, from, extent);
  check();
  return Pending(std::make_unique<Watched>(
      *this,
      base_.receive(name_of(from), in_epoch(channel, word_.epoch()), std::move(buffer), extent),
      from));
}

Pending EnduringGroup::take_stray(int from, Channel channel) {
  return base_.take_stray(name_of(from), in_epoch(channel, word_.epoch()));
}

std::unique_ptr<SharedMemory> EnduringGroup::share(std::int64_t) {
  throw std::logic_error("group: memory that would have to outlive its ranks");
}

void EnduringGroup::check() const {
  membership_.tick();
  if (!takes_part_) return;  // alone: nobody else is on its path
  const MemberWord now = membership_.word();
  if (now == word_) return;
  std::vector<int> lost;
  for (const int name : members_) {
    if (now.lost(name)) lost.push_back(name);
  }
  throw MembershipChanged(lost.empty() ? "a rank has joined" : "lost " + rank_names(lost));
}

void EnduringGroup::waiting() {
  check();
  if (looks_++ % kLooksAClock != 0) return;
  const auto now = Membership::Clock::now();
  if (looks_ == 1) quiet_since_ = now;
  if (now < next_look_) return;
  next_look_ = now + kBetweenLooks;
  membership_.look_for_silence(members_, quiet_since_);
  check();
}

void EnduringGroup::explain() {
  const auto end = Membership::Clock::now() + kToBeSeen;
  while (Membership::Clock::now() < end) {
    membership_.look();
    check();
    std::this_thread::yield();
  }
}

void EnduringGroup::regroup() {
  if (!members_.empty() && takes_part_) {
    stale_.push_back({.epoch = word_.epoch(), .next_channel = next_channel()});
  }
  membership_.tick();
  word_ = membership_.word();
  members_ = membership_.members(word_);
  if (word_.lost(membership_.rank())) throw TakenForLost("the others go on without this rank");
  const auto mine = std::ranges::find(members_, membership_.rank());
  takes_part_ = mine != members_.end();
  if (!takes_part_) members_ = {membership_.rank()};
  rank_ = takes_part_ ? static_cast<int>(mine - members_.begin()) : 0;
  looks_ = 0;
  deadline().count_meetings_anew();
  begin_anew(NodeMap::from_leaders(std::vector<int>(members_.size(), 0)));
}

void EnduringGroup::drop_stale() {
  std::erase_if(dropping_, [](Pending& pending) { return pending.test(); });
  const auto drop = [&](int from, int channel, int epoch) {
    while (true) {
      Pending stray = base_.take_stray(from, in_epoch(Channel{channel}, epoch));
      if (stray.empty()) return;
      ++dropped_;
      if (!stray.test()) dropping_.push_back(std::move(stray));
    }
  };
  for (const Stale& old : stale_) {
    for (int from = 0; from < base_.size(); ++from) {
      if (from == membership_.rank()) continue;
      drop(from, static_cast<int>(kCollectives), old.epoch);
      drop(from, static_cast<int>(kHandshake), old.epoch);
      for (int c = static_cast<int>(kFirstExchange); c < old.next_channel; ++c) {
        drop(from, c, old.epoch);
      }
    }
  }
}
}  // namespace switchyard::comm
