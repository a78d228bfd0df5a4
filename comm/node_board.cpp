// SPDX-License-Identifier: Apache-2.0
#include "comm/node_board.hpp"

#include <new>
#include <string>

#include "comm/collective.hpp"
#include "comm/words.hpp"

namespace switchyard::comm {
namespace {
constexpr int kPublished = 0;
constexpr int kFinished = 1;
constexpr std::int64_t kPage = 4096;
}  // namespace

NodeBoard::NodeBoard(Group& group, std::int64_t capacity)
    : group_(group), memory_(group.share(capacity)) {
  const std::int64_t lines = 2 * group.size() * static_cast<std::int64_t>(sizeof(BoardLine));
  first_free_ = (2 * kFlagBytes + lines + kPage - 1) / kPage * kPage;
  memory_->ensure(first_free_);
  new (memory_->mine()) Flag(0);
  new (memory_->mine() + kFlagBytes) Flag(0);
  barrier(group);
}

BoardLine& NodeBoard::line(int of, int reader, std::uint64_t round) const {
  auto* const lines = reinterpret_cast<BoardLine*>(memory_->of(of) + 2 * kFlagBytes);
  return lines[static_cast<std::int64_t>(round % 2) * group_.size() + reader];
}

NodeBoard::Flag& NodeBoard::flag(int rank, int which) const {
  return *reinterpret_cast<Flag*>(memory_->of(rank) + which * kFlagBytes);
}

void NodeBoard::publish(std::uint64_t round) {
  flag(group_.rank(), kPublished).store(round, std::memory_order_release);
}
void NodeBoard::finish(std::uint64_t round) {
  flag(group_.rank(), kFinished).store(round, std::memory_order_release);
}
void NodeBoard::await_published(int rank, std::uint64_t round) {
  await(rank, kPublished, round);
}
void NodeBoard::await_finished(int rank, std::uint64_t round) {
  await(rank, kFinished, round);
}

void NodeBoard::await(int rank, int which, std::uint64_t round) {
  const Flag& other = flag(rank, which);
  if (other.load(std::memory_order_acquire) >= round) return;
  struct Wait {
    const Flag& flag;
    std::uint64_t round;
    const Group& group;
  };
  const Wait wait{other, round, group_};  // captured as one reference: nothing is allocated
  const auto done = [&wait] {
    if (wait.flag.load(std::memory_order_acquire) >= wait.round) return true;
    wait.group.require_everyone();
    return wait.flag.load(std::memory_order_acquire) >= wait.round;
  };
  const Awaited awaited{.what = which == kPublished ? "rows" : "results", .peer = rank};
  group_.deadline().wait(
      done, [rank] { return rank_names({rank}); }, awaited);
}
}  // namespace switchyard::comm
