// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Numbers of a mapped tensor as the experts want them: in place where type and alignment allow,
/// else in a copy that lives as long as the views of it.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "experts/weights.hpp"
#include "runtime/model/safetensors.hpp"

namespace switchyard::runtime {

/// A run of numbers, dense.
struct Numbers {
  const void* data = nullptr;
  experts::DType type = experts::DType::kFloat32;
};

/// Owns what views look at: the mapped files and the copies.
class Storage {
 public:
  explicit Storage(std::shared_ptr<const TensorSet> files) : files_(std::move(files)) {}

  /// Elements [first, first + count), in place; copied if misaligned.
  /// @param tensor  of these files, and of a type that require_float accepts
  [[nodiscard]] Numbers place(const Tensor& tensor, std::int64_t first, std::int64_t count);

 private:
  std::shared_ptr<const TensorSet> files_;
  std::vector<std::vector<float>> floats_;
  std::vector<std::vector<std::uint16_t>> halves_;  ///< BF16 and F16
};

/// Of a tensor that require_float accepts.
[[nodiscard]] experts::DType float_type(const Tensor& tensor);
/// @throws std::invalid_argument  "FILE: tensor NAME: dtype, got I8, want F32, BF16 or F16"
void require_float(const Tensor& tensor, const std::string& name);
/// @throws std::invalid_argument  "FILE: tensor NAME: dtype, got F32, want U8"
void require_dtype(const Tensor& tensor, const std::string& name, const std::string& dtype);
/// @throws std::invalid_argument  "FILE: tensor NAME: shape, got [5, 7], want [8, 7]"
void require_shape(const Tensor& tensor, const std::string& name,
                   const std::vector<std::int64_t>& shape);

/// Elements [first, first + count) widened to float32.
[[nodiscard]] std::vector<float> read_floats(const Tensor& tensor, std::int64_t first,
                                             std::int64_t count);
}  // namespace switchyard::runtime
