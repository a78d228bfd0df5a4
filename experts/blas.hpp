// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The one door to BLAS: the same gated network through sgemm and sgemv, to compare with and to
/// check by. Nothing on the way of a token calls it, because its sums have no fixed order.
#include <string>

#include "experts/kernels/aligned.hpp"
#include "experts/tensor.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts::blas {

/// Makes the library compute on the calling thread only, in the whole process.
void use_one_thread();

/// What the library says of itself: "OpenBLAS 0.3.21 ... Cooperlake MAX_THREADS=64".
[[nodiscard]] std::string description();

/// results = F(rows), all rows in one product a matrix. The bits of a row may depend on how many
/// rows there are and on its place.
/// @param tensors  float32 with in_stride 1
/// @param rows     [rows, hidden]
/// @param results  [rows, hidden]; may not overlap rows
/// @param scratch  grown as needed and reused
/// @throws std::invalid_argument  other shapes, strides or types
void run_gemm(const ExpertSpec& spec, const ExpertTensors& tensors, MatrixView<const float> rows,
              MatrixView<float> results, AlignedBuffer& scratch);

/// The same one row at a time, by matrix-vector products: a row's bits depend on that row alone, at
/// the price of reading all weights for every row.
void run_gemv(const ExpertSpec& spec, const ExpertTensors& tensors, MatrixView<const float> rows,
              MatrixView<float> results, AlignedBuffer& scratch);
}  // namespace switchyard::experts::blas
