// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/model/model.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_list.hpp"

namespace switchyard::runtime {

std::int64_t TensorShape::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) product *= size;
  return product;
}

std::vector<TensorShape> Model::tensors() const {
  std::vector<TensorShape> shapes;
  for (ListedTensor& listed : list_tensors(*this)) shapes.push_back(std::move(listed.tensor));
  return shapes;
}

ParameterCount Model::parameters() const {
  const std::int64_t experts = message_->routed_experts();
  const std::int64_t chosen = std::min(message_->top_k(), experts);
  ParameterCount count;
  std::int64_t input = 0;
  std::int64_t output = 0;
  for (const ListedTensor& listed : list_tensors(*this)) {
    const std::int64_t elements = listed.tensor.elements();
    count.total += elements;
    // A separate tensor an expert need not divide by their number, so these are summed first.
    if (listed.part == Part::kExpert) count.active += elements;
    if (listed.part == Part::kInput) input += elements;
    if (listed.part == Part::kOutput) output += elements;
  }
  const std::int64_t routed = count.active;
  count.active = count.total - routed + routed / experts * chosen;
  count.active_less_input = count.active - input;
  count.active_less_embeddings = count.active - input - output;
  return count;
}
}  // namespace switchyard::runtime
