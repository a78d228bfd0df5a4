// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Makes a checkpoint with experts in int8, FP8 or MXFP4 out of one in floats, tensor by tensor,
/// and says what that costs.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experts/dtype.hpp"

namespace switchyard::runtime {

/// What the experts of one layer lost. Errors are over the root mean square of the weights.
struct QuantizedLayer {
  std::int64_t layer = 0;
  std::int64_t weights = 0;
  double rms_error = 0;
  double largest_error = 0;
  std::int64_t bytes_before = 0;
  std::int64_t bytes_after = 0;  ///< codes and scales
};

/// Writes a folder like `from` in which the routed experts' matrices are codes with scales
/// (model/stored_matrix.hpp), and everything else is as it was: same shards, an index if there was
/// one, config.json with a quantization_config. Matrices that lie by input, and experts that are
/// rows of one matrix, become [experts, outputs, inputs] (model/layout_network.hpp). It is written
/// beside `output` and renamed when whole. Memory: one expert's matrix, twice, and its codes.
/// @param type  kInt8, kFp8 or kMxfp4
/// @throws std::invalid_argument  `output` exists; experts that are no floats; MXFP4 of inputs
///                                that are no multiple of 32; a weight that is no number
/// @throws std::system_error      it cannot be read or written
std::vector<QuantizedLayer> quantize_checkpoint(const std::filesystem::path& from,
                                                experts::DType type,
                                                const std::filesystem::path& output);
}  // namespace switchyard::runtime
