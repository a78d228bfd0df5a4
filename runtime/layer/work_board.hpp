// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The experts' work of each rank of a node, in memory that all of them see: who has nothing left
/// of its own takes tasks of the others. No lock; what a task computes does not depend on who takes
/// it, so no bit does.
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/layer/arrivals.hpp"
#include "runtime/layer/tasks.hpp"

namespace switchyard::runtime {

/// An expert of the owner and rows for it. Addresses are good in every rank of the node.
struct Job {
  std::int64_t expert = 0;  ///< its place among the owner's
  std::int64_t logical = 0;
  std::int64_t num_rows = 0;
  const float* const* rows = nullptr;
  const float* gates = nullptr;  ///< or none
  float* const* results = nullptr;
  std::byte* middle = nullptr;  ///< between the halves, if it was cut
  std::int32_t up_tasks = 0;
  std::int32_t stage = 0;
  std::atomic<std::int32_t> ups_done = 0;
};

/// Rows of one job, where several share the work: weights are read once a job, and this many hide
/// that.
inline constexpr std::int64_t kJobRows = 192;

/// A task, and whose it is.
struct TakenTask {
  Job* job = nullptr;
  Task task;
  int owner = 0;  ///< place on the node
};

class WorkBoard {
 public:
  /// @param shared  mates of the group's node take from each other; then collective. Otherwise only
  ///                the threads of this rank take.
  WorkBoard(comm::Group& group, bool shared);

  /// On some node several ranks share their work: the same on every rank, also on one that is alone
  /// on its node.
  [[nodiscard]] bool shared() const { return shared_; }
  [[nodiscard]] int mates() const { return mates_; }
  [[nodiscard]] int local() const { return local_; }

  /// The other mates, in the order in which this rank takes from them.
  [[nodiscard]] const std::vector<int>& others() const { return others_; }

  // ---- This rank's own work; all ranks in the same rounds. No task of the last round may be left.

  /// Lists of this size, to be filled.
  [[nodiscard]] Arrivals make_room(std::int64_t experts, std::int64_t rows, bool gates);
  /// Memory of this round that mates can write, 64-byte aligned; after make_room.
  [[nodiscard]] std::byte* reserve(std::int64_t bytes);
  /// Cuts the arrivals into jobs and tasks and shows them to the mates; none may be taken yet.
  struct Shape {
    std::int64_t up_parts = 1;
    std::int64_t down_parts = 1;
    std::int64_t (*middle_bytes)(const void* context, std::int64_t rows) = nullptr;
    const void* context = nullptr;
  };
  /// @param logical  [local experts], their names
  /// @param sharers  threads on the node
  void publish(const Arrivals& arrivals, std::span<const std::int32_t> logical, const Shape& shape,
               int sharers, int stages);
  /// Tasks of stages up to this one may be taken.
  void open(int stage);
  /// All tasks of this stage are done, whoever did them.
  [[nodiscard]] bool done(int stage) const;

  // ---- Anybody's work.

  /// The next task of a mate (or of oneself); false if it has none to give now.
  [[nodiscard]] bool take(int owner, TakenTask& taken) const;
  /// All its tasks of this round are taken, and there will be no more.
  [[nodiscard]] bool drained(int owner) const;
  /// Some mate has a task to give.
  [[nodiscard]] bool anything() const;
  void finish(const TakenTask& taken) const;

 private:
  static constexpr int kMaxStages = 64;
  /// At the start of a segment. A ticket is a round and a number in one word, so that who comes
  /// late cannot take from the next round what it saw in the last one.
  struct Header {
    alignas(128) std::atomic<std::uint64_t> next = 0;  ///< ticket
    alignas(128) std::atomic<std::uint64_t> open = 0;  ///< tasks below may be taken
    std::int64_t num_tasks = 0;
    Task* tasks = nullptr;
    Job* jobs = nullptr;
    std::int32_t stages = 0;
    unsigned memory = 0;  ///< the NUMA node where the owner ran at first
    std::int64_t stage_offsets[kMaxStages + 1] = {};
    alignas(128) std::atomic<std::int64_t> done[kMaxStages] = {};
  };
  [[nodiscard]] Header& header(int owner) const;
  [[nodiscard]] bool may_take(const Header& header, std::uint64_t ticket) const;

  std::unique_ptr<comm::SharedMemory> memory_;
  bool shared_ = false;
  int mates_ = 1;
  int local_ = 0;
  std::vector<int> others_;
  std::uint64_t round_ = 0;
  std::int64_t used_ = 0;  ///< bytes of this rank's segment
  TaskCutter cutter_;
  std::vector<JobShape> shapes_;
};
}  // namespace switchyard::runtime
