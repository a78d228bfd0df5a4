// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Loads that anyone can make again: the experts of a token depend on (workload, seed, step, layer,
/// token) alone. README.md specifies each, number by number.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/trace/load_table.hpp"
#include "runtime/trace/trace.hpp"

namespace switchyard::runtime {

enum class WorkloadKind {
  kBalanced,    ///< every expert as often as any other, in every `experts` tokens
  kUniform,     ///< each equally likely
  kZipf,        ///< expert e with weight (e + 1)^-exponent
  kHotExpert,   ///< one expert of a layer is chosen by `share` of the tokens
  kHotRank,     ///< one of `count` consecutive blocks of experts gets `share` of the first draws
  kRotating,    ///< as kHotExpert, and the next expert after every `count` steps
  kBurst,       ///< as kHotExpert in the last of every `count` steps, uniform in the others
  kPairs,       ///< an expert brings its partner along with probability `share`
  kRagged,      ///< uniform, and a step has from `share` of the tokens to all of them
  kZeroTokens,  ///< uniform over all but `count` experts of a layer
  kLoad,        ///< drawn by a measured load table
};

struct Workload {
  WorkloadKind kind = WorkloadKind::kUniform;
  std::string name = "uniform";  ///< as it was asked for: "rotating:0.5:100"
  double exponent = 0;
  double share = 0;
  std::int64_t count = 0;
  /// kLoad: the table, the domains that steps take in turn, and for how many steps each.
  std::shared_ptr<const LoadTable> table = {};
  std::vector<std::size_t> domains = {};
  std::int64_t domain_steps = 1;
};

/// What `--workload` may be, for help and messages.
[[nodiscard]] std::string workload_forms();

/// @param text  "zipf:1.2"; "load:FILE" reads the file, and takes all of its domains in turn
/// @throws std::invalid_argument  "--workload: got 'zip', want balanced, uniform, zipf:S, ..."
/// @throws std::system_error      the load table cannot be read
[[nodiscard]] Workload workload_from(const std::string& text);

/// @throws std::invalid_argument  "--workload: hot-rank:0.5:9 of 8 experts, want at most 8 blocks"
void validate(const Workload& workload, const TraceInfo& info);

/// Tokens of a step, of `tokens` at most.
[[nodiscard]] std::int64_t workload_tokens(const Workload& workload, std::uint64_t seed,
                                           std::int64_t step, std::int64_t tokens);
/// Experts of all tokens of a step in one layer; no weights. @pre validate() accepts it
[[nodiscard]] TraceLayer make_layer(const Workload& workload, const TraceInfo& info,
                                    std::uint64_t seed, std::int64_t step, std::int64_t layer,
                                    std::int64_t tokens);
/// Steps 0 to steps - 1 in memory, with experts.
[[nodiscard]] RoutingTrace make_trace(const Workload& workload, TraceInfo info, std::uint64_t seed,
                                      std::int64_t steps, std::int64_t tokens);
}  // namespace switchyard::runtime
