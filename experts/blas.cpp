// SPDX-License-Identifier: Apache-2.0
#include "experts/blas.hpp"

#include <cblas.h>
#include <climits>
#include <stdexcept>

#include "experts/kernels/activation.hpp"

namespace switchyard::experts::blas {
namespace {

void require_plain(const char* name, const WeightView& weight, std::int64_t out, std::int64_t in) {
  const bool fits = weight.out == out && weight.in == in && weight.out_stride <= INT_MAX;
  if (fits && weight.type == DType::kFloat32 && weight.in_stride == 1) return;
  throw std::invalid_argument(
      std::string("blas: ") + name + " is " + std::string(name_of(weight.type)) + " [" +
      std::to_string(weight.out) + ", " + std::to_string(weight.in) + "] with stride " +
      std::to_string(weight.in_stride) + ", want float32 [" + std::to_string(out) + ", " +
      std::to_string(in) + "] with stride 1");
}

void require_rows(const char* name, std::int64_t rows, std::int64_t cols, std::int64_t want_rows,
                  std::int64_t want_cols) {
  if (rows == want_rows && cols == want_cols && rows <= INT_MAX) return;
  throw std::invalid_argument(std::string("blas: ") + name + " are [" + std::to_string(rows) +
                              ", " + std::to_string(cols) + "], want [" +
                              std::to_string(want_rows) + ", " + std::to_string(want_cols) + "]");
}

/// y[r][o] = sum over i of weight[o][i] x[r][i]; one row is a matrix-vector product.
using Product = void (*)(const WeightView& weight, MatrixView<const float> x, MatrixView<float> y);

void gemm(const WeightView& weight, MatrixView<const float> x, MatrixView<float> y) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(x.rows),
              static_cast<int>(weight.out), static_cast<int>(weight.in), 1.0F, x.data,
              static_cast<int>(x.stride), static_cast<const float*>(weight.data),
              static_cast<int>(weight.out_stride), 0.0F, y.data, static_cast<int>(y.stride));
}

void gemv(const WeightView& weight, MatrixView<const float> x, MatrixView<float> y) {
  for (std::int64_t r = 0; r < x.rows; ++r) {
    cblas_sgemv(CblasRowMajor, CblasNoTrans, static_cast<int>(weight.out),
                static_cast<int>(weight.in), 1.0F, static_cast<const float*>(weight.data),
                static_cast<int>(weight.out_stride), x.row(r).data(), 1, 0.0F, y.row(r).data(), 1);
  }
}

void add_bias(MatrixView<float> y, const std::vector<float>& bias) {
  if (bias.empty()) return;
  for (std::int64_t r = 0; r < y.rows; ++r) {
    for (std::int64_t c = 0; c < y.cols; ++c) y(r, c) += bias[static_cast<std::size_t>(c)];
  }
}

void run(const ExpertSpec& spec, const ExpertTensors& tensors, MatrixView<const float> rows,
         MatrixView<float> results, AlignedBuffer& scratch, Product product) {
  const bool gated = spec.unit != Unit::kPlain;
  if (gated) require_plain("gate", tensors.gate, spec.width, spec.hidden);
  require_plain("up", tensors.up, spec.width, spec.hidden);
  const bool trilinear = spec.unit == Unit::kTrilinear;
  if (trilinear) require_plain("linear", tensors.linear, spec.width, spec.hidden);
  require_plain("down", tensors.down, spec.hidden, spec.width);
  require_rows("rows", rows.rows, rows.cols, rows.rows, spec.hidden);
  require_rows("results", results.rows, results.cols, rows.rows, spec.hidden);
  if (rows.rows == 0) return;
  const std::int64_t size = rows.rows * spec.width;
  scratch.ensure(static_cast<std::size_t>(3 * size) * sizeof(float));
  const MatrixView<float> up(scratch.as<float>(), rows.rows, spec.width);
  const MatrixView<float> gate(scratch.as<float>() + size, rows.rows, spec.width);
  const MatrixView<float> linear(scratch.as<float>() + 2 * size, rows.rows, spec.width);
  product(tensors.up, rows, up);
  add_bias(up, tensors.up_bias);
  if (gated) {
    product(tensors.gate, rows, gate);
    add_bias(gate, tensors.gate_bias);
  }
  if (trilinear) product(tensors.linear, rows, linear);
  for (std::int64_t i = 0; i < size; ++i) {
    up.data[i] =
        gated ? gated_unit(spec, gate.data[i], up.data[i]) : activate(spec.activation, up.data[i]);
    if (trilinear) up.data[i] *= linear.data[i];
  }
  product(tensors.down, up, results);
  add_bias(results, tensors.down_bias);
}
}  // namespace

void use_one_thread() {
  openblas_set_num_threads(1);
}

std::string description() {
  return openblas_get_config();
}

void run_gemm(const ExpertSpec& spec, const ExpertTensors& tensors, MatrixView<const float> rows,
              MatrixView<float> results, AlignedBuffer& scratch) {
  run(spec, tensors, rows, results, scratch, gemm);
}

void run_gemv(const ExpertSpec& spec, const ExpertTensors& tensors, MatrixView<const float> rows,
              MatrixView<float> results, AlignedBuffer& scratch) {
  run(spec, tensors, rows, results, scratch, gemv);
}
}  // namespace switchyard::experts::blas
