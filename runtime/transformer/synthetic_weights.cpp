// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/synthetic_weights.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "experts/synthetic.hpp"

namespace switchyard::runtime {
namespace {

using experts::Stream;

/// FNV-1a, 32 bits: what a tensor's name is in the counter.
std::uint32_t number_of(std::string_view name) {
  std::uint32_t hash = 0x811c9dc5U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193U;
  return hash;
}

float unit_gain(std::int64_t inputs) {
  return static_cast<float>(std::sqrt(3.0 / static_cast<double>(inputs)));
}

/// Numbers that a sum is made of: 0 for a vector, which has none.
std::int64_t inputs_of(const std::string& name, const std::vector<std::int64_t>& shape) {
  if (name.ends_with("A_log")) return 0;  // of the elements of a state, one by one
  if (std::ranges::count_if(shape, [](std::int64_t extent) { return extent > 1; }) < 2) return 0;
  if (name.find("conv") == std::string::npos) return shape.back();
  std::int64_t inputs = 1;  // every channel and tap
  for (std::size_t i = 1; i < shape.size(); ++i) inputs *= shape[i];
  return inputs;
}

bool is_added(const std::string& name) {
  return name.ends_with("bias") || name.ends_with("sinks");
}
}  // namespace

experts::WeightView SyntheticTensors::matrix(const std::string& name, std::int64_t out,
                                             std::int64_t in, bool /*input_first*/) {
  const auto elements = static_cast<std::size_t>(out * in);
  auto* const values = matrices_.emplace_back(elements * sizeof(float)).as<float>();
  experts::fill_uniform(seed_, 0, number_of(name), Stream::kMatrix, 0, unit_gain(in),
                        {values, elements});
  return {values, experts::DType::kFloat32, out, in, in, 1};
}

std::vector<float> SyntheticTensors::values(const std::string& name, std::int64_t elements) {
  std::vector<float> made(static_cast<std::size_t>(elements));
  const auto fill = [&](Stream stream, float amplitude) {
    experts::fill_uniform(seed_, 0, number_of(name), stream, 0, amplitude, made);
  };
  const auto shape = shapes_.find(name);
  const std::int64_t inputs = shape == shapes_.end() ? 0 : inputs_of(name, shape->second);
  if (inputs > 0) {
    fill(Stream::kMatrix, unit_gain(inputs));
  } else if (is_added(name)) {
    fill(Stream::kAdded, 0.1F);
  } else {
    fill(Stream::kFactor, 0.1F);
    for (float& value : made) value += 1.0F;
  }
  return made;
}

SyntheticWeights::SyntheticWeights(Model model, std::uint64_t seed)
    : model_(std::move(model)), seed_(seed) {
  for (TensorShape& tensor : model_.tensors()) {
    shapes_.emplace(std::move(tensor.name), std::move(tensor.shape));
  }
}

std::unique_ptr<TensorSource> SyntheticWeights::tensors() {
  return std::make_unique<SyntheticTensors>(shapes_, seed_);
}

std::unique_ptr<experts::WeightSource> SyntheticWeights::block(std::int64_t layer) {
  return std::make_unique<experts::SyntheticSource>(model_.block(), seed_,
                                                    static_cast<std::uint32_t>(layer),
                                                    model_.router_bias(), model_.selection_bias());
}
}  // namespace switchyard::runtime
