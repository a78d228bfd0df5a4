// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Experts over their rows: this rank's tasks first, then what its mates still have to give.
#include <atomic>
#include <cstdint>
#include <exception>
#include <vector>

#include "comm/exchange/exchange.hpp"
#include "comm/group/group.hpp"
#include "experts/kernels/aligned.hpp"
#include "runtime/layer/shard.hpp"
#include "runtime/layer/work_board.hpp"
#include "runtime/layer/workers.hpp"
#include "runtime/report/timeline.hpp"

namespace switchyard::runtime {

/// What is kept of the computing threads from round to round.
class GroupedFfn {
 public:
  /// @param timeline  told of every task; may be null
  GroupedFfn(comm::Group& group, int threads, Timeline* timeline);

  /// Runs every expert of this rank's board over its rows, stage by stage as rows come and results
  /// may leave, and helps the mates until no task of the node is left. The board has been
  /// published; when this returns, all its results are written.
  void run(comm::Exchange& exchange, const Shard& shard, WorkBoard& board, int stages);

  /// Processor seconds in tasks of all threads of this rank, whoever's they were, since the last
  /// reset: what compute_imbalance compares over ranks.
  [[nodiscard]] double task_seconds() const;
  /// Seconds that this rank was longer at it because it packed experts: those of all threads over
  /// their number.
  [[nodiscard]] double pack_seconds() const;
  void reset();
  [[nodiscard]] Workers& workers() { return workers_; }
  /// [threads], for who computes beside the tasks.
  [[nodiscard]] std::vector<experts::AlignedBuffer>& scratch() { return scratch_; }

 private:
  /// One round's, shared by the threads of this rank.
  struct Round {
    comm::Exchange& exchange;
    const Shard& shard;
    WorkBoard& board;
    int stages;
    int released = 0;  ///< stages whose results may have left
    std::atomic<bool> over = false;
    std::exception_ptr problem =
        nullptr;  ///< of the first thread that failed, once `failed` is true
    std::atomic<bool> failing = false;
    std::atomic<bool> failed = false;
  };
  /// For any task of the node, before the first: which thread takes the largest is left to chance.
  void make_room(const experts::ExpertSpec& spec);
  void lead(Round& round);                ///< thread 0, which talks to other ranks
  void follow(Round& round, int thread);  ///< the others
  bool take_one(Round& round, int owner, int thread);
  bool take_any(Round& round, int thread);
  void release(Round& round);
  void run_task(const Shard& shard, const TakenTask& taken, int thread);
  void await_ups(const Job& job, int thread);
  /// The expert that a task runs.
  const experts::PackedExpert& expert_of(const Shard& shard, const TakenTask& taken, int thread);

  comm::Group& group_;
  Timeline* timeline_;
  Workers workers_;
  std::vector<experts::AlignedBuffer> scratch_;  ///< [threads]
  std::vector<double> seconds_;                  ///< [threads * kApart]: in tasks, in packing
  std::vector<PackRoom> rooms_;                  ///< [threads]
  std::vector<experts::PackedExpert> packed_;    ///< [threads], views of them
  static constexpr std::size_t kApart = 16;      ///< a pair of cache lines a thread
};
}  // namespace switchyard::runtime
