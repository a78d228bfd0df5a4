// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What `run` is asked to do, as plain data; defaults stand here and nowhere else.
#include <cstdint>
#include <string>
#include <vector>

#include "experts/router/spec.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/model/model.hpp"
#include "runtime/rebalance/settings.hpp"
#include "runtime/trace/trace.hpp"

namespace switchyard::runtime {

/// Where and when a stateful run saves itself.
struct SaveSettings {
  std::string to;          ///< directory; empty: nowhere
  std::int64_t every = 0;  ///< steps; 0: only when the run ends
  int keep = 2;            ///< newest steps that stay
  bool async = true;       ///< steps go on while a copy is written
  bool fresh = false;      ///< begin anew, whatever is there
  std::string program;     ///< version, to be saved
};

/// Where the routing of the counted steps is recorded.
struct RecordSettings {
  std::string to;  ///< file; empty: nowhere
  TraceDetail detail = TraceDetail::kWeights;
};

struct RunSettings {
  std::string model;             ///< preset or file; empty with a checkpoint
  std::vector<std::string> set;  ///< FIELD=VALUE
  std::string checkpoint;        ///< directory; empty: synthetic weights
  std::int64_t layers = 1;       ///< the first so many MoE layers
  std::int64_t tokens = 1024;    ///< a step, all ranks together; -1: as input or trace has
  std::int64_t steps = 3;
  std::int64_t warmup = 1;  ///< steps before that are not counted
  std::uint64_t seed = 1;
  std::string weights = "auto";  ///< stored type; auto: the checkpoint's own, float32 for synthetic
  std::string routing = "model";  ///< model, uniform, zipf:S or trace:FILE
  std::string placement = "linear";
  std::string input;  ///< rows from a file; empty: synthetic
  experts::CapacitySpec capacity;
  LayerOptions layer;
  std::int64_t trace_events = 0;  ///< that each thread keeps for a timeline; 0: no timeline
  std::int64_t memory_bytes = 0;  ///< that one rank may fill; 0: not known
  PackMode pack = PackMode::kAuto;
  bool stateful = false;  ///< weights change after each step (state/rule.hpp)
  SaveSettings save;      ///< stateful only
  RecordSettings record;
  RebalanceSettings rebalance;
};

/// Zipf's exponent, 0 for uniform, negative for the model's own router.
/// @throws std::invalid_argument  "--routing: got 'x', want model, uniform or zipf:S with S from 0"
[[nodiscard]] double routing_exponent(const std::string& routing);

/// The file of trace:FILE; empty: the routing is something else.
[[nodiscard]] std::string routing_trace(const std::string& routing);

/// The model of the settings: preset, file or checkpoint, with its fields changed.
[[nodiscard]] Model model_of(const RunSettings& settings);

/// The model's MoE block with the capacity rule of the settings.
[[nodiscard]] experts::BlockSpec block_of(const RunSettings& settings, const Model& model);

/// Weights of `rank` for the layers of the settings, scales and all, beside routers.
[[nodiscard]] RankMemory rank_memory(const experts::BlockSpec& block, const Placement& placement,
                                     int rank, experts::DType stored, std::int64_t layers);

/// What a stateful run keeps beside them on `rank`: its state and, if it saves while it goes on, a
/// copy.
[[nodiscard]] std::int64_t state_memory(const RunSettings& settings,
                                        const experts::BlockSpec& block, const Placement& placement,
                                        int rank);

/// Checks what can be checked without weights, files aside. @throws std::invalid_argument
void validate(const RunSettings& settings, const Model& model);
}  // namespace switchyard::runtime
