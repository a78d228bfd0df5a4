// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The parts that a run is made of before its first step: model, weights, tokens and layers.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/layer/coordinator.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/run/settings.hpp"
#include "runtime/run/token_source.hpp"
#include "runtime/trace/replay.hpp"

namespace switchyard::runtime {

/// What every rank finds out for itself before the first collective of the run.
struct RunJob {
  std::optional<Checkpoint> checkpoint;
  std::optional<Model> model;
  experts::BlockSpec block;
  std::optional<Placement> placement;     ///< of all layers, or of the first
  std::vector<Placement> of_layers = {};  ///< [layers] if they have their own; else empty
  std::unique_ptr<TokenSource> source;
  std::vector<std::shared_ptr<experts::WeightSource>> weights;  ///< [layers]
  LayerOptions options;
  std::int64_t tokens = 0;              ///< a step; the most of any if they differ
  std::shared_ptr<TraceReplay> replay;  ///< who chooses experts, and how many tokens a step has
};

/// The placement of the ith layer that runs.
[[nodiscard]] inline const Placement& placement_of(const RunJob& job, std::size_t i) {
  return job.of_layers.empty() ? *job.placement : job.of_layers[i];
}

/// Not collective. @throws std::invalid_argument, std::system_error  what is wrong with the
/// settings
[[nodiscard]] RunJob prepare_job(const RunSettings& settings, int rank, int ranks);

/// Of step `step`, counted from 0.
[[nodiscard]] std::int64_t tokens_of(const RunJob& job, std::int64_t step);

/// Decides what is packed ahead, before anything is. Collective.
/// @param warn  may be empty
void settle_packing(comm::Group& group, const RunSettings& settings, RunJob& job,
                    const std::function<void(std::string)>& warn);

/// Loads the layers, which take the job's weights and keep what they still need of them.
/// Collective.
/// @param numbers  of the model's MoE layers
[[nodiscard]] Coordinator load_layers(comm::Group& group, RunJob& job,
                                      std::span<const std::int64_t> numbers);

/// The routing of `share` where a trace or the settings choose experts; else empty.
/// @param settings, job  outlive it
[[nodiscard]] GivenRouting given_routing(const RunSettings& settings, const RunJob& job,
                                         TokenShare share);
/// The same without traces.
[[nodiscard]] GivenRouting given_routing(const RunSettings& settings,
                                         const experts::RouterSpec& spec, TokenShare share);
}  // namespace switchyard::runtime
