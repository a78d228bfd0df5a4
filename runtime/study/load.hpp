// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which experts the tokens of a point choose, and where that puts their rows.
#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/study/points.hpp"

namespace switchyard::runtime::study {

/// Rows of all counted steps together.
struct PointLoad {
  std::vector<std::vector<std::int64_t>> experts;  ///< [layers][experts]
  std::vector<std::vector<std::int64_t>> ranks;    ///< [layers][ranks], by the point's placement
  std::vector<double> balancedness;                ///< [steps] mean over most rows of a rank
};

/// Slots beyond which nobody waits for it.
inline constexpr std::int64_t kMostLoadSlots = 2'000'000;

/// The same tokens that run and simulate draw or replay, without running them.
/// @return  nothing where the model's router chooses, or slots are too many
[[nodiscard]] std::optional<PointLoad> load_of(const Study& study, const Point& point);
}  // namespace switchyard::runtime::study
