// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a run has to do with routing traces: recording one, and saying what replaying one means.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "comm/group/group.hpp"
#include "runtime/layer/coordinator.hpp"
#include "runtime/run/job.hpp"
#include "runtime/run/settings.hpp"
#include "runtime/trace/recorder.hpp"

namespace switchyard::runtime {

/// What a trace of the model's layers of these numbers says of itself.
/// @param numbers  of MoE layers in the model
[[nodiscard]] TraceInfo trace_info(const Model& model, const experts::RouterSpec& router,
                                   std::vector<std::int64_t> numbers, TraceDetail detail,
                                   std::string provenance);

/// Opens the file of the settings. Collective. @return  null: nothing is to be recorded
[[nodiscard]] std::unique_ptr<RoutingRecorder> record_routing(comm::Group& group,
                                                              const RunSettings& settings,
                                                              const RunJob& job);
void listen(RoutingRecorder& recorder, Coordinator& layers);
/// Writes the step that is over, unless it does not count. Collective.
void record_step(RoutingRecorder& recorder, const TokenShare& share, std::int64_t step,
                 bool counts);

/// Tells what of a replayed run its trace does not decide.
void describe_replay(const RunSettings& settings, const RunJob& job,
                     const std::function<void(std::string)>& warn);
}  // namespace switchyard::runtime
