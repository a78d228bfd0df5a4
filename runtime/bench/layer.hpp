// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A whole MoE layer, from tokens to outputs: router, plan, dispatch, experts, combine, and all the
/// waiting in between. Checked against the float64 reference before it is timed, and for equal bits
/// in every repetition.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/group/group.hpp"
#include "experts/weights.hpp"
#include "runtime/bench/timing.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/report/trace_file.hpp"

namespace switchyard::runtime::bench {

struct LayerSettings {
  experts::BlockSpec block;
  bool router_bias = false;
  bool selection_bias = false;
  std::string placement = "linear";
  LayerOptions layer;
  std::vector<std::int64_t> tokens_per_rank;
  std::string routing = "model";  ///< model, uniform, zipf:S, or peers (experts::peers_routing)
  std::uint64_t seed = 1;
  Budget budget;
  std::int64_t trace_events = 0;  ///< that each thread keeps for a timeline; 0: no timeline
};

struct LayerResult {
  std::int64_t tokens_per_rank = 0;
  std::int64_t repetitions = 0;
  Summary layer_ms;     ///< slowest rank
  Summary exchange_ms;  ///< all but the products of experts and always-on networks, slowest rank
  Summary experts_ms;   ///< these products, slowest rank
  Summary wait_ms;      ///< of the exchange, for other ranks, longest
  std::vector<double> phases_ms;  ///< [kNumPhases], mean a repetition, slowest rank
  double tokens_per_s = 0;        ///< all ranks
  double exchange_share = 0;      ///< mean over ranks of exchange time over layer time
  double compute_imbalance = 1;   ///< largest over mean rank, processor time in experts' tasks
  double balancedness = 1;        ///< mean over largest number of rows a rank
  double weights_gb_per_s =
      0;  ///< weights of the experts that got rows, all ranks, over experts_ms
  std::int64_t wire_bytes = 0;  ///< a repetition, all ranks
  std::int64_t logical_bytes = 0;
  double error_of_rms = 0;  ///< of the rows that were held against the reference, largest
  std::int64_t wrong = 0;   ///< rows out of bounds, and repetitions with other bits
  std::string output_digest;
};

struct LayerReport {
  std::string transport;
  double error_limit = 0;
  std::int64_t weight_bytes = 0;  ///< packed, all ranks
  std::vector<LayerResult> results;
  Summary steadiness;  ///< seconds
  TraceSummary trace;
};

/// Checks what can be checked without weights. @throws std::invalid_argument
void validate(const LayerSettings& settings);
/// Collective.
/// @param trace  takes the text of the timeline on rank 0, if there is one
[[nodiscard]] LayerReport bench_layer(comm::Group& group, const LayerSettings& settings,
                                      const std::function<void(std::string_view)>& trace = {});
}  // namespace switchyard::runtime::bench
