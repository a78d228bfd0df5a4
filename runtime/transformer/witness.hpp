// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Who looks on while a whole model computes.
#include <cstdint>
#include <string_view>

#include "experts/router/routing.hpp"
#include "experts/tensor.hpp"

namespace switchyard::runtime {

/// Is shown what a pass computes on its way, for checks against references. Names are those of
/// tests/golden/README.md: embed, attn_out, mlp_in, mlp_out, residual_mlp_out, hidden, final_norm.
/// With norms after attention and MLP too, attn_out and mlp_out are what is added: after them.
class Witness {
 public:
  virtual ~Witness() = default;
  /// @param layer  -1 outside layers
  virtual void saw(std::int64_t layer, std::string_view what,
                   experts::MatrixView<const float> rows) = 0;
  virtual void routed(std::int64_t layer, const experts::Routing& routing) = 0;
};
}  // namespace switchyard::runtime
