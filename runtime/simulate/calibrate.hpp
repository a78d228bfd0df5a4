// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Measures the machine that a group of ranks runs on and describes it as one to simulate on.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/bench/ffn.hpp"
#include "runtime/simulate/fit.hpp"
#include "runtime/simulate/machine.hpp"

namespace switchyard::runtime {

struct CalibrateSettings {
  std::string name = "calibrated";
  std::string source;           ///< what was measured, when and where
  int processors = 0;           ///< that all nodes share, of an emulated cluster; 0: their own
  std::int64_t most_bytes = 0;  ///< of a message; 0: 4 MiB
  double seconds = 0.3;         ///< that all repetitions of one size may take, about
  bench::FfnSettings kernels;   ///< no rows: kernels are not measured
};

struct Calibration {
  Machine machine;
  std::vector<Residual> residuals;
  double exchange_ratio = 0;  ///< of the widest tier: longest exchange over one way
};

/// Collective; the same result on every rank. With one rank only kernels are measured, with one
/// node only its inside.
/// @param progress  called on all ranks with what comes next; may be empty
[[nodiscard]] Calibration calibrate(comm::Group& group, const CalibrateSettings& settings,
                                    const std::function<void(std::string)>& progress);
}  // namespace switchyard::runtime
