// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One expert on one thread a rank: types of weights, numbers of rows, and how far from what the
/// processor can do at most. Weights are cold: as many experts take turns as no cache can hold. The
/// probes of memory and arithmetic take turns with the kernels.
#include <cstdint>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "experts/ffn.hpp"
#include "runtime/bench/timing.hpp"

namespace switchyard::runtime::bench {

struct FfnSettings {
  experts::ExpertSpec expert;
  std::vector<experts::DType> weights;  ///< stored types
  std::vector<experts::Math> maths;     ///< kNative is left out where there is nothing native
  std::vector<std::int64_t> rows;
  experts::Isa isa = experts::best_isa();
  bool openblas = false;        ///< beside float32: the same through sgemm
  bool shared_pages = false;    ///< beside each: weights in memory as a node's ranks share it
  bool free_order = false;      ///< beside float32 products: additions in any order
  std::int64_t cold_bytes = 0;  ///< of weights that take turns; 0: 400 MB or four last caches
  std::uint64_t seed = 1;
  Budget budget;
  bool inject = false;  ///< spoil a result, to see that it is caught
};

struct FfnResult {
  experts::DType weights = experts::DType::kFloat32;
  experts::Math math = experts::Math::kFloat32;
  std::string math_name;  ///< what products were really computed in
  std::int64_t rows = 0;
  std::int64_t repetitions = 0;
  std::int64_t experts = 0;       ///< that took turns
  std::int64_t weight_bytes = 0;  ///< of one
  Summary us;
  double cpu_us_median = 0;     ///< processor time, without what others took of it
  double gflops = 0;            ///< a rank
  double weights_gb_per_s = 0;  ///< a rank
  double read_gb_per_s = 0;     ///< the probe's, beside this row
  double peak_gflops = 0;       ///< the probe's, beside this row
  std::string peak_of;          ///< what it probed: "float32" multiply-adds, "amx-bf16", ...
  /// The longer of what the probes allow for bytes and for operations, over the time; medians.
  double roofline_fraction = 0;
  double cpu_roofline_fraction = 0;  ///< the same of processor times
  double peak_fraction = 0;          ///< of the arithmetic probe, by processor times
  double error_of_rms = 0;
  double error_limit = 0;
  std::int64_t wrong = 0;  ///< results out of bounds, or with other bits than the row alone has
  // Where they were asked for, medians over repetitions of neighbours in time; else 0.
  double shared_pages_us_median = 0;
  double shared_pages_ratio = 0;  ///< time on shared pages over time on private ones
  double free_order_us_median = 0;
  double order_cost = 0;  ///< our time over that in any order, less 1
  double openblas_us_median = 0;
  double openblas_ratio = 0;  ///< sgemm's time over ours
  double openblas_error_of_rms = 0;
};

struct FfnReport {
  std::vector<FfnResult> results;
  std::string openblas;  ///< its own words, if it was asked for
  Summary steadiness;    ///< seconds
};

/// Collective; every rank does the same on its own weights at the same time.
[[nodiscard]] FfnReport bench_ffn(comm::Group& group, const FfnSettings& settings);
}  // namespace switchyard::runtime::bench
