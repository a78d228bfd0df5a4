// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The ranks that serve together: what each kind of serving does when some are lost or join, and
/// what it reports of it.
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/endure/enduring_group.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/serve/account.hpp"
#include "runtime/serve/keeper.hpp"

namespace switchyard::runtime {

struct ServeSettings {
  int spares = 0;  ///< the last ranks, which wait to take the place of one that is lost
  std::chrono::milliseconds silence{5000};  ///< without a sign of life: killed, and lost
  bool reload = true;  ///< experts that were lost are loaded again by those who are left
};

/// @throws std::invalid_argument  what a layer that is served cannot have, by its flag
void require_servable(const LayerOptions& options);
/// Rows move by bounded messages, and nothing is shared.
void serve_layers(LayerOptions& options);
/// Experts of a rank that waits: none.
[[nodiscard]] Placement spare_placement(std::int64_t experts);
/// Loads on every rank of `base`, where spares are alone in their group: what one finds wrong
/// together with its group is everybody's. Collective over `base`.
/// @throws comm::CollectiveError  on every rank
void load_apart(comm::Group& base, const std::function<void()>& load);

/// One rank's view of them.
class Crew {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param held  experts that the layers have on this rank
  /// @param note  told in words of what happens, on the lowest rank that is left; may be empty
  Crew(comm::Membership& membership, comm::EnduringGroup& group, KeptLayers kept,
       std::vector<std::int32_t> held, bool reload, std::function<void(std::string)> note);

  [[nodiscard]] Keeper& keeper() { return keeper_; }
  [[nodiscard]] ServeAccount& account() { return account_; }
  /// Some experts have no host.
  [[nodiscard]] bool masked() const { return !masked_.empty(); }

  /// A spare's: waits until it is needed, loads what it has to, and takes part.
  /// @param plan  who had what at the start
  /// @return      nothing: takes part; or the status with which the others have left
  /// @throws comm::TakenForLost  it cannot load what it has to
  [[nodiscard]] std::optional<int> wait(const Placement& plan);
  /// Keeper::settle. Collective. @return  the step that is next for all
  [[nodiscard]] std::int64_t settle(std::int64_t step);
  /// The membership has changed in this step: goes by the new one.
  /// @throws comm::TakenForLost
  void change(std::int64_t step);
  /// Everything, summed over the ranks that are left. Collective.
  [[nodiscard]] ServeReport report();

 private:
  void note(const std::string& words) const;

  comm::Membership& membership_;
  comm::EnduringGroup& group_;
  std::function<void(std::string)> note_;
  Keeper keeper_;
  ServeAccount account_;
  std::vector<std::int32_t> masked_;
  std::optional<ServeJoin> joined_;  ///< of this rank, once it takes part
  Clock::time_point needed_{};       ///< since when
};
}  // namespace switchyard::runtime
