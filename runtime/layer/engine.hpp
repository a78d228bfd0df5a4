// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What the layers of a group take turns in using: the exchange, the board of tasks, the threads,
/// and memory that is kept from call to call, so that nothing is allocated on the path of a row.
#include <memory>
#include <string>
#include <vector>

#include "comm/exchange/cost.hpp"
#include "comm/exchange/exchange.hpp"
#include "comm/group/group.hpp"
#include "experts/router/router.hpp"
#include "runtime/layer/always_on.hpp"
#include "runtime/layer/grouped_ffn.hpp"
#include "runtime/layer/plan.hpp"
#include "runtime/layer/route_ahead.hpp"
#include "runtime/layer/stages.hpp"
#include "runtime/layer/work_board.hpp"

namespace switchyard::runtime {

struct EngineOptions {
  comm::ExchangeOptions exchange;
  comm::RoundShape expected{};   ///< of a round, for who chooses the exchange; equal on all ranks
  int threads = 1;               ///< that compute, a rank; changes no bit
  bool node_queue = true;        ///< ranks of a node take each other's tasks, where they can
  Timeline* timeline = nullptr;  ///< told what happens when; outlives the engine; null: nobody
};

/// Collective over the group from construction on; the group must outlive it.
class Engine {
 public:
  Engine(comm::Group& group, const EngineOptions& options);
  /// Another exchange of the same kind, over a group whose ranks have changed. Collective.
  void reopen(comm::Group& group);

  comm::ExchangeChoice choice;  ///< of the exchange, and why
  std::unique_ptr<comm::Exchange> exchange;
  WorkBoard board;
  GroupedFfn ffn;
  int sharers;  ///< threads of the node that take tasks

  // Of the call that is under way.
  experts::Routing routing;
  experts::Routing masked;  ///< a given one without experts that were lost
  RouteAhead ahead;
  experts::RouterScratch router;
  DispatchPlan plan;
  PlanScratch planner;
  StageCutter cutter;
  std::vector<std::int64_t> next;       ///< dispatch: where each expert's next row goes
  std::vector<const float*> result_of;  ///< combine: [slots of the chunk]
  std::vector<const float*> sum_rows;   ///< combine: of one token
  std::vector<float> sum_weights;       ///< the same
  // Of this round, for presum: what came, where answers go, and each entry's partial result.
  const comm::Delivery* delivery = nullptr;
  std::span<std::byte* const> returns;
  std::vector<const float*> partials;
  AlwaysOnWork always_on;
};
}  // namespace switchyard::runtime
