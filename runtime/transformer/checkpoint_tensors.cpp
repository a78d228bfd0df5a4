// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/checkpoint_tensors.hpp"

#include <stdexcept>

#include "runtime/model/checked_json.hpp"

namespace switchyard::runtime {
namespace {

/// Without extents of 1, which releases of a family write or leave out.
std::vector<std::int64_t> squeezed(std::vector<std::int64_t> shape) {
  std::erase(shape, 1);
  return shape;
}
}  // namespace

std::string CheckpointTensors::in_file(const std::string& name) const {
  if (tensors_->find(name) != nullptr) return name;
  const std::string tower = "language_model.";
  if (tensors_->find(tower + name) != nullptr) return tower + name;
  if (name.starts_with("model.")) {  // "model.layers" as "model.language_model.layers"
    const std::string inner = "model." + tower + name.substr(6);
    if (tensors_->find(inner) != nullptr) return inner;
  }
  if (name.starts_with(tower) && tensors_->find(name.substr(tower.size())) != nullptr) {
    return name.substr(tower.size());
  }
  return name;
}

bool CheckpointTensors::has(const std::string& name) const {
  return tensors_->find(in_file(name)) != nullptr;
}

const Tensor& CheckpointTensors::take(const std::string& name) {
  const std::string full = in_file(name);
  const Tensor& tensor = tensors_->at(full);
  require_float(tensor, full);
  if (used_ != nullptr) used_->insert(full);
  return tensor;
}

experts::WeightView CheckpointTensors::matrix(const std::string& name, std::int64_t out,
                                              std::int64_t in, bool input_first) {
  const StoredMatrix found = find_matrix(*tensors_, in_file(name));
  if (found.scales != nullptr) {
    if (input_first) require_float(*found.tensor, found.name);
    require_shapes(found, {out, in}, blocks_);
    if (used_ != nullptr) used_->insert({found.name, found.scales_name});
    return scaled_view(storage_, found, out, in, 0, blocks_);
  }
  const Tensor& tensor = take(name);
  require_shape(tensor, name, input_first ? std::vector{in, out} : std::vector{out, in});
  const Numbers numbers = storage_.place(tensor, 0, tensor.elements());
  return {.data = numbers.data,
          .type = numbers.type,
          .out = out,
          .in = in,
          .out_stride = input_first ? 1 : in,
          .in_stride = input_first ? out : 1};
}

std::vector<float> CheckpointTensors::values(const std::string& name, std::int64_t elements) {
  const Tensor& tensor = take(name);
  if (tensor.elements() != elements) {
    throw std::invalid_argument(tensor.file + ": tensor " + shown(name) + ": elements, got " +
                                std::to_string(tensor.elements()) + ", want " +
                                std::to_string(elements));
  }
  if (shapes_ != nullptr) {
    const auto listed = shapes_->find(name);
    if (listed != shapes_->end() && squeezed(listed->second) != squeezed(tensor.shape)) {
      require_shape(tensor, name, listed->second);
    }
  }
  return read_floats(tensor, 0, elements);
}
}  // namespace switchyard::runtime
