// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The state of a run among released weights: which tensor each of its tensors is, or which part of
/// one; and what else a run needs to go on, as text beside the weights.
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "experts/weights.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/model/checkpoint.hpp"

namespace switchyard::runtime {

/// The file beside the weights. JSON.
inline constexpr char kRunFile[] = "switchyard.json";

/// A tensor of the state where it lies in a released one.
struct ReleasedPart {
  TensorInfo state;                                    ///< [out, in], or [out] of a vector; float32
  std::string tensor;                                  ///< the released one
  std::int64_t first = 0;                              ///< element of it
  std::int64_t out = 0;                                ///< elements from one output to the next
  std::int64_t in = 1;                                 ///< elements from one input to the next
  experts::WeightView view = {};                       ///< empty: a vector
  std::vector<float> vector = {};                      ///< its values
  std::shared_ptr<experts::WeightSource> source = {};  ///< that the view looks into
};

/// All tensors of the state of these layers.
/// @throws std::invalid_argument  one that has no place as numbers: quantised, or fused biases
[[nodiscard]] std::vector<ReleasedPart> parts_of_state(const Checkpoint& released,
                                                       const std::vector<std::int64_t>& layers);
/// Values of a part, widened. @param at  first element, dense
void read_part(const ReleasedPart& part, std::int64_t at, std::span<float> to);

/// Layers of a run, as its checkpoint says them. Empty: it is none of a run.
[[nodiscard]] std::vector<std::int64_t> layers_of_run(const CheckpointInfo& info);

[[nodiscard]] std::string run_text(const CheckpointInfo& info);
/// @throws std::invalid_argument  "WHERE: step, got ..., want ..."
[[nodiscard]] CheckpointInfo run_from_text(const std::string& text, const std::string& where);
}  // namespace switchyard::runtime
