// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Keeps layers going while ranks are lost and join: who has which experts, what is masked, what is
/// loaded once more. The same on every member, without a rank that decides.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/endure/enduring_group.hpp"
#include "runtime/layer/engine.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/serve/reload.hpp"

namespace switchyard::runtime {

/// What is kept going; all of it outlives the keeper.
struct KeptLayers {
  std::vector<MoeLayer*> layers;  ///< of one placement and one engine
  Engine* engine = nullptr;
  WeightOrigin origin;
};

/// What the members agreed on.
struct Agreed {
  std::int64_t step = 0;                ///< the smallest that some member has not finished
  std::vector<std::int32_t> lost = {};  ///< experts that nobody has: masked
};

class Keeper {
 public:
  /// A step of a rank that has no say: a spare that has just joined.
  static constexpr std::int64_t kNoStep = INT64_MAX;

  /// @param held    experts that the layers have on this rank
  /// @param reload  experts that were lost are loaded again by who is left, unless a spare waits
  Keeper(comm::EnduringGroup& group, KeptLayers kept, std::vector<std::int32_t> held, bool reload);

  /// After every change of the membership, and when all_ready() says so: tells who holds what and
  /// which step is next, and makes exchange and layers anew by it. Collective.
  /// @param step  the first that this rank has not finished
  /// @throws comm::MembershipChanged  then once more, after EnduringGroup::regroup
  [[nodiscard]] Agreed settle(std::int64_t step);

  /// A spare's: loads these in this thread, to bring them along.
  void load(std::vector<std::int32_t> experts);

  /// What this rank loads: 0 nothing, 1 is at it, 2 has it. To be told to the others each step.
  [[nodiscard]] int loading() const;
  /// Whether all that is loaded anywhere is there, so that all may settle.
  [[nodiscard]] static bool all_ready(const std::vector<int>& loading);
  /// Takes what has been loaded; settle() does so too. What cannot be loaded is not tried again.
  void take_loaded();
  /// Why a load came to nothing, once; empty: it did not.
  [[nodiscard]] std::string load_problem() { return std::exchange(load_problem_, {}); }
  /// Experts that this rank has loaded again.
  [[nodiscard]] std::int64_t reloaded() const { return reloaded_; }
  [[nodiscard]] const std::vector<std::int32_t>& held() const { return held_; }

 private:
  void begin_reload(const std::vector<std::int32_t>& lost,
                    const std::vector<std::int32_t>& underway);

  comm::EnduringGroup& group_;
  KeptLayers kept_;
  std::vector<std::int32_t> held_;
  bool reload_;
  std::optional<int> opened_;  ///< epoch of the exchange; none yet: the one it was made with
  std::unique_ptr<Reload> loader_;
  std::string load_problem_;
  std::vector<std::vector<ReadyExpert>> ready_;  ///< [layers], for the next placement
  std::int64_t reloaded_ = 0;
};
}  // namespace switchyard::runtime
