// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Made-up weights of a small block, every number of which says where it belongs.
#include <cstdint>
#include <functional>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "experts/weights.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace switchyard::tests {

inline constexpr std::int64_t kHidden = 6;
inline constexpr std::int64_t kWidth = 4;
inline constexpr std::int64_t kExperts = 3;

/// What a number of the made-up weights is for; part of its value.
enum Kind { kGate = 1, kUp, kLinear, kDown, kRouter, kSecond, kThird, kShared, kBias };

/// The weight of (kind, expert, output, input): a whole number that float32 holds exactly and that
/// says where it belongs.
inline float weight(int kind, std::int64_t expert, std::int64_t out, std::int64_t in) {
  return static_cast<float>(((kind * 20 + expert) * 20 + out) * 20 + in);
}

using Index = std::vector<std::int64_t>;
using Values = std::function<float(const Index&)>;

/// A tensor of `shape` whose element at an index is values(index).
inline void add(SafetensorsWriter& file, const std::string& name, const Index& shape,
                const Values& values) {
  std::vector<float> flat;
  Index index(shape.size(), 0);
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape) elements *= extent;
  for (std::int64_t i = 0; i < elements; ++i) {
    flat.push_back(values(index));
    for (std::size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
  file.add(name, "F32", shape, flat);
}

/// [out, in] of one kind and expert.
inline void add_linear(SafetensorsWriter& file, const std::string& name, int kind,
                       std::int64_t expert, std::int64_t out, std::int64_t in) {
  add(file, name, {out, in}, [&](const Index& at) { return weight(kind, expert, at[0], at[1]); });
}

inline experts::BlockSpec small_spec() {
  experts::BlockSpec spec;
  spec.router.hidden = spec.expert.hidden = kHidden;
  spec.router.experts = kExperts;
  spec.router.top_k = 1;
  spec.expert.width = kWidth;
  return spec;
}

inline void expect_view(const experts::WeightView& view, int kind, std::int64_t expert,
                        std::int64_t out, std::int64_t in) {
  ASSERT_EQ(view.out, out) << "kind " << kind;
  ASSERT_EQ(view.in, in) << "kind " << kind;
  for (std::int64_t o = 0; o < out; ++o) {
    for (std::int64_t i = 0; i < in; ++i) {
      ASSERT_EQ(view.at(o, i), weight(kind, expert, o, i))
          << "kind " << kind << ", expert " << expert << ", output " << o << ", input " << i;
    }
  }
}

inline void expect_expert(const experts::ExpertTensors& tensors, std::int64_t expert) {
  expect_view(tensors.gate, kGate, expert, kWidth, kHidden);
  expect_view(tensors.up, kUp, expert, kWidth, kHidden);
  expect_view(tensors.down, kDown, expert, kHidden, kWidth);
}

inline void expect_block(experts::WeightSource& source) {
  expect_view(source.router().weight, kRouter, 0, kExperts, kHidden);
  for (std::int64_t e = 0; e < kExperts; ++e) expect_expert(source.expert(e), e);
}

inline void add_router(SafetensorsWriter& file, const std::string& name) {
  add_linear(file, name, kRouter, 0, kExperts, kHidden);
}
}  // namespace switchyard::tests
