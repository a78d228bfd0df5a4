// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The ways that this processor has to run an expert by the kernels of dot.hpp, and experts of
/// every kind for them.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "experts/ffn.hpp"
#include "experts/kernels/dispatch.hpp"
#include "tests/experts/random_expert.hpp"

namespace switchyard::experts {

/// One way to run an expert.
struct Way {
  DType stored;
  Math math;
  Isa isa;
  dot::Kernels dots;
  [[nodiscard]] std::string name() const {
    return std::string(name_of(stored)) + " by " + dots.engine + ", " + dots.name;
  }
  [[nodiscard]] PackedExpert expert(const ExpertSpec& spec, const ExpertTensors& tensors) const {
    PackedExpert made(spec, tensors, stored, isa, math);
    made.multiply_with(dots);
    return made;
  }
};

inline std::vector<Way> ways_here() {
  std::vector<Way> ways;
  for (const Isa isa : isas_here()) {
    for (const auto& [stored, math] :
         {std::pair{DType::kBfloat16, Math::kNative}, std::pair{DType::kInt8, Math::kNative},
          std::pair{DType::kInt8, Math::kFloat32}, std::pair{DType::kFp8, Math::kFloat32},
          std::pair{DType::kMxfp4, Math::kFloat32}}) {
      for (const dot::Kernels& dots : all_dots_of(isa, math, stored)) {
        const bool known = std::any_of(ways.begin(), ways.end(), [&](const Way& way) {
          return way.dots.accumulate == dots.accumulate;
        });
        if (!known) ways.push_back({stored, math, isa, dots});
      }
    }
  }
  return ways;
}

/// Every unit and activation that there is, of this size.
inline std::vector<ExpertSpec> every_unit(std::int64_t hidden, std::int64_t width) {
  std::vector<ExpertSpec> specs;
  for (const Unit unit : {Unit::kGated, Unit::kPlain, Unit::kTrilinear}) {
    for (const Activation activation :
         {Activation::kSilu, Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu,
          Activation::kClampedSwiglu}) {
      if (activation == Activation::kClampedSwiglu && unit != Unit::kGated) continue;
      specs.push_back({unit, activation, hidden, width, activation != Activation::kRelu});
      specs.back().swiglu_limit = 1.5F;  // so that it bites
    }
  }
  return specs;
}

inline std::string describe(const ExpertSpec& spec) {
  return std::to_string(spec.hidden) + " x " + std::to_string(spec.width) + ", unit " +
         std::to_string(static_cast<int>(spec.unit)) + ", activation " +
         std::to_string(static_cast<int>(spec.activation));
}

/// Sizes that fill no panel, group or line.
inline constexpr std::int64_t kRagged[] = {1, 5, 33, 130};
}  // namespace switchyard::experts
