// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The main job: MoE layers over a stream of tokens, measured and digested.
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/rebalance/settings.hpp"
#include "runtime/report/trace_file.hpp"
#include "runtime/run/settings.hpp"

namespace switchyard::runtime {

/// Milliseconds of a phase a step. Wall time is work plus waiting for other ranks; the slowest rank
/// is the one with most of what is asked for, so it may be another one in each line.
struct PhaseResult {
  std::string name;
  double slowest_rank_ms = 0;
  double mean_ms = 0;  ///< over ranks, as all means here
  double slowest_rank_work_ms = 0;
  double mean_work_ms = 0;
  double slowest_rank_wait_ms = 0;
  double mean_wait_ms = 0;
};

/// Counted steps that are told one by one.
inline constexpr std::size_t kMostStepTimes = 1000;

/// What saving cost; times are the slowest rank's.
struct SaveReport {
  std::int64_t saved = 0;
  std::int64_t failed = 0;
  std::int64_t skipped = 0;       ///< one was still under way
  double bytes = 0;               ///< of the last one, all files
  double write_s = 0;             ///< from beginning to verdict, all saves
  std::int64_t beside = 0;        ///< begun between two steps
  double stall_s = 0;             ///< that steps waited for those, all of them
  double longest_stall_s = 0;     ///< of one save
  double last_s = 0;              ///< of the one at the end, which nothing goes on beside
  std::string last_problem = {};  ///< the one at the end failed, and why
};

/// Figures of the counted steps. Equal on every rank; `a step` sums all ranks and layers.
struct RunResult {
  std::string model;
  std::string router;            ///< in words
  std::string transport;         ///< that was taken
  std::string exchange;          ///< why, if it was chosen by its cost
  std::string wire = "float32";  ///< of rows between nodes
  std::string isa;
  std::string weights;     ///< stored type
  std::string math;        ///< that was asked for: float32 or native
  std::string math_name;   ///< what ran: float32, amx-bf16, avx512-bf16 or int8
  std::string routing;     ///< who chose experts: model, uniform, zipf:S
  bool gathers = false;    ///< a rule over the whole batch gathered routings, which no byte counts
  std::string invariance;  ///< empty, or which choice gave law 1 up
  int ranks = 1;
  int idle_ranks = 0;
  std::int64_t layers = 1;
  std::int64_t tokens = 0;          ///< a step; the most of any if they differ
  std::int64_t first_step = 0;      ///< where it went on; 0: at the beginning
  std::int64_t steps = 0;           ///< counted
  std::int64_t all_tokens = 0;      ///< of all counted steps
  double seconds = 0;               ///< all counted steps, slowest rank
  std::vector<double> step_s = {};  ///< each of them, slowest rank; the first kMostStepTimes
  double tokens_per_s = 0;
  double load_s = 0;  ///< reading and packing weights, slowest rank
  std::vector<PhaseResult> phases;
  double rows_min = 0;  ///< (token, slot) rows computed a rank and step
  double rows_mean = 0;
  double rows_max = 0;
  double balancedness = 1;       ///< rows_mean / rows_max
  double compute_imbalance = 1;  ///< largest over mean rank, of processor time in experts' tasks
  bool node_queue = false;       ///< ranks of a node took each other's tasks
  double slots = 0;              ///< a step
  double dropped = 0;            ///< a step
  double identity = 0;           ///< a step
  double rows_out = 0;           ///< rows that crossed ranks on the way out, a step
  double logical_bytes = 0;      ///< a step
  double wire_bytes = 0;         ///< a step
  double weight_bytes = 0;       ///< packed, largest rank
  std::int64_t non_finite = 0;   ///< values of the output that are NaN or infinite
  std::string output_digest;
  bool stateful = false;
  std::string state_digest;                  ///< of a stateful run
  double state_ms = 0;                       ///< that changing weights took a step, slowest rank
  std::optional<SaveReport> saving;          ///< of a run that saves itself
  std::optional<RebalanceReport> rebalance;  ///< of one whose experts may move
  bool stopped = false;  ///< asked to leave before its last step; figures are of none
  PackReport packing;
  std::int64_t recorded_bytes = 0;  ///< of the routing's trace, on rank 0
  TraceSummary trace;               ///< of the counted steps, if they were recorded
};

/// Where a run reports while it works; all optional.
struct RunHooks {
  std::function<bool()> stop;  ///< whether to leave after the step that is under way, on any rank
  std::function<void(std::int64_t done, std::int64_t of)> progress;  ///< steps, on every rank
  std::function<void(std::string)> warn;                             ///< on rank 0
  std::function<void(std::span<const std::byte>)> output;            ///< output rows, on rank 0
  std::function<void(std::string_view)> trace;  ///< text of the timeline, on rank 0
  std::function<int(std::string_view)>
      fails;  ///< errno that a call on files of saves is to fail with
};

/// Collective. @throws comm::CollectiveError and what the parts throw
[[nodiscard]] RunResult run(comm::Group& group, const RunSettings& settings, const RunHooks& hooks);
}  // namespace switchyard::runtime
