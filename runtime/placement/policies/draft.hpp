// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A placement while it is made, and what its ranks compute if copies share their rows evenly.
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/placement/placement.hpp"
#include "runtime/placement/policies/policy.hpp"

namespace switchyard::runtime {

class Draft {
 public:
  /// Nothing is placed.
  Draft(std::span<const double> rows, const MachineShape& shape);
  Draft(std::span<const double> rows, const MachineShape& shape, const Placement& placement);

  /// Adds a copy. The rank must have a slot left and no copy yet.
  void add(std::int32_t expert, int rank);
  void drop(std::int32_t expert, int rank);
  void move(std::int32_t expert, int from, int to);

  [[nodiscard]] int ranks() const { return static_cast<int>(experts_of_.size()); }
  [[nodiscard]] std::int64_t experts() const { return static_cast<std::int64_t>(rows_.size()); }
  [[nodiscard]] bool full(int rank) const {
    return static_cast<std::int64_t>(experts_of(rank).size()) >= slots_;
  }
  [[nodiscard]] bool hosts(int rank, std::int32_t expert) const;
  [[nodiscard]] bool takes(int rank, std::int32_t expert) const {
    return !full(rank) && !hosts(rank, expert);
  }
  /// In the order they came.
  [[nodiscard]] const std::vector<std::int32_t>& experts_of(int rank) const {
    return experts_of_[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] const std::vector<int>& hosts_of(std::int32_t expert) const {
    return hosts_of_[static_cast<std::size_t>(expert)];
  }
  [[nodiscard]] double rows(std::int32_t expert) const {
    return rows_[static_cast<std::size_t>(expert)];
  }
  /// Rows of each copy.
  [[nodiscard]] double share(std::int32_t expert) const;
  /// Rows of a rank.
  [[nodiscard]] double load(int rank) const { return loads_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] std::int64_t slots() const { return slots_; }
  /// The rank with most rows, the lowest of several.
  [[nodiscard]] int busiest() const;
  [[nodiscard]] double worst() const { return load(busiest()); }
  [[nodiscard]] Placement placement() const;

 private:
  void spread(std::int32_t expert, double sign);
  std::vector<double> rows_;
  std::int64_t slots_;
  std::vector<std::vector<std::int32_t>> experts_of_;
  std::vector<std::vector<int>> hosts_of_;
  std::vector<double> loads_;
};

/// Experts by falling load, ties to the lower id.
[[nodiscard]] std::vector<std::int32_t> by_falling_load(std::span<const double> rows);
}  // namespace switchyard::runtime
