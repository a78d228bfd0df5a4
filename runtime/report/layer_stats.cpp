// SPDX-License-Identifier: Apache-2.0
#include "runtime/report/layer_stats.hpp"

namespace switchyard::runtime {
namespace {
void add(std::vector<std::int64_t>& sum, const std::vector<std::int64_t>& other) {
  if (sum.size() < other.size()) sum.resize(other.size());
  for (std::size_t e = 0; e < other.size(); ++e) sum[e] += other[e];
}
}  // namespace

PlanCounts& PlanCounts::operator+=(const PlanCounts& other) {
  tokens += other.tokens;
  slots += other.slots;
  dropped += other.dropped;
  identity += other.identity;
  computed += other.computed;
  rows += other.rows;
  rows_out += other.rows_out;
  return *this;
}

LayerStats& LayerStats::operator+=(const LayerStats& other) {
  phases += other.phases;
  planned += other.planned;
  arrived += other.arrived;
  logical_bytes += other.logical_bytes;
  wire_bytes += other.wire_bytes;
  task_seconds += other.task_seconds;
  pack_seconds += other.pack_seconds;
  add(load, other.load);
  add(masked, other.masked);
  masked_tokens += other.masked_tokens;
  add(computed, other.computed);
  return *this;
}
}  // namespace switchyard::runtime
