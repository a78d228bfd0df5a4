// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Moves experts while a run goes on: looks at the load of the last steps, has a policy plan and a
/// judge decide, takes copies to where they are to be while the old placement works, and changes to
/// the new one on all ranks before the same step. Changes no bit of any result.
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/layer/coordinator.hpp"
#include "runtime/rebalance/mover.hpp"
#include "runtime/rebalance/settings.hpp"
#include "runtime/rebalance/window.hpp"
#include "runtime/state/run_state.hpp"

namespace switchyard::runtime {

/// The layers whose experts move; all of it outlives the rebalancer.
struct MovingLayers {
  Coordinator* layers = nullptr;
  RunState* state = nullptr;  ///< whose weights change after each step; null: they stay
  int threads = 1;            ///< that compute on this rank
};

class Rebalancer {
 public:
  /// Collective. The placement of each layer is what it has.
  /// @param epoch    of this placement
  /// @param slots    copies that a rank has room for, a layer
  /// @param note     told of each verdict; may be empty
  /// @throws comm::CollectiveError  a node queue, experts packed as needed, or too few slots
  Rebalancer(comm::Group& group, const RebalanceSettings& settings, MovingLayers moving,
             std::uint64_t epoch, std::function<void(std::string)> note);

  /// The layers have just reset their counts.
  void begin_counting() { counter_.begin(*moving_.layers); }
  /// A step is over on this rank.
  void count() { counter_.add(*moving_.layers); }

  /// What this rank tells the others before step `step`: appended to what they exchange anyway.
  void say(std::vector<std::byte>& note) const;
  /// Every weight of the state has changed by `key`: so have those that are on their way.
  void changed(const StepKey& key);
  /// Before step `step`, on all ranks: makes of everybody's words what comes next.
  /// @param skip  bytes of each note that are not from say()
  /// @return      whether the placement has changed
  bool turn(const std::vector<std::vector<std::byte>>& notes, std::size_t skip, std::int64_t step);
  /// What moves experts in the waits of a step.
  [[nodiscard]] comm::Spare* spare() { return &mover_; }
  /// Lets what is under way come to its end, for nothing may be in flight when a run leaves.
  void finish();

  [[nodiscard]] std::uint64_t epoch() const { return report_.epoch; }
  [[nodiscard]] const std::vector<Placement>& placements() const { return now_; }
  /// Collective, after finish().
  [[nodiscard]] RebalanceReport report();

 private:
  enum class Phase { kWatching, kDeciding, kMoving };
  using Clock = std::chrono::steady_clock;
  /// An expert that is coming to this rank.
  struct Coming {
    std::size_t layer = 0;
    std::int32_t expert = 0;
    std::byte* packed = nullptr;  ///< in the layer's room
    NetworkBlock state;           ///< of a stateful run
    std::int64_t changes = 0;     ///< that its state has, since the batch began
    bool landed = false;
    bool ready = false;  ///< packed, and its state has every change
  };
  /// The state of one that leaves, as it was when its turn came.
  struct Leaving {
    NetworkBlock state;
    std::int64_t changes = 0;
  };
  /// What a rank has said, by rank.
  using Words = std::vector<std::vector<std::int64_t>>;
  void look(const Words& said, std::int64_t step);
  [[nodiscard]] RebalanceEvent verdict_on(const Window& window, double bandwidth);
  void hear_verdict(const std::vector<std::int64_t>& words);
  void begin_batch();
  void bring(std::size_t layer, const CopyMove& move);
  void send(std::size_t layer, const CopyMove& move);
  void catch_up(bool all);
  void change_over(std::int64_t step);
  [[nodiscard]] bool done_here() const;
  [[nodiscard]] bool looks_now() const {
    return phase_ == Phase::kWatching && turns_ >= settings_.every;
  }
  [[nodiscard]] std::int64_t bytes_of_a_copy() const;
  [[nodiscard]] static double seconds_since(Clock::time_point start);
  void stood_still(double seconds);
  void tell_edition();  ///< the epoch, to the exchanges of all layers

  comm::Group& group_;
  const RebalanceSettings& settings_;
  MovingLayers moving_;
  std::function<void(std::string)> note_;
  MachineShape shape_;
  std::vector<Placement> now_;   ///< [layers]
  std::vector<Placement> plan_;  ///< [layers], while experts move
  Phase phase_ = Phase::kWatching;
  WindowCounter counter_;
  Mover mover_;
  std::int64_t turns_ = 0;           ///< since the last look
  std::size_t next_layer_ = 0;       ///< of the plan, behind the batch
  std::vector<std::size_t> batch_;   ///< layers that change over together
  std::list<Coming> coming_;         ///< of the batch
  std::list<Leaving> leaving_;       ///< of the batch
  std::vector<StepKey> keys_;        ///< changes since the batch began
  std::vector<Placement> proposed_;  ///< rank 0's, not told yet; empty: experts stay
  RebalanceReport report_;
  Clock::time_point last_turn_ = Clock::now();
  double stall_s_ = 0;             ///< on this rank, of the last migration
  std::int64_t bytes_before_ = 0;  ///< through the mover before it
  bool kept_ = false;              ///< the plan not told yet is the placement there is
  bool changed_over_ = false;      ///< once at least
};
}  // namespace switchyard::runtime
