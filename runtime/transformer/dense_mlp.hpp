// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Gated networks that every token goes through: those of dense layers, and the one beside or
/// behind the experts (Arctic, OpenMoE). A rank holds all of it and computes its own tokens.
#include <cstdint>
#include <string>

#include "experts/ffn.hpp"
#include "runtime/layer/engine.hpp"
#include "runtime/layer/shard.hpp"
#include "runtime/model/model.hpp"
#include "runtime/transformer/tensor_source.hpp"

namespace switchyard::runtime {

class DenseMlp {
 public:
  DenseMlp() = default;
  DenseMlp(const experts::ExpertSpec& spec, const experts::ExpertTensors& tensors,
           const ExpertStore& store)
      : network_(spec, tensors, store.stored, store.isa, store.math) {}
  /// The MLP of a dense layer, by the names of the model's family.
  /// @throws std::invalid_argument  naming a tensor, or the width where the model gives none
  DenseMlp(const Model& model, TensorSource& tensors, std::int64_t layer, const ExpertStore& store);

  /// @param out  becomes [rows, hidden]
  void apply(experts::MatrixView<const float> x, experts::Matrix& out, Engine& engine) const;
  [[nodiscard]] bool empty() const { return network_.bytes() == 0; }
  [[nodiscard]] std::int64_t bytes() const { return network_.bytes(); }

 private:
  experts::PackedExpert network_;
};
}  // namespace switchyard::runtime
