// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which experts the tokens of a job went to, step by step and layer by layer, as plain data. Knows
/// no ranks: the same tokens give the same trace wherever they were at home.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

/// Stands in a slot whose expert was masked or dropped, or that the token does not have.
inline constexpr std::int32_t kNoExpert = -1;

/// How much a trace knows; each has what those before it have.
enum class TraceDetail {
  kCounts,   ///< how often each expert was chosen
  kExperts,  ///< by which token, in which slot
  kWeights,  ///< and with what weight
};

/// "counts", "experts", "weights".
[[nodiscard]] std::string_view name_of(TraceDetail detail);

/// What holds for the whole of a trace.
struct TraceInfo {
  std::int64_t layers = 0;   ///< MoE layers
  std::int64_t experts = 0;  ///< logical ones of a layer, at most kMostTraceExperts
  std::int64_t top_k = 0;    ///< slots of a token
  TraceDetail detail = TraceDetail::kCounts;
  std::vector<std::int64_t> layer_numbers;  ///< [layers], in the model; empty: not known
  std::string model;                        ///< whose layers; empty: not known
  std::string provenance;                   ///< in words: what made this trace
};

/// One layer in one step; tokens are in global order.
struct TraceLayer {
  std::int64_t tokens = 0;
  std::vector<std::int64_t> counts;  ///< [experts], slots that chose each; of every trace
  std::vector<std::int32_t> chosen;  ///< [tokens, top_k], kNoExpert where none; empty: counts only
  std::vector<float> weights;        ///< [tokens, top_k], final; empty: not known
};

struct TraceStep {
  std::int64_t number = 0;         ///< rises from step to step, not always by one
  std::vector<TraceLayer> layers;  ///< [layers]
};

/// A whole trace in memory; a file can be read a step at a time instead (reader.hpp).
struct RoutingTrace {
  TraceInfo info;
  std::vector<TraceStep> steps;
};

/// Limits of the format, and of all that is read.
inline constexpr std::int64_t kMostTraceExperts = 65535;
inline constexpr std::int64_t kMostTraceLayers = 65536;

/// What is wrong with it, without who says so: "12 slots, want at most the 8 experts".
[[nodiscard]] std::optional<std::string> wrong_with(const TraceInfo& info);
/// "expert 3 was chosen 9 times by 8 tokens, want each at most once a token". Looks at everything.
[[nodiscard]] std::optional<std::string> wrong_with(const TraceInfo& info, const TraceLayer& layer);

/// How often each expert stands in `chosen`. @param chosen  ids below `experts`, or kNoExpert
[[nodiscard]] std::vector<std::int64_t> counts_of(const std::vector<std::int32_t>& chosen,
                                                  std::int64_t experts);

/// Slots of each expert in a window of steps: [layers][experts].
using TraceLoad = std::vector<std::vector<std::int64_t>>;
/// @param first  index of a step, not its number
/// @throws std::invalid_argument  "trace: steps 3 to 9, want within the 8 steps"
[[nodiscard]] TraceLoad load_of(const RoutingTrace& trace, std::int64_t first, std::int64_t steps);
/// Adds a step's counts. @param load  [layers][experts]
void add_load(TraceLoad& load, const TraceStep& step);
}  // namespace switchyard::runtime
