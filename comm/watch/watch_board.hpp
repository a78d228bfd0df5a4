// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where every rank of a node is, in memory that all of them see: written by each about itself with
/// single stores, read by whoever has to explain a hang or a death.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/deadline.hpp"
#include "comm/group/group.hpp"

namespace switchyard::comm {

/// A literal of at most 15 letters, as two words, so that a reader in another process sees it.
class SharedWord {
 public:
  void set(std::string_view text) noexcept;
  [[nodiscard]] std::string get() const;

 private:
  std::atomic<std::uint64_t> halves_[2];
};

inline constexpr int kNobody = -2;    ///< waits for nobody
inline constexpr int kSomebody = -1;  ///< waits, and does not know for whom
inline constexpr std::size_t kMeetingsKept = 32;

/// A meeting that a rank has entered, as others see it.
struct SharedMeeting {
  SharedWord what;
  std::atomic<std::int64_t> channel;
  std::atomic<std::int64_t> round;
  std::atomic<std::uint64_t> where;  ///< hash of step, layer and phase
};

/// One rank. All zeros: it has not come yet.
struct alignas(128) Slot {
  std::atomic<std::int64_t> pid;
  std::atomic<std::int64_t> start;  ///< of the process, as /proc has it: numbers come again
  std::atomic<std::int64_t>
      heartbeat;                    ///< ns of the steady clock, by a thread that does nothing else
  std::atomic<std::int64_t> since;  ///< ns: in this position
  std::atomic<std::int64_t> waits_since;  ///< ns
  std::atomic<std::int64_t> step;
  std::atomic<std::int64_t> layer;
  SharedWord phase;
  std::atomic<std::int32_t> waits_for;  ///< a rank, kSomebody or kNobody
  std::atomic<std::int32_t> left;       ///< 1: it is about to end as it should
  std::atomic<std::int32_t> told;       ///< 1: it has said whom it waits for
  std::atomic<std::int32_t> signal;     ///< the signal that it is dying of
  std::atomic<std::int64_t> entered;    ///< meetings so far; number n is at n % kMeetingsKept
  SharedMeeting meetings[kMeetingsKept];
};

/// Beginning of the memory; the slots follow, one a rank of the job.
struct BoardHead {
  std::atomic<std::uint64_t> token;  ///< shows that it is the memory that was meant
  std::atomic<std::int32_t> ranks;
  std::atomic<std::int32_t> reporter;  ///< 1 + the rank that has the word: the first with an error
  std::atomic<std::int32_t> called;    ///< 1: a hang has been called; waits are given up
};

/// Two ends of the same memory.
class WatchBoard {
 public:
  [[nodiscard]] static std::int64_t bytes(int ranks);
  /// Over memory that is all zeros, or another process's board. It must outlive this.
  explicit WatchBoard(std::byte* memory) : memory_(memory) {}
  [[nodiscard]] BoardHead& head() const { return *reinterpret_cast<BoardHead*>(memory_); }
  [[nodiscard]] Slot& slot(int rank) const;

 private:
  std::byte* memory_;
};

/// What a reader saw of one rank at one time.
struct RankView {
  struct Met {
    std::string what;
    std::int64_t channel = 0;
    std::int64_t round = 0;
    std::uint64_t where = 0;
    bool operator==(const Met&) const = default;
    [[nodiscard]] std::string words() const;  ///< "dispatch 5 of exchange 1", "allgather"
  };
  int rank = 0;
  bool known = false;  ///< it stands on this node and has come
  bool left = false;
  char state = '?';  ///< of its process, as /proc has it; 'X': gone
  int signal = 0;
  double heartbeat_s = 0;  ///< age
  double since_s = 0;      ///< in this position
  double waits_s = 0;
  int waits_for = kNobody;
  Position at;  ///< its phase is `phase`
  std::string phase;
  std::int64_t entered = 0;
  std::vector<Met> meetings;                ///< the last ones: the newest is number `entered` - 1
  [[nodiscard]] std::string place() const;  ///< "combine, step 3, layer 0"
};

/// Nanoseconds of the steady clock, which all processes of a machine share.
[[nodiscard]] std::int64_t steady_ns() noexcept;
/// When the process began, in the kernel's ticks; 0: there is none. @param state  of it
[[nodiscard]] std::int64_t process_start(std::int64_t pid, char& state);
[[nodiscard]] RankView look(const WatchBoard& board, int rank);
[[nodiscard]] std::vector<RankView> look_at_all(const WatchBoard& board);
}  // namespace switchyard::comm
