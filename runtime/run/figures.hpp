// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The figures of a run, made of what every rank has counted.
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "comm/group/group.hpp"
#include "runtime/layer/coordinator.hpp"
#include "runtime/run/job.hpp"
#include "runtime/run/run.hpp"

namespace switchyard::runtime {

/// What is known of a run before its first step.
[[nodiscard]] RunResult describe_run(const RunJob& job, const RunSettings& settings,
                                     const Coordinator& coordinator, int ranks);

/// Everybody's figures, made into those of the run. Collective.
/// @param seconds  of this rank's counted steps
/// @param load_s   that loading took here
/// @param result   with this rank's step_s, as many as everybody's
void sum_up(comm::Group& group, const Coordinator& coordinator, double seconds, double load_s,
            RunResult& result);

/// Values of everybody's output that are NaN or infinite. Collective.
[[nodiscard]] std::int64_t count_non_finite(comm::Group& group, const experts::Matrix& output);

/// SHA-256 of everybody's output in global token order, on every rank. Collective.
/// @param sink  told of the bytes on rank 0; may be empty
[[nodiscard]] std::string digest_output(
    comm::Group& group, const experts::Matrix& output,
    const std::function<void(std::span<const std::byte>)>& sink);
}  // namespace switchyard::runtime
