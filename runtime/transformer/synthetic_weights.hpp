// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A whole model of numbers that anyone can make again (experts/README.md has every stream), to try
/// and to time any model without its checkpoint.
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "experts/kernels/aligned.hpp"
#include "runtime/transformer/model_weights.hpp"

namespace switchyard::runtime {

/// Matrices and vectors outside the MoE blocks. A tensor depends on the seed and its name, never on
/// who asks or when.
class SyntheticTensors final : public TensorSource {
 public:
  /// Shapes as a release of the model has them, by name.
  using Shapes = std::map<std::string, std::vector<std::int64_t>>;

  /// @param shapes  of the model; outlives this
  SyntheticTensors(const Shapes& shapes, std::uint64_t seed) : shapes_(shapes), seed_(seed) {}

  [[nodiscard]] experts::WeightView matrix(const std::string& name, std::int64_t out,
                                           std::int64_t in, bool input_first = false) override;
  [[nodiscard]] std::vector<float> values(const std::string& name, std::int64_t elements) override;
  [[nodiscard]] bool has(const std::string& name) const override { return shapes_.contains(name); }

 private:
  const Shapes& shapes_;
  std::uint64_t seed_;
  std::vector<experts::AlignedBuffer> matrices_;
};

class SyntheticWeights final : public ModelWeights {
 public:
  SyntheticWeights(Model model, std::uint64_t seed);
  [[nodiscard]] const Model& model() const override { return model_; }
  [[nodiscard]] std::unique_ptr<TensorSource> tensors() override;
  [[nodiscard]] std::unique_ptr<experts::WeightSource> block(std::int64_t layer) override;

 private:
  Model model_;
  std::uint64_t seed_;
  SyntheticTensors::Shapes shapes_;
};
}  // namespace switchyard::runtime
