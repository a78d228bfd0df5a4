// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The block that tests of whole layers share: small, with a shared expert.
#include <cstdint>

#include "experts/weights.hpp"

namespace switchyard::tests {

/// Softmax, top 3, and a shared expert like the others.
inline experts::BlockSpec small_block(std::int64_t hidden, std::int64_t width,
                                      std::int64_t experts) {
  experts::BlockSpec block;
  block.router.hidden = block.expert.hidden = hidden;
  block.expert.width = width;
  block.router.experts = experts;
  block.router.top_k = 3;
  block.shared = block.expert;
  return block;
}
}  // namespace switchyard::tests
