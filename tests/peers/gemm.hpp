// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A library's matrix product, as the peers of alltoallv_moe.cpp use it.
#include <memory>
#include <string>
#include <vector>

namespace peers {

/// y = x W^T for the weights of several experts, all of one shape [outputs, inputs].
class Gemm {
 public:
  virtual ~Gemm() = default;
  /// The next expert's weights, [outputs, inputs], row-major.
  virtual void add(std::vector<float> weights) = 0;
  /// @param x  [rows, inputs]  @param y  [rows, outputs]
  virtual void run(int expert, int rows, const float* x, float* y) = 0;
};

/// @param type  "float32", or what else the library has
/// @throws std::invalid_argument  the library does not have it
std::unique_ptr<Gemm> make_gemm(const std::string& type, int outputs, int inputs);
}  // namespace peers
