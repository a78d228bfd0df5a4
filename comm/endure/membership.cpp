// SPDX-License-Identifier: Apache-2.0
#include "comm/endure/membership.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <iterator>
#include <new>
#include <poll.h>
#include <stdexcept>
#include <sys/syscall.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "comm/group/collective.hpp"

namespace switchyard::comm {
namespace {
constexpr int kBadConfig = 2;
constexpr std::chrono::microseconds kNap{300};
constexpr std::int32_t kHere = 0;
constexpr std::int32_t kGone = -1;
constexpr std::int32_t kDeparted = 1;  // and the status on top

std::uint64_t bit(int number) {
  return std::uint64_t{1} << static_cast<unsigned>(number);
}

/// Throws on all ranks alike.
void require_fit(Group& base, int spares) {
  std::optional<Problem> problem;
  if (base.size() > Membership::kMostRanks || spares > Membership::kMostSpares || spares < 0) {
    problem = {.status = kBadConfig,
               .message = "serving: got " + std::to_string(base.size()) + " ranks and " +
                          std::to_string(spares) + " spares among them, want at most " +
                          std::to_string(Membership::kMostRanks) + " and " +
                          std::to_string(Membership::kMostSpares)};
  } else if (spares >= base.size()) {
    problem = {.status = kBadConfig,
               .message = "serving: got " + std::to_string(spares) + " spares of " +
                          std::to_string(base.size()) + " ranks, want at least one that works"};
  } else if (base.nodes().nodes > 1) {
    problem = {.status = kBadConfig,
               .message = "serving: got ranks on " + std::to_string(base.nodes().nodes) +
                          " nodes, want one: who lives is seen by looking at processes"};
  }
  agree(base, problem);
}
}  // namespace

/// In the segment of the lowest rank; every rank has it mapped, whoever dies.
struct Membership::Board {
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> beat{0};
    std::atomic<std::int32_t> state{kHere};
    std::atomic<std::int32_t> claimed_by{-1};
    std::atomic<std::int32_t> pid{0};
  };
  alignas(64) std::atomic<std::uint64_t> word{0};
  std::atomic<std::int32_t> fenced{0};
  Slot slots[kMostRanks];
};

int MemberWord::epoch() const {
  return std::popcount(bits);
}

Membership::Membership(Group& base, int spares, std::chrono::milliseconds silence)
    : rank_(base.rank()),
      size_(base.size()),
      spares_(spares),
      silence_(silence),
      beat_([&]() -> std::atomic<std::uint64_t>& {
        require_fit(base, spares);
        memory_ = base.share(static_cast<std::int64_t>(sizeof(Board)));
        if (base.rank() == 0) {
          memory_->ensure(static_cast<std::int64_t>(sizeof(Board)));
          new (memory_->mine()) Board();
        }
        barrier(base);
        board_ = reinterpret_cast<Board*>(memory_->of(0));
        return board_->slots[base.rank()].beat;
      }()),
      processes_(static_cast<std::size_t>(base.size()), -1),
      pulses_(static_cast<std::size_t>(base.size())) {
  board_->slots[rank_].pid.store(getpid());
  barrier(base);
  std::optional<Problem> problem;
  for (int r = 0; r < size_ && !problem; ++r) {
    const int pid = board_->slots[r].pid.load();
    if (pid == getpid()) continue;
    int& process = processes_[static_cast<std::size_t>(r)];
    process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (process >= 0) continue;
    const std::system_error why(errno, std::generic_category(), "serving: pidfd_open");
    problem = Problem{.status = 74, .message = why.what()};
  }
  agree(base, problem);
  looked_ = Clock::now();
}

Membership::~Membership() {
  if (!departed(rank_)) board_->slots[rank_].state.store(kGone, std::memory_order_release);
  for (const int process : processes_) {
    if (process >= 0) close(process);
  }
}

MemberWord Membership::word() const {
  return {board_->word.load(std::memory_order_acquire)};
}

std::vector<int> Membership::members(MemberWord word) const {
  std::vector<int> ranks;
  for (int r = 0; r < size_; ++r) {
    if (word.lost(r) || (r >= workers() && !word.joined(r - workers()))) continue;
    ranks.push_back(r);
  }
  return ranks;
}

