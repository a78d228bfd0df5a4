// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Weights to the types that have scales. Codes are rounded to nearest, ties to even.
#include <cstdint>
#include <vector>

#include "experts/weights.hpp"

namespace switchyard::experts {

/// Blocks that share a scale: [outputs, inputs].
struct BlockShape {
  std::int64_t outputs = 1;
  std::int64_t inputs = 1;
};
/// kInt8: 1 x 128; kFp8: 128 x 128, as DeepSeek-V3 has it (arXiv 2412.19437, section 3.3); kMxfp4:
/// 1 x 32.
[[nodiscard]] BlockShape blocks_of(DType scaled);

/// A matrix in one of these types, in memory of its own.
struct QuantisedMatrix {
  std::vector<std::uint8_t> codes;        ///< [out, in]; kMxfp4: [out, in / 2], whole blocks
  std::vector<float> scales;              ///< [blocks of outputs, blocks of inputs], or
  std::vector<std::uint8_t> byte_scales;  ///< so many for kMxfp4
  WeightView view;                        ///< of the above

  QuantisedMatrix() = default;
  QuantisedMatrix(QuantisedMatrix&&) = default;  // vectors keep their memory, so the view holds
  QuantisedMatrix& operator=(QuantisedMatrix&&) = default;
};

/// Scales: the largest magnitude of a block over 127 (kInt8) or 448 (kFp8); kMxfp4: 2^(floor(log2
/// of it) - 2), at least 2^-127, and what is beyond 6 of them becomes 6 (OCP MX 1.0, section 6.3).
/// A block that holds a NaN or an infinity gets the scale NaN; one whose largest magnitude is below
/// 2^-100 (kInt8, kFp8) is 0.
/// @param to  one of the types that have scales
[[nodiscard]] QuantisedMatrix quantise(const WeightView& weight, DType to);

/// Inputs [first, first + count) of an output, widened.
void widen_inputs(const WeightView& weight, std::int64_t output, std::int64_t first,
                  std::int64_t count, float* out);
}  // namespace switchyard::experts
