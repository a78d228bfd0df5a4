// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/node_board.hpp"

#include <algorithm>
#include <climits>
#include <ctime>
#include <linux/futex.h>
#include <new>
#include <string>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#include "comm/base/round_up.hpp"
#include "comm/base/words.hpp"
#include "comm/group/collective.hpp"

namespace switchyard::comm {
namespace {
constexpr std::int64_t kPage = 4096;
constexpr std::int64_t kWordBits = 64;
/// Where each rank has a processor, each has a pair of cache lines of its own: neighbours would be
/// fetched along. Where they share processors they stand close, for most were written between two
/// looks anyway.
constexpr std::int64_t kPairOfLines = 128;
constexpr std::int64_t kWord = 8;
/// Looks before a rank sleeps: those that a deadline spins, and a few between which it yields.
constexpr int kLooksAwake = 25;
/// A sleeper that nobody wakes looks again after so long: the deadline, and who watches it, go on.
constexpr timespec kSleep{.tv_sec = 0, .tv_nsec = 1'000'000};
}  // namespace

struct NodeBoard::Gate {
  alignas(kPairOfLines) std::atomic<std::uint64_t> published = 0;  ///< by all ranks, of all rounds
  alignas(kPairOfLines) std::atomic<std::uint32_t> open = 0;       ///< the last round of all ranks
  std::atomic<std::uint32_t> sleepers = 0;
};

NodeBoard::NodeBoard(Group& group, std::int64_t capacity)
    : group_(group),
      memory_(group.share(capacity)),
      rank_(group.rank()),
      size_(group.size()),
      words_(round_up(size_, kWordBits) / kWordBits) {
  const std::int64_t apart = size_ <= group.processors() ? kPairOfLines : kWord;
  flag_stride_ = apart;
  bits_stride_ = round_up(words_ * kWord, apart);
  constexpr auto kGateBytes = static_cast<std::int64_t>(sizeof(Gate));
  first_bits_ = round_up(kGateBytes + 2 * size_ * flag_stride_, kPairOfLines);
  first_line_ = round_up(first_bits_ + 2 * size_ * bits_stride_, kPage);
  const std::int64_t lines = std::int64_t{2} * size_ * size_;
  const std::int64_t end = first_line_ + lines * static_cast<std::int64_t>(sizeof(BoardLine));
  first_free_ = rank_ == 0 ? round_up(end, kPage) : 0;
  if (rank_ == 0) {
    memory_->ensure(first_free_);
    new (memory_->of(0)) Gate;
    for (int r = 0; r < size_; ++r) {
      new (&flag(r, What::kPublished)) Flag(0);
      new (&flag(r, What::kFinished)) Flag(0);
    }
  }
  barrier(group);
  if (size_ > group.processors()) gate_ = reinterpret_cast<Gate*>(memory_->of(0));
}

NodeBoard::Flag& NodeBoard::flag(int rank, What what) const {
  const std::int64_t i = (what == What::kPublished ? 0 : size_) + rank;
  return *reinterpret_cast<Flag*>(memory_->of(0) + sizeof(Gate) + i * flag_stride_);
}

std::uint64_t* NodeBoard::bits(int by, std::uint64_t round) const {
  const std::int64_t i = static_cast<std::int64_t>(round % 2) * size_ + by;
  return reinterpret_cast<std::uint64_t*>(memory_->of(0) + first_bits_ + i * bits_stride_);
}

BoardLine& NodeBoard::line(int by, int reader, std::uint64_t round) const {
  // Those for one reader lie together.
  auto* const lines = reinterpret_cast<BoardLine*>(memory_->of(0) + first_line_);
  return lines[(static_cast<std::int64_t>(round % 2) * size_ + reader) * size_ + by];
}

void NodeBoard::open(std::uint64_t round, bool more) {
  std::uint64_t* const mine = bits(rank_, round);
  std::fill_n(mine, words_, 0);
  if (more) mine[rank_ / kWordBits] |= std::uint64_t{1} << rank_ % kWordBits;
}

void NodeBoard::tell(int reader, std::uint64_t round, const BoardLine& told) {
  line(rank_, reader, round) = told;
  bits(rank_, round)[reader / kWordBits] |= std::uint64_t{1} << reader % kWordBits;
}

void NodeBoard::publish(std::uint64_t round) {
  flag(rank_, What::kPublished).store(round, std::memory_order_release);
  if (gate_ == nullptr) return;
  if (gate_->published.fetch_add(1) + 1 < round * static_cast<std::uint64_t>(size_)) return;
  gate_->open.store(static_cast<std::uint32_t>(round));
  if (gate_->sleepers.load() == 0) return;
  syscall(SYS_futex, &gate_->open, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

/// Yielding to ranks that only yield themselves wakes each many times a round; the last to publish
/// wakes each once.
void NodeBoard::sleep_before_gate(std::uint64_t round) const {
  const Spare* const spare = group_.deadline().spare();
  if (spare != nullptr && spare->left()) return;
  gate_->sleepers.fetch_add(1);
  const std::uint32_t seen = gate_->open.load();
  if (seen != static_cast<std::uint32_t>(round)) {
    syscall(SYS_futex, &gate_->open, FUTEX_WAIT, seen, &kSleep, nullptr, 0);
  }
  gate_->sleepers.fetch_sub(1);
}
void NodeBoard::finish(std::uint64_t round) {
  flag(rank_, What::kFinished).store(round, std::memory_order_release);
}

bool NodeBoard::bit(int by, int reader, std::uint64_t round) const {
  return (bits(by, round)[reader / kWordBits] >> reader % kWordBits & 1) != 0;
}
const BoardLine* NodeBoard::told(int by, int reader, std::uint64_t round) const {
  return bit(by, reader, round) ? &line(by, reader, round) : nullptr;
}

void NodeBoard::await_published(std::uint64_t round) {
  await(What::kPublished, round);
}
void NodeBoard::await_finished(std::uint64_t round) {
  await(What::kFinished, round);
}

bool NodeBoard::has(int rank, What what, std::uint64_t round) const {
  return flag(rank, what).load(std::memory_order_acquire) >= round ||
         (what == What::kFinished && !bit(rank_, rank, round));
}

void NodeBoard::await(What what, std::uint64_t round) {
  struct Wait {
    const NodeBoard& board;
    What what;
    std::uint64_t round;
    int step;  // to the first that was not seen to have it
    Awaited awaited;
    int looks = 0;

    [[nodiscard]] int mate() const { return (board.group_.rank() + step) % board.group_.size(); }
    /// Starts where the last look ended.
    [[nodiscard]] bool look() {
      while (step < board.size_ && board.has(mate(), what, round)) ++step;
      return step == board.size_;
    }
  };
  Wait wait{
      *this, what, round, 1, {.what = what == What::kPublished ? "rows" : "results", .peer = -1}};
  if (wait.look()) return;
  // Each captures one reference: nothing is allocated.
  const auto done = [&wait] {
    if (wait.look()) return true;
    wait.board.group_.require_everyone();
    if (wait.look()) return true;
    wait.awaited.peer = wait.mate();
    if (wait.what == What::kFinished || wait.board.gate_ == nullptr) return false;
    if (++wait.looks <= kLooksAwake) return false;
    wait.board.sleep_before_gate(wait.round);
    return wait.look();
  };
  const auto whom = [&wait] {
    std::vector<int> late;
    for (int r = 0; r < wait.board.size_; ++r) {
      if (r == wait.board.rank_ || wait.board.has(r, wait.what, wait.round)) continue;
      late.push_back(r);
    }
    return rank_names(late);
  };
  group_.deadline().wait(done, whom, wait.awaited);
}
}  // namespace switchyard::comm
