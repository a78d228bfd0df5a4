// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/linear.hpp"

#include <stdexcept>
#include <utility>

namespace switchyard::runtime {

Linear::Linear(const experts::WeightView& weight, std::vector<float> bias, experts::Isa isa)
    : weight_(weight, isa), bias_(std::move(bias)) {
  if (bias_.empty() || static_cast<std::int64_t>(bias_.size()) == weight.out) return;
  throw std::invalid_argument("linear: bias has " + std::to_string(bias_.size()) +
                              " elements, want " + std::to_string(weight.out));
}

void Linear::apply(experts::MatrixView<const float> x, experts::MatrixView<float> y,
                   experts::AlignedBuffer& scratch) const {
  weight_.apply(x, y, scratch);
  if (bias_.empty()) return;
  for (std::int64_t r = 0; r < y.rows; ++r) {
    float* const row = y.data + r * y.stride;
    for (std::size_t o = 0; o < bias_.size(); ++o) row[o] += bias_[o];
  }
}

experts::Matrix Linear::apply(experts::MatrixView<const float> x) const {
  experts::Matrix y(x.rows, out());
  experts::AlignedBuffer scratch;
  apply(x, y.view(), scratch);
  return y;
}

std::int64_t Linear::bytes() const {
  return static_cast<std::int64_t>(sizeof(float)) *
         ((out() + 31) / 32 * 32 * in() + static_cast<std::int64_t>(bias_.size()));
}
}  // namespace switchyard::runtime
