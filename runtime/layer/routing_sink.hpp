// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Who wants to know where the tokens of a rank went.
#include <cstdint>

#include "experts/router/routing.hpp"

namespace switchyard::runtime {

class RoutingSink {
 public:
  virtual ~RoutingSink() = default;
  /// Tokens [first, first + count) of `routing` are sent by layer `layer` (MoeLayer::number). The
  /// chunks of a rank's batch come in order; experts that were dropped or masked are kDropped.
  virtual void sent(std::int64_t layer, const experts::Routing& routing, std::int64_t first,
                    std::int64_t count) = 0;
};
}  // namespace switchyard::runtime
