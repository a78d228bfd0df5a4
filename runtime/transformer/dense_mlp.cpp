// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/dense_mlp.hpp"

#include <stdexcept>

#include "runtime/layer/always_on.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"
#include "runtime/transformer/mixer_kinds.hpp"

namespace switchyard::runtime {
namespace {
namespace v1 = switchyard::model::v1;

/// Outputs [first, first + count) of a matrix.
experts::WeightView part_of(experts::WeightView whole, std::int64_t first, std::int64_t count) {
  const std::int64_t skipped = experts::bytes_of(whole.type, first * whole.out_stride);
  whole.data = static_cast<const std::byte*>(whole.data) + skipped;
  whole.scales.out_first += first * whole.scales.out_step;
  whole.out = count;
  return whole;
}

experts::ExpertSpec spec_of(const Model& model) {
  const v1::Model& m = model.message();
  experts::ExpertSpec spec = model.block().expert;
  spec.width = m.dense_layer_intermediate_size() > 0 ? m.dense_layer_intermediate_size()
                                                     : m.dense_intermediate_size();
  if (spec.width < 1) {
    throw std::invalid_argument(
        "model: dense_intermediate_size, got 0, want the width of its "
        "dense layers");
  }
  return spec;
}

experts::ExpertTensors read(const Model& model, TensorSource& tensors, std::int64_t layer) {
  const TensorNames n = tensor_names(model.family());
  const experts::ExpertSpec spec = spec_of(model);
  const std::string at = layer_prefix(model, layer) + n.dense;
  const bool separate = n.layout == ExpertLayout::kSeparate;
  const std::string gate = at + (separate ? n.gate : "gate_proj");
  const std::string up = at + (separate ? n.up : "up_proj");
  const std::string down = at + (separate ? n.down : "down_proj");
  const auto matrix = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    return tensors.matrix(name + n.weight, out, in, n.input_first);
  };
  experts::ExpertTensors read;
  read.up = matrix(up, spec.width, spec.hidden);
  read.down = matrix(down, spec.hidden, spec.width);
  if (spec.unit == experts::Unit::kTrilinear) {  // one matrix: a factor, then the gate (OpenMoE)
    const auto both = matrix(gate, 2 * spec.width, spec.hidden);
    read.linear = read.up;
    read.up = part_of(both, 0, spec.width);
    read.gate = part_of(both, spec.width, spec.width);
  } else if (spec.unit == experts::Unit::kGated) {
    read.gate = matrix(gate, spec.width, spec.hidden);
  }
  if (spec.biases) {
    if (!read.gate.empty()) read.gate_bias = tensors.values(gate + ".bias", spec.width);
    read.up_bias = tensors.values(up + ".bias", spec.width);
    read.down_bias = tensors.values(down + ".bias", spec.hidden);
  }
  return read;
}
}  // namespace

DenseMlp::DenseMlp(const Model& model, TensorSource& tensors, std::int64_t layer,
                   const ExpertStore& store)
    : DenseMlp(spec_of(model), read(model, tensors, layer), store) {}

void DenseMlp::apply(experts::MatrixView<const float> x, experts::Matrix& out,
                     Engine& engine) const {
  out.reshape(x.rows, x.cols);
  run_network(network_, x, 0, x.rows, out, engine.always_on, engine.ffn.workers(),
              engine.ffn.scratch());
}
}  // namespace switchyard::runtime
