// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/inject.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace switchyard::runtime {

Inject inject_from(std::string_view name) {
  if (name == "none") return Inject::kNone;
  if (name == "kernel") return Inject::kKernel;
  if (name == "plan") return Inject::kPlan;
  if (name == "router") return Inject::kRouter;
  if (name == "combine") return Inject::kCombine;
  throw std::invalid_argument("--inject: got '" + std::string(name) +
                              "', want kernel, plan, router or combine");
}

void spoil_routing(experts::Routing& routing, std::int64_t experts) {
  for (std::size_t slot = 0; slot < routing.experts.size(); ++slot) {
    if (routing.experts[slot] == experts::kDropped) continue;
    routing.weights[slot] = routing.weights[slot] * 1.5F + 0.25F;
    routing.experts[slot] = static_cast<std::int32_t>((routing.experts[slot] + 1) % experts);
    return;
  }
}

void spoil_plan(DispatchPlan& plan) {
  auto& slots = plan.result_slots;
  if (slots.size() >= 2) {
    std::swap(slots.front(), slots.back());
  } else if (slots.size() == 1) {
    plan.result_offsets.assign(plan.result_offsets.size(), 0);
  }
}

void spoil_results(const Arrivals& arrivals, std::int64_t hidden) {
  if (arrivals.results.empty()) return;
  float* const row = arrivals.results.front();
  const float largest = std::abs(*std::max_element(
      row, row + hidden, [](float a, float b) { return std::abs(a) < std::abs(b); }));
  row[hidden / 2] += largest > 0 ? largest / 100 : 1e-3F;
}

void spoil_sum(experts::MatrixView<float> out) {
  if (out.rows > 0) out(0, 0) = out(0, 0) * 1.01F + 1e-3F;
}
}  // namespace switchyard::runtime
