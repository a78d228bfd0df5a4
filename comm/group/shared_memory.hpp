// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Memory that the ranks of a node see at the same addresses: each has a segment of its own that it
/// alone may grow, and all may read and write.
#include <cstddef>
#include <cstdint>
#include <memory>

namespace switchyard::comm {

class Group;

/// Made by Group::share, collectively; destroyed by each rank when it likes. What a segment holds
/// stays until the last rank that maps it has gone, so nobody's exit pulls the memory from under
/// another's feet, and no destructor waits for anybody.
class SharedMemory {
 public:
  virtual ~SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// Where the segment of the rank with this place on the node begins; the same in every rank.
  [[nodiscard]] std::byte* of(int local) const { return base_ + local * capacity_; }
  [[nodiscard]] std::byte* mine() const { return of(local_); }

  /// Makes the first `bytes` of this rank's segment usable, zeros where they are new. Others may
  /// touch them once they have been told (by a flag, by a message). Keeps contents and addresses.
  /// @throws std::system_error   the system has no more memory
  /// @throws std::length_error   more than the capacity that was asked for
  void ensure(std::int64_t bytes);
  [[nodiscard]] std::int64_t size() const { return size_; }

 protected:
  SharedMemory(std::byte* base, std::int64_t capacity, int local)
      : base_(base), capacity_(capacity), local_(local) {}
  /// Grows this rank's segment to `bytes`, a multiple of 2 MiB and more than it had.
  virtual void grow(std::int64_t bytes) = 0;
  /// Gives the first `bytes`, a multiple of 2 MiB, huge pages if the system has any.
  virtual void settle(std::int64_t bytes) = 0;

 private:
  void enlarge(std::int64_t bytes);

  std::byte* base_;
  std::int64_t capacity_;
  int local_;
  std::int64_t size_ = 0;
  std::int64_t settled_ = 0;
};

/// Between processes of one machine: anonymous files that every mate maps at the same place. They
/// have no name, so a killed job leaves nothing behind; their pages come when they are touched.
/// Collective over the whole group, whatever nodes there are.
/// @throws CollectiveError  on every rank: some rank cannot map its mates' memory
[[nodiscard]] std::unique_ptr<SharedMemory> share_between_processes(Group& group,
                                                                    std::int64_t capacity);
/// Whether this kernel makes huge pages of such memory when asked to (MADV_COLLAPSE), whatever the
/// administrator has chosen for shared memory.
[[nodiscard]] bool collapses_shared_memory();
/// Between threads.
[[nodiscard]] std::unique_ptr<SharedMemory> share_between_threads(Group& group,
                                                                  std::int64_t capacity);
}  // namespace switchyard::comm
