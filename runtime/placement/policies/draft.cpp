// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/policies/draft.hpp"

#include <algorithm>
#include <numeric>

#include "experts/index.hpp"

namespace switchyard::runtime {

Draft::Draft(std::span<const double> rows, const MachineShape& shape)
    : rows_(rows.begin(), rows.end()),
      slots_(shape.slots),
      experts_of_(at(shape.ranks)),
      hosts_of_(rows.size()),
      loads_(at(shape.ranks), 0.0) {}

Draft::Draft(std::span<const double> rows, const MachineShape& shape, const Placement& placement)
    : Draft(rows, shape) {
  for (int rank = 0; rank < shape.ranks; ++rank) {
    for (const std::int32_t expert : placement.experts_of(rank)) add(expert, rank);
  }
}

double Draft::share(std::int32_t expert) const {
  const std::size_t copies = hosts_of(expert).size();
  return copies == 0 ? rows(expert) : rows(expert) / static_cast<double>(copies);
}

void Draft::spread(std::int32_t expert, double sign) {
  for (const int rank : hosts_of(expert)) loads_[at(rank)] += sign * share(expert);
}

void Draft::add(std::int32_t expert, int rank) {
  spread(expert, -1);
  hosts_of_[at(expert)].push_back(rank);
  experts_of_[at(rank)].push_back(expert);
  spread(expert, 1);
}

void Draft::drop(std::int32_t expert, int rank) {
  spread(expert, -1);
  std::erase(hosts_of_[at(expert)], rank);
  std::erase(experts_of_[at(rank)], expert);
  spread(expert, 1);
}

void Draft::move(std::int32_t expert, int from, int to) {
  drop(expert, from);
  add(expert, to);
}

bool Draft::hosts(int rank, std::int32_t expert) const {
  const auto& hosts = hosts_of(expert);
  return std::find(hosts.begin(), hosts.end(), rank) != hosts.end();
}

int Draft::busiest() const {
  return static_cast<int>(std::max_element(loads_.begin(), loads_.end()) - loads_.begin());
}

Placement Draft::placement() const {
  return Placement::from_lists(experts_of_, experts());
}

std::vector<std::int32_t> by_falling_load(std::span<const double> rows) {
  std::vector<std::int32_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int32_t a, std::int32_t b) { return rows[at(a)] > rows[at(b)]; });
  return order;
}
}  // namespace switchyard::runtime
