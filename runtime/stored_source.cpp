// SPDX-License-Identifier: Apache-2.0
#include "runtime/stored_source.hpp"

#include <memory>
#include <utility>

#include "experts/dtype.hpp"
#include "experts/kernels/quantise.hpp"

namespace switchyard::runtime {
namespace {
/// The values of a view, rounded and dense; memory of its own.
struct RoundedMatrix {
  std::shared_ptr<std::vector<float>> values;
  experts::WeightView view;
};

float rounded_to(float value, experts::DType stored) {
  return stored == experts::DType::kBfloat16
             ? experts::widen_bfloat16(experts::narrow_bfloat16(value))
             : experts::widen_float16(experts::narrow_float16(value));
}

RoundedMatrix round_matrix(const experts::WeightView& view, experts::DType stored) {
  RoundedMatrix matrix;
  matrix.values =
      std::make_shared<std::vector<float>>(static_cast<std::size_t>(view.out * view.in));
  experts::QuantisedMatrix codes;
  const bool scaled = experts::is_scaled(stored);
  if (scaled) codes = experts::quantise(view, stored);
  float* next = matrix.values->data();
  for (std::int64_t o = 0; o < view.out; ++o) {
    for (std::int64_t i = 0; i < view.in; ++i) {
      *next++ = scaled ? codes.view.at(o, i) : rounded_to(view.at(o, i), stored);
    }
  }
  matrix.view = {matrix.values->data(), experts::DType::kFloat32, view.out, view.in, view.in, 1};
  return matrix;
}
}  // namespace

experts::ExpertTensors StoredSource::rounded(experts::ExpertTensors tensors) const {
  if (stored_ == experts::DType::kFloat32) return tensors;
  auto kept = std::make_shared<std::vector<std::shared_ptr<const void>>>();
  for (experts::WeightView* view : {&tensors.gate, &tensors.up, &tensors.linear, &tensors.down}) {
    if (view->empty()) continue;
    RoundedMatrix matrix = round_matrix(*view, stored_);
    *view = matrix.view;
    kept->push_back(std::move(matrix.values));
  }
  tensors.keep_alive = std::move(kept);
  return tensors;
}
}  // namespace switchyard::runtime
