// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How the weights of `run --stateful` change after a step: numbers that anyone can make again,
/// from (seed, layer, logical id, step, digest of the step) and nothing else. runtime/README.md has
/// the rule number by number.
#include <array>
#include <cstdint>
#include <span>

#include "experts/kernels/pack.hpp"
#include "experts/synthetic.hpp"
#include "experts/tensor.hpp"

namespace switchyard::runtime {

/// The router's place among the ids of experts, beside experts::kSharedId.
inline constexpr std::int64_t kRouterId = 1'000'000'002;

/// Outputs of a tensor that change in a step: so many, or all there are.
inline constexpr std::int64_t kChangedOutputs = 16;

/// What the changes of all networks after one step have in common.
struct StepKey {
  std::uint64_t seed = 0;
  std::int64_t step = 0;     ///< counted from 0
  std::uint64_t digest = 0;  ///< of its output: step_digest over all tokens
};

/// The change of one network (an expert, the shared ones, a router) after one step.
class NetworkChange {
 public:
  /// @param id  logical expert, experts::kSharedId or kRouterId
  NetworkChange(const StepKey& key, std::int64_t layer, std::int64_t id);

  /// Which outputs change of a tensor that has `out` of them: consecutive, from a multiple of 16.
  [[nodiscard]] experts::Outputs outputs(std::int64_t out) const;
  /// Changes them. Every one of their elements becomes another number of the same binade, with a
  /// new sign and fraction, and no two states become one; zeros and subnormal numbers stay.
  /// @param values  [out, in]; a vector is [out, 1]
  void apply(experts::Stream tensor, experts::MatrixView<float> values) const;

 private:
  std::array<std::uint32_t, 4> draw_;
};

/// This rank's part of the digest of a step; the sum of all parts (mod 2^64) is the digest, however
/// tokens are spread over ranks.
/// @param first   global number of the first token
/// @param output  [tokens of this rank, hidden]
[[nodiscard]] std::uint64_t step_digest(std::int64_t first,
                                        experts::MatrixView<const float> output);
}  // namespace switchyard::runtime
