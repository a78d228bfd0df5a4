// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Matrices as released files hold them: plain numbers, or codes with scales in a tensor beside
/// them. Nothing is widened here.
///
/// | codes                            | scales                                              |
/// |----------------------------------|-----------------------------------------------------|
/// | NAME, F8_E4M3 [out, in]          | NAME_scale_inv, F32, one of 128 x 128 (DeepSeek-V3) |
/// | NAME, I8 [out, in]               | NAME_scale, F32 [out, in / 128, rounded up] (ours)  |
/// | NAME_blocks, U8 [out, in/32, 16] | NAME_scales, U8 [out, in/32] (gpt-oss: MXFP4)       |
#include <cstdint>
#include <string>
#include <vector>

#include "experts/weights.hpp"
#include "runtime/model/safetensors.hpp"
#include "runtime/model/tensor_views.hpp"

namespace switchyard::runtime {

/// Elements of F8_E4M3 that share a scale: "weight_block_size" of a config.json.
struct ScaleBlocks {
  std::int64_t out = 128;
  std::int64_t in = 128;
};

/// How tensors of MXFP4 end.
struct Mxfp4Names {
  std::string blocks = "_blocks";
  std::string scales = "_scales";
};

/// A matrix that was found. Tensors live as long as their set.
struct StoredMatrix {
  std::string name;  ///< of the codes or numbers
  std::string scales_name;
  const Tensor* tensor = nullptr;
  const Tensor* scales = nullptr;                  ///< null: plain numbers
  experts::DType type = experts::DType::kFloat32;  ///< of codes
};

/// @throws std::invalid_argument  "tensor NAME: missing in FILE", its scales likewise; another type
[[nodiscard]] StoredMatrix find_matrix(const TensorSet& tensors, const std::string& name,
                                       const Mxfp4Names& mxfp4 = {});
[[nodiscard]] bool has_matrix(const TensorSet& tensors, const std::string& name,
                              const Mxfp4Names& mxfp4 = {});

/// @param shape  of the matrix; codes with scales want [out, in] or [matrices, out, in]
/// @throws std::invalid_argument  "FILE: tensor NAME: shape, got [5, 7], want [8, 7]"
void require_shapes(const StoredMatrix& matrix, const std::vector<std::int64_t>& shape,
                    const ScaleBlocks& blocks);

/// Matrix `index` of those in the tensor, [out, in] of a tensor that require_shapes has seen.
/// Reads codes and scales once: none may be NaN.
/// @throws std::invalid_argument  "FILE: tensor NAME: element [3, 5] is NaN (code 127), want a
///                                number"; a scale that is no number, or under which one overflows
[[nodiscard]] experts::WeightView scaled_view(Storage& storage, const StoredMatrix& matrix,
                                              std::int64_t out, std::int64_t in, std::int64_t index,
                                              const ScaleBlocks& blocks);

/// Type and shape of such a matrix: its data are those of matrix 0, and nobody has looked at them.
[[nodiscard]] experts::WeightView scaled_outline(const StoredMatrix& matrix, std::int64_t out,
                                                 std::int64_t in, const ScaleBlocks& blocks);
}  // namespace switchyard::runtime
