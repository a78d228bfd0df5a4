// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Counts what a binary takes from the heap and which locks and protobufs it uses. Linked with
/// counted.cpp, it has an operator new of its own; other calls of ours come there by the linker's
/// --wrap, so that what MPI does inside its libraries is not counted.
#include <array>
#include <atomic>
#include <cstdint>
#include <string>

namespace switchyard::tests {

/// What was counted while `on`, over all threads of this process.
struct Counters {
  std::atomic<bool> on = false;
  std::atomic<std::int64_t> allocations = 0;  ///< operator new, aligned_alloc, memalign
  std::atomic<std::int64_t> locks = 0;        ///< pthread_mutex_lock
  std::atomic<std::int64_t> protobufs = 0;    ///< MessageLite::ParseFromArray

  bool locks_matter = true;  ///< false: their call stacks are not kept

  /// From zero.
  void start();
  void count(std::atomic<std::int64_t>& what);
  /// Call stacks of the first few, for whoever has to find out. Stops counting.
  [[nodiscard]] std::string who();

 private:
  static constexpr int kFrames = 16;
  static constexpr int kKept = 6;
  std::atomic<int> kept_ = 0;
  std::array<std::array<void*, kFrames>, kKept> stacks_{};
};

/// Of this process.
[[nodiscard]] Counters& counters();
}  // namespace switchyard::tests