std::vector<int> Membership::waiting_spares(MemberWord word) const {
  std::vector<int> ranks;
  for (int r = workers(); r < size_; ++r) {
    if (!word.lost(r) && !word.joined(r - workers()) && !departed(r)) ranks.push_back(r);
  }
  return ranks;
}

bool Membership::ended(int rank) const {
  const int process = processes_[static_cast<std::size_t>(rank)];
  if (process < 0) return board_->slots[rank].state.load(std::memory_order_acquire) == kGone;
  pollfd look{.fd = process, .events = POLLIN, .revents = 0};
  return poll(&look, 1, 0) > 0;
}

void Membership::lose(int rank) {
  board_->word.fetch_or(bit(rank), std::memory_order_acq_rel);
}

void Membership::kill(int rank) const {
  const int process = processes_[static_cast<std::size_t>(rank)];
  if (process >= 0) syscall(SYS_pidfd_send_signal, process, SIGKILL, nullptr, 0);
}

std::vector<int> Membership::running() const {
  std::vector<int> ranks;
  for (int r = 0; r < size_; ++r) {
    const bool is_thread = processes_[static_cast<std::size_t>(r)] < 0;
    if (r != rank_ && !ended(r) && !(is_thread && departed(r))) ranks.push_back(r);
  }
  return ranks;
}

void Membership::look() {
  const MemberWord now = word();
  for (int r = 0; r < size_; ++r) {
    if (r == rank_ || now.lost(r) || !ended(r)) continue;
    if (!departed(r)) lose(r);  // asked after its end, so that it has had the time to say so
  }
}

void Membership::look_for_silence(const std::vector<int>& whom, Clock::time_point since) {
  look();
  if (!expects_signs_) return;
  const Clock::time_point now = Clock::now();
  // Who was itself stopped, or the whole job with it, must look twice before it kills anybody.
  const bool was_away = now - looked_ >= silence_ / 4;
  looked_ = now;
  const MemberWord seen = word();
  for (const int r : whom) {
    if (r == rank_ || seen.lost(r)) continue;
    Board::Slot& slot = board_->slots[r];
    Pulse& pulse = pulses_[static_cast<std::size_t>(r)];
    const std::uint64_t beat = slot.beat.load(std::memory_order_relaxed);
    if (beat != pulse.beat || was_away) pulse = {.beat = beat, .since = now};
    if (now - std::max(pulse.since, since) < silence_ || departed(r)) continue;
    kill(r);
    if ((board_->word.fetch_or(bit(r), std::memory_order_acq_rel) & bit(r)) == 0) {
      board_->fenced.fetch_add(1);
    }
  }
}

void Membership::join() {
  board_->word.fetch_or(bit(63 - (rank_ - workers())), std::memory_order_acq_rel);
}

bool Membership::claim(int lost) {
  std::atomic<std::int32_t>& by = board_->slots[lost].claimed_by;
  std::int32_t holder = by.load(std::memory_order_acquire);
  while (holder != rank_) {
    if (holder >= 0 && !word().lost(holder)) return false;
    if (by.compare_exchange_weak(holder, rank_, std::memory_order_acq_rel)) return true;
  }
  return true;
}

int Membership::fenced() const {
  return board_->fenced.load();
}

void Membership::depart(int status) {
  board_->slots[rank_].state.store(kDeparted + status, std::memory_order_release);
}

void Membership::see_off(std::chrono::milliseconds patience) {
  Clock::time_point since = Clock::now();
  std::vector<int> left = running();
  while (!left.empty()) {
    if (Clock::now() - since > patience) {
      for (const int r : left) kill(r);
      return;
    }
    const std::vector<int> taking_part = members(word());
    std::vector<int> expected;
    std::ranges::copy_if(left, std::back_inserter(expected), [&](int r) {
      return !departed(r) && std::ranges::binary_search(taking_part, r);
    });
    look_for_silence(expected, since);
    std::this_thread::sleep_for(kNap);
    const std::vector<int> now = running();
    if (now != left) since = Clock::now();
    left = now;
  }
}

std::optional<int> Membership::departed(int rank) const {
  const std::int32_t state = board_->slots[rank].state.load(std::memory_order_acquire);
  if (state < kDeparted) return std::nullopt;
  return state - kDeparted;
}
}  // namespace switchyard::comm
