// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where the weights outside the MoE blocks come from: embedding, norms, attention, dense MLPs,
/// head. Names are those of the released checkpoint.
#include <cstdint>
#include <string>
#include <vector>

#include "experts/weights.hpp"

namespace switchyard::runtime {

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// A matrix y = W x. Valid while the source lives.
  /// @param input_first  it lies as [in, out] in the file
  /// @throws std::invalid_argument  "tensor NAME: missing in FILE", or another shape or type
  [[nodiscard]] virtual experts::WeightView matrix(const std::string& name, std::int64_t out,
                                                   std::int64_t in, bool input_first = false) = 0;
  /// Any shape with that many elements, in order, widened to float32.
  [[nodiscard]] virtual std::vector<float> values(const std::string& name,
                                                  std::int64_t elements) = 0;
  [[nodiscard]] virtual bool has(const std::string& name) const = 0;
};
}  // namespace switchyard::runtime
