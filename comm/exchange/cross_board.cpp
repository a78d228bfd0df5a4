// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/cross_board.hpp"

#include <algorithm>
#include <new>
#include <string>
#include <vector>

#include "comm/base/round_up.hpp"
#include "comm/base/words.hpp"
#include "comm/group/collective.hpp"

namespace switchyard::comm {
namespace {
/// Addresses, not memory: the most that a rank can have in flight in a round.
constexpr std::int64_t kCapacity = std::int64_t{64} << 30;
// Each flag has a pair of cache lines of its own: neighbours would be fetched along.
constexpr std::int64_t kFlagBytes = 128;
constexpr std::int64_t kMarks = 4;
constexpr std::int64_t kCacheLineBytes = 64;
}  // namespace

CrossBoard::CrossBoard(Group& group)
    : group_(group),
      mates_(&group.nodes().mates_of(group.rank())),
      memory_(group.share(kCapacity)) {
  const auto lines = group.size() * static_cast<std::int64_t>(mates_->size());
  const std::int64_t line_bytes = lines * static_cast<std::int64_t>(sizeof(CrossLine));
  first_free_ = round_up(kMarks * kFlagBytes + line_bytes, kCacheLineBytes);
  memory_->ensure(first_free_);
  for (std::int64_t i = 0; i < kMarks; ++i) new (memory_->mine() + i * kFlagBytes) Flag(0);
  barrier(group);
}

std::byte* CrossBoard::segment(int mate) const {
  return memory_->of(group_.nodes().local_of[static_cast<std::size_t>(mate)]);
}

CrossLine& CrossBoard::line(int teller, int source, int reader) const {
  auto* const lines = reinterpret_cast<CrossLine*>(segment(teller) + kMarks * kFlagBytes);
  return lines[source * static_cast<std::int64_t>(mates_->size()) +
               group_.nodes().local_of[static_cast<std::size_t>(reader)]];
}

CrossBoard::Flag& CrossBoard::flag(int mate, Mark mark) const {
  return *reinterpret_cast<Flag*>(segment(mate) + static_cast<int>(mark) * kFlagBytes);
}

void CrossBoard::set(Mark mark, std::uint64_t value) {
  flag(group_.rank(), mark).store(value, std::memory_order_release);
}

bool CrossBoard::has(int mate, Mark mark, std::uint64_t value) const {
  return flag(mate, mark).load(std::memory_order_acquire) >= value;
}

bool CrossBoard::all_have(Mark mark, std::uint64_t value) const {
  return std::ranges::all_of(*mates_, [&](int mate) { return has(mate, mark, value); });
}

std::string CrossBoard::without(Mark mark, std::uint64_t value) const {
  std::vector<int> late;
  for (const int mate : *mates_) {
    if (!has(mate, mark, value)) late.push_back(mate);
  }
  return rank_names(late);
}

std::byte* CrossBoard::take(std::int64_t bytes) {
  const std::int64_t begin = first_free_ + taken_;
  taken_ += round_up(bytes, kCacheLineBytes);
  memory_->ensure(first_free_ + taken_);
  return memory_->mine() + begin;
}
}  // namespace switchyard::comm
