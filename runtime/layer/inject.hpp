// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Wrong results on demand: a checker that never fails proves nothing. Off unless asked for.
#include <string_view>

#include "runtime/layer/arrivals.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/layer/plan.hpp"

namespace switchyard::runtime {

/// @throws std::invalid_argument  "--inject: got 'x', want kernel, plan, router or combine"
[[nodiscard]] Inject inject_from(std::string_view name);

/// The first slot goes to the next expert (or, if there is only one, gets another weight).
void spoil_routing(experts::Routing& routing, std::int64_t experts);
/// The first two results of different slots come back swapped (of one slot: for nobody).
void spoil_plan(DispatchPlan& plan);
/// One element of the first result is off by a hundredth of the row's largest, or by 1e-3 if it is
/// 0.
void spoil_results(const Arrivals& arrivals, std::int64_t hidden);
/// The first token misses its first element.
void spoil_sum(experts::MatrixView<float> out);
}  // namespace switchyard::runtime
