// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/linear.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

#include "experts/kernels/dispatch.hpp"
#include "experts/kernels/pack.hpp"

namespace switchyard::experts {
namespace {

/// Rows that are packed at once: their copy stays in the second cache.
constexpr std::int64_t kRowsAtOnce = 48;

std::string shape_of(std::int64_t rows, std::int64_t cols) {
  return "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
}
}  // namespace

PackedLinear::PackedLinear(const WeightView& weight, Isa isa)
    : in_(weight.in), out_(weight.out), isa_(isa) {
  if (weight.empty() || in_ < 1 || out_ < 1) {
    throw std::invalid_argument("linear: weight is " + shape_of(out_, in_) +
                                ", want at least [1, 1]");
  }
  panels_ = AlignedBuffer(
      static_cast<std::size_t>(panel_bytes(out_, in_, panel::kColumns, DType::kFloat32)));
  pack_whole(weight, DType::kFloat32, panels_.as<float>());
}

void PackedLinear::apply(MatrixView<const float> x, MatrixView<float> y) const {
  AlignedBuffer scratch;
  apply(x, y, scratch);
}

void PackedLinear::apply(MatrixView<const float> x, MatrixView<float> y,
                         AlignedBuffer& packed) const {
  if (x.cols != in_) {
    throw std::invalid_argument("linear: x is " + shape_of(x.rows, x.cols) + ", want " +
                                shape_of(x.rows, in_));
  }
  if (y.rows != x.rows || y.cols != out_) {
    throw std::invalid_argument("linear: y is " + shape_of(y.rows, y.cols) + ", want " +
                                shape_of(x.rows, out_));
  }
  const panel::Kernels kernels = kernels_of(isa_);
  packed.ensure(static_cast<std::size_t>(std::min(x.rows, kRowsAtOnce) * in_) * sizeof(float));
  std::array<const float*, kRowsAtOnce> rows{};
  std::array<float*, kRowsAtOnce> results{};
  for (std::int64_t first = 0; first < x.rows; first += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, x.rows - first);
    for (std::int64_t r = 0; r < count; ++r) {
      rows[static_cast<std::size_t>(r)] = x.data + (first + r) * x.stride;
      results[static_cast<std::size_t>(r)] = y.data + (first + r) * y.stride;
    }
    kernels.pack_rows(rows.data(), nullptr, count, in_, packed.as<float>());
    panel::Product product;
    product.panels = panels_.as<float>();
    product.depth = in_;
    product.outputs = out_;
    product.end_panel = panels_for(out_, panel::kColumns);
    product.x = packed.as<float>();
    product.rows = count;
    product.results = results.data();
    kernels.run(product);
  }
}
}  // namespace switchyard::experts
