// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Watches over one rank: says where it is to its mates, notices their deaths, and explains a hang.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "comm/base/deadline.hpp"
#include "comm/group/group.hpp"
#include "comm/watch/suspect.hpp"
#include "comm/watch/watch_board.hpp"

namespace switchyard::comm {

/// How a watch speaks and ends a job; called from its thread as well as from the rank's.
struct WatchVoice {
  std::function<void(std::string_view)> line;   ///< an unhurried line
  std::function<void(std::string_view)> error;  ///< the one line that says what went wrong
  std::function<void(int status)> abort;        ///< ends the job; may return
};

/// Tells from a deadline where a rank is. Its thread ticks the heartbeat, and limits what blocks
/// inside MPI and no deadline can end. Costs two or three stores a position, one a look of a wait.
class Watch final : public Observer {
 public:
  /// @param limit  of a wait, and of what blocks
  Watch(std::chrono::milliseconds limit, WatchVoice voice);
  ~Watch() override;

  /// From now on mates see each other. Collective; subscribes to the group's deadline, which must
  /// outlive this or be forgotten. Without shared memory, and alone, it changes nothing.
  /// @param given  memory of somebody who outlives the job, "/proc/17/fd/5:TOKEN"; may be empty
  void join(Group& group, const std::string& given);
  /// The rank's own thread enters a call that no deadline can end: MPI_Init, MPI_Finalize. It is
  /// limited as a wait is, but never to less than `least`. @param phase  a literal
  void blocks(const char* phase, std::chrono::milliseconds least = {});
  void flows();

  /// From now on the end of a mate is no failure: somebody else goes on without it.
  void let_mates_end() { mates_may_end_.store(true, std::memory_order_release); }

  /// Where the signal belongs that this process dies of, for a handler; null before join.
  [[nodiscard]] std::atomic<std::int32_t>* dying_signal() {
    return sees_mates() ? &slot().signal : nullptr;
  }

  /// Takes the word for a failure of this rank: true for the first of all ranks.
  [[nodiscard]] bool take_word();
  /// After this rank's DeadlineError: its line, and of the first rank the matrix and the name of
  /// the suspect. @return  whether it had something to say; else the caller says it
  [[nodiscard]] bool explain(const std::string& own_words);
  /// Where a failure that is no hang leaves the ranks: "; rank 1 skipped dispatch 5", or nothing.
  [[nodiscard]] std::string hint() const;

  // Observer
  void moved(const Position& to) override;
  void moved_back(const Position& to) override { moved(to); }
  Attendance meets(const Position& at, const Meeting& meeting) override;
  bool waits(int peer) noexcept override;
  void waited() noexcept override;
  void late() noexcept override;

 private:
  void run();
  void tick();
  void tell_blocked();
  void watch_mates();
  void call_blocked();
  void moved_on_board(const Position& to) noexcept;
  [[nodiscard]] bool sees_mates() const { return joined_.load(std::memory_order_acquire); }
  [[nodiscard]] Slot& slot() const { return board_->slot(rank_); }

  std::chrono::milliseconds limit_;
  WatchVoice voice_;
  int rank_ = 0;
  int size_ = 1;
  std::unique_ptr<SharedMemory> shared_;
  std::byte* mapped_ = nullptr;
  std::int64_t mapped_bytes_ = 0;
  std::unique_ptr<WatchBoard> board_;
  std::atomic<bool> joined_{false};
  std::atomic<bool> stop_{false};
  std::atomic<bool> mates_may_end_{false};
  std::atomic<std::int64_t> blocked_since_{0};  ///< ns; 0: it is not inside a call that blocks
  std::atomic<const char*> blocked_in_{""};
  std::atomic<std::int64_t> blocked_limit_{0};  ///< ms
  bool first_called_ = false;                   ///< this rank has called the hang
  std::vector<RankView> before_;
  std::vector<RankView> now_;
  std::vector<int> mates_;  ///< pidfds by rank; -1: none
  std::thread thread_;
};
}  // namespace switchyard::comm
