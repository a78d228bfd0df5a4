// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Weights that already lie in the caller's memory, as a source.
#include <functional>
#include <span>

#include "experts/weights.hpp"

namespace switchyard::experts {

/// The matrices of one network, dense and row-major, [out, in] (y = W x). The kinds that a unit
/// does not have stay empty.
struct NetworkSpans {
  std::span<const float> gate;    ///< [width, hidden]
  std::span<const float> up;      ///< [width, hidden]
  std::span<const float> linear;  ///< [width, hidden]
  std::span<const float> down;    ///< [hidden, width]
};

/// Views of the caller's float32 weights: nothing is copied here, and a layer packs what it needs
/// while it is made.
class SpanSource final : public WeightSource {
 public:
  /// @param router   [all experts, hidden]
  /// @param experts  called with the logical ids of this rank's experts only
  SpanSource(BlockSpec spec, std::span<const float> router,
             std::function<NetworkSpans(std::int64_t)> experts);
  /// @throws std::invalid_argument  "expert 3: gate has 10 values, want 12"
  [[nodiscard]] RouterTensors router() override;
  [[nodiscard]] ExpertTensors expert(std::int64_t logical) override;

 private:
  BlockSpec spec_;
  std::span<const float> router_;
  std::function<NetworkSpans(std::int64_t)> experts_;
};
}  // namespace switchyard::experts
