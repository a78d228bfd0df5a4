// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Packs experts that were lost once more, in a thread of its own, while the others go on serving.
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "experts/weights.hpp"
#include "runtime/layer/shard.hpp"

namespace switchyard::runtime {

/// The same experts of every layer, packed.
struct ReadyExperts {
  std::vector<std::int32_t> logical;             ///< ascending
  std::vector<std::vector<ReadyExpert>> layers;  ///< [layers], as many of each
};

/// Where weights come from, and what they become.
struct WeightOrigin {
  std::vector<std::shared_ptr<experts::WeightSource>> sources;  ///< [layers]
  experts::ExpertSpec spec;
  experts::DType stored = experts::DType::kFloat32;
};

/// One batch of experts.
class Reload {
 public:
  /// Begins at once, at a low priority. The sources belong to the thread until it is done.
  Reload(const WeightOrigin& origin, std::vector<std::int32_t> logical);
  /// Waits for the expert that is being packed.
  ~Reload();
  Reload(const Reload&) = delete;
  Reload& operator=(const Reload&) = delete;

  [[nodiscard]] const std::vector<std::int32_t>& logical() const { return ready_.logical; }
  [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }
  /// What was packed. Once, when it is done. @throws what the source has thrown
  [[nodiscard]] ReadyExperts take();

 private:
  void work(const WeightOrigin& origin);

  ReadyExperts ready_;
  std::exception_ptr problem_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> done_ = false;
  std::thread thread_;
};
}  // namespace switchyard::runtime
