// SPDX-License-Identifier: Apache-2.0
#include "comm/watch/watch_board.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace switchyard::comm {
namespace {
constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::int64_t kFirstSlot = 128;
static_assert(sizeof(BoardHead) <= kFirstSlot);

double age_s(std::int64_t now, std::int64_t then) {
  return then == 0 ? 0 : std::max(0.0, static_cast<double>(now - then) * 1e-9);
}

RankView::Met read(const SharedMeeting& meeting) {
  return {.what = meeting.what.get(),
          .channel = meeting.channel.load(kRelaxed),
          .round = meeting.round.load(kRelaxed),
          .where = meeting.where.load(kRelaxed)};
}
}  // namespace

void SharedWord::set(std::string_view text) noexcept {
  std::uint64_t halves[2] = {};
  std::memcpy(halves, text.data(), std::min(text.size(), sizeof halves - 1));
  halves_[0].store(halves[0], kRelaxed);
  halves_[1].store(halves[1], kRelaxed);
}

std::string SharedWord::get() const {
  const std::uint64_t halves[2] = {halves_[0].load(kRelaxed), halves_[1].load(kRelaxed)};
  char text[sizeof halves + 1] = {};
  std::memcpy(text, halves, sizeof halves);
  return text;
}

std::int64_t WatchBoard::bytes(int ranks) {
  return kFirstSlot + std::int64_t{ranks} * static_cast<std::int64_t>(sizeof(Slot));
}

Slot& WatchBoard::slot(int rank) const {
  return reinterpret_cast<Slot*>(memory_ + kFirstSlot)[rank];
}

std::string RankView::Met::words() const {
  if (channel == 0) return what;
  return what + " " + std::to_string(round) + " of exchange " + std::to_string(channel);
}

std::string RankView::place() const {
  std::string words = phase;
  if (at.step >= 0) words += ", step " + std::to_string(at.step);
  if (at.layer >= 0) words += ", layer " + std::to_string(at.layer);
  return words;
}

std::int64_t steady_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::int64_t process_start(std::int64_t pid, char& state) {
  state = 'X';
  char path[40];
  std::snprintf(path, sizeof path, "/proc/%lld/stat", static_cast<long long>(pid));
  std::FILE* const file = std::fopen(path, "re");
  if (file == nullptr) return 0;
  char text[1024];
  const std::size_t length = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  text[length] = '\0';
  // The name may hold anything, brackets too: what follows begins behind the last one.
  const char* const behind = std::strrchr(text, ')');
  if (behind == nullptr) return 0;
  char read_state = '?';
  long long start = 0;  // field 22; the state is field 3
  constexpr const char* kFormat =
      ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lld";
  if (std::sscanf(behind, kFormat, &read_state, &start) != 2) return 0;
  state = read_state;
  return start;
}

RankView look(const WatchBoard& board, int rank) {
  const Slot& slot = board.slot(rank);
  RankView view;
  view.rank = rank;
  const std::int64_t pid = slot.pid.load(std::memory_order_acquire);
  if (pid == 0) return view;
  view.known = true;
  view.left = slot.left.load(kRelaxed) != 0;
  view.signal = slot.signal.load(kRelaxed);
  if (process_start(pid, view.state) != slot.start.load(kRelaxed)) view.state = 'X';
  view.waits_for = slot.waits_for.load(kRelaxed);
  view.phase = slot.phase.get();
  view.at = {.step = slot.step.load(kRelaxed), .layer = slot.layer.load(kRelaxed)};
  view.entered = slot.entered.load(std::memory_order_acquire);
  const auto kept = std::min<std::int64_t>(view.entered, kMeetingsKept - 1);
  for (std::int64_t n = view.entered - kept; n < view.entered; ++n) {
    view.meetings.push_back(read(slot.meetings[static_cast<std::size_t>(n) % kMeetingsKept]));
  }
  const std::int64_t now = steady_ns();
  view.heartbeat_s = age_s(now, slot.heartbeat.load(kRelaxed));
  view.since_s = age_s(now, slot.since.load(kRelaxed));
  view.waits_s = view.waits_for == kNobody ? 0 : age_s(now, slot.waits_since.load(kRelaxed));
  return view;
}

std::vector<RankView> look_at_all(const WatchBoard& board) {
  std::vector<RankView> views;
  for (int rank = 0; rank < board.head().ranks.load(kRelaxed); ++rank) {
    views.push_back(look(board, rank));
  }
  return views;
}
}  // namespace switchyard::comm
