// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// `verify golden`: blocks computed by the official code of each family, run again through the
/// expert-parallel path at the current rank count.
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/verify/golden_file.hpp"

namespace switchyard::runtime {

/// One quantity beside its limit.
struct GoldenError {
  std::string quantity;  ///< "output"
  double error = 0;      ///< largest, in the unit of the limit
  double limit = 0;
  [[nodiscard]] double over_limit() const { return limit > 0 ? error / limit : error; }
};

struct GoldenResult {
  std::string name;
  std::string path;  ///< "p2p, avx512, float32": what computed it
  std::int64_t tokens = 0;
  std::int64_t rows_out = 0;          ///< rows that crossed ranks on the way out
  std::vector<GoldenError> errors;    ///< first the output, router logits and combine weights
  std::vector<std::string> failures;  ///< one sentence each; empty: passed
  std::string digest;                 ///< SHA-256 of a whole model's logits; a block: empty
  std::int64_t not_forward =
      0;  ///< tensors of the backward pass and the loss, which are not run here
  [[nodiscard]] double worst_over_limit() const;
  [[nodiscard]] bool passed() const { return failures.empty(); }
};

/// Limits of tests/golden/README.md: router logits 1e-5, combine weights 2e-6 x the largest (at
/// least 1), output 2e-5 of its root mean square; expert sets and counts exact; duplicate rows get
/// equal bits; no tensor of the file is left out. Collective; equal on every rank.
[[nodiscard]] GoldenResult check_golden(comm::Group& group, GoldenBlock& block,
                                        const LayerOptions& options, const std::string& placement);
}  // namespace switchyard::runtime
