// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How long a MoE layer takes on a machine, in closed form: which rows cross which links is counted
/// token by token, with the placement's own rules, and all flows of a phase go at once.
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "experts/dtype.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/simulate/flows.hpp"
#include "runtime/simulate/link_use.hpp"
#include "runtime/simulate/links.hpp"

namespace switchyard::runtime {
class FastCount;

/// What crosses ranks, and what they compute.
struct FastSettings {
  std::int64_t hidden = 0;
  std::int64_t width = 0;         ///< of an expert's middle
  std::int64_t shared_width = 0;  ///< of what every token goes through at home; 0: nothing
  experts::DType weights = experts::DType::kFloat32;
  double row_bytes = 0;        ///< of a row on its way out
  double result_bytes = 0;     ///< of a row on its way home
  double cross_row_bytes = 0;  ///< the same between nodes
  double cross_result_bytes = 0;
  double slot_bytes = 12;    ///< that go out beside the rows for every slot (Entry)
  double header_bytes = 64;  ///< of a message
  bool deduplicate = true;   ///< a row goes to a rank, or a node, once
  bool two_level = false;    ///< a row goes to a node once, and on inside it
  bool relay = false;        ///< over mates that trade with one node each (comm/exchange/relay.hpp)
  bool announce = false;     ///< every rank tells every other how much comes (p2p), or every node
  bool inside_messages = true;  ///< ranks of a node send messages; false: they share memory
  bool network = true;          ///< false: it takes no time
  bool balanced = false;        ///< computing is spread evenly over ranks, whatever the routing
};

/// Who chose what; tokens are at home in equal consecutive parts, as in `run`.
struct LayerChoice {
  std::int64_t tokens = 0;
  std::int64_t top_k = 0;
  std::span<const std::int32_t> chosen;  ///< [tokens, top_k], ids from 0 or kNoExpert
};

/// Of one layer. Phases follow each other: each begins when the last rank has ended the one before.
struct LayerEstimate {
  FlowTime dispatch, combine;
  double compute_s = 0;
  std::string compute_limit;  ///< "rank 3: 812 rows", "processors of node 2"
  double balancedness = 1;    ///< mean over largest rows of a rank
  double logical_bytes = 0;   ///< every slot out and back, own rank included
  double wire_bytes = 0;      ///< between ranks
  std::array<double, kAllTiers.size()> tier_bytes{};
  [[nodiscard]] double seconds() const { return dispatch.seconds + compute_s + combine.seconds; }
};

/// A machine and so many of its ranks. Counts what links carried over all layers it was asked for.
class FastEngine {
 public:
  FastEngine(const Machine& machine, FabricLinks fabric, int ranks);

  /// @throws std::invalid_argument  an expert that the placement does not have; ranks that differ;
  ///         no rate for the kernel
  [[nodiscard]] LayerEstimate layer(const LayerChoice& choice, const Placement& placement,
                                    const FastSettings& settings);

  /// Over all layers so far, the busiest first.
  [[nodiscard]] std::vector<LinkUse> busiest(std::size_t most) const;
  void forget_use();
  [[nodiscard]] Links& links() { return links_; }

 private:
  void compute(const FastCount& counts, const Placement& placement, const FastSettings& settings,
               std::int64_t tokens, LayerEstimate& estimate) const;

  const Machine& machine_;
  int ranks_;
  Links links_;
  std::vector<double> bytes_;  ///< [links]
};
}  // namespace switchyard::runtime
