// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Blocks in files that are made for a test, opened as a family's layout says.
#include <gtest/gtest.h>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>

#include "runtime/model/layout_source.hpp"
#include "tests/runtime/made_up_weights.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace switchyard::runtime::layout_tests {
using namespace tests;  // NOLINT(google-build-using-namespace): the words of made_up_weights

struct Opened {
  TempFolder folder;
  std::set<std::string> used;
  std::unique_ptr<experts::WeightSource> source;
};

struct Biases {
  bool router = false;
  bool selection = false;
};

/// The block of `file`. @param padding  blanks after the header; 0 may leave the data misaligned
inline std::unique_ptr<Opened> open_block(const SafetensorsWriter& file, const std::string& family,
                                          const std::string& prefix, const experts::BlockSpec& spec,
                                          Biases biases = {}) {
  auto opened = std::make_unique<Opened>();
  const auto mapped =
      std::make_shared<const SafetensorsFile>(file.write(opened->folder / "block.safetensors"));
  opened->source = block_source(std::make_shared<const TensorSet>(mapped),
                                {.family = family, .prefix = prefix, .router = {}}, spec,
                                biases.router, biases.selection, &opened->used);
  EXPECT_EQ(opened->used.size(), mapped->tensors().size()) << "a tensor of the block is not used";
  return opened;
}

inline std::string refusal(const SafetensorsWriter& file, const std::string& family,
                           const std::string& prefix, const experts::BlockSpec& spec,
                           Biases biases = {}) {
  try {
    static_cast<void>(open_block(file, family, prefix, spec, biases));
    return {};
  } catch (const std::invalid_argument& problem) {
    return problem.what();
  }
}

/// Mixtral's experts, each tensor by itself.
inline SafetensorsWriter mixtral(std::int64_t num_experts = kExperts) {
  SafetensorsWriter file;
  add_router(file, "p.gate.weight");
  for (std::int64_t e = 0; e < num_experts; ++e) {
    const std::string at = "p.experts." + std::to_string(e);
    add_linear(file, at + ".w1.weight", kGate, e, kWidth, kHidden);
    add_linear(file, at + ".w3.weight", kUp, e, kWidth, kHidden);
    add_linear(file, at + ".w2.weight", kDown, e, kHidden, kWidth);
  }
  return file;
}

/// experts.gate_up_proj and experts.down_proj, by output and input or the other way round.
inline void add_fused(SafetensorsWriter& file, bool linear, bool interleaved, std::int64_t width) {
  const auto shape = [&](std::int64_t out, std::int64_t in) {
    return linear ? Index{kExperts, out, in} : Index{kExperts, in, out};
  };
  add(file, "p.experts.gate_up_proj", shape(2 * width, kHidden), [&](const Index& at) {
    const std::int64_t o = linear ? at[1] : at[2];
    const std::int64_t i = linear ? at[2] : at[1];
    return interleaved ? weight(o % 2 == 0 ? kGate : kUp, at[0], o / 2, i)
                       : weight(o < width ? kGate : kUp, at[0], o % width, i);
  });
  add(file, "p.experts.down_proj", shape(kHidden, width), [&](const Index& at) {
    return linear ? weight(kDown, at[0], at[1], at[2]) : weight(kDown, at[0], at[2], at[1]);
  });
}
}  // namespace switchyard::runtime::layout_tests
