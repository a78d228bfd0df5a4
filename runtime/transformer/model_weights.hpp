// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// All weights of a whole model, a layer at a time, so that nothing has to be held twice.
#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "runtime/model/checkpoint.hpp"
#include "runtime/transformer/checkpoint_tensors.hpp"
#include "runtime/transformer/tensor_source.hpp"

namespace switchyard::runtime {

class ModelWeights {
 public:
  virtual ~ModelWeights() = default;
  [[nodiscard]] virtual const Model& model() const = 0;
  /// What is outside the MoE blocks. Views from it live as long as it does.
  [[nodiscard]] virtual std::unique_ptr<TensorSource> tensors() = 0;
  /// @throws std::invalid_argument  a layer without experts; a tensor that is missing or misshapen
  [[nodiscard]] virtual std::unique_ptr<experts::WeightSource> block(std::int64_t layer) = 0;
  /// Called when all has been read. @throws std::invalid_argument  a tensor that nobody asked for
  virtual void finish() {}
};

/// Those of a released checkpoint, which must outlive it.
class CheckpointWeights final : public ModelWeights {
 public:
  explicit CheckpointWeights(const Checkpoint& checkpoint);
  [[nodiscard]] const Model& model() const override { return checkpoint_.model(); }
  [[nodiscard]] std::unique_ptr<TensorSource> tensors() override;
  [[nodiscard]] std::unique_ptr<experts::WeightSource> block(std::int64_t layer) override;
  /// What a release has beside its text model is not asked for: other towers, layers for
  /// multi-token prediction, tables of frequencies, a head that is the embedding again.
  /// @throws std::invalid_argument  "FILE: tensor NAME: unexpected, ..." for any other
  void finish() override;

 private:
  const Checkpoint& checkpoint_;
  CheckpointTensors::Shapes shapes_;
  std::set<std::string> used_;
};
}  // namespace switchyard::runtime
