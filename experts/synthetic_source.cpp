// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <utility>

#include "experts/kernels/aligned.hpp"
#include "experts/range.hpp"
#include "experts/synthetic.hpp"

namespace switchyard::experts {
namespace {

constexpr float kBiasAmplitude = 0.5F;
constexpr float kSelectionBiasAmplitude = 0.1F;

/// Amplitude of weights that keep the variance of `inputs` values: sqrt(3 / inputs).
float unit_gain(std::int64_t inputs) {
  return static_cast<float>(std::sqrt(3.0 / static_cast<double>(inputs)));
}

/// A matrix of a stream that owns its numbers.
WeightView make_matrix(std::uint64_t seed, std::uint32_t layer, std::int64_t id, Stream stream,
                       std::int64_t out, std::int64_t in, float* to) {
  fill_uniform(seed, layer, id, stream, 0, unit_gain(in), {to, static_cast<std::size_t>(out * in)});
  return {to, DType::kFloat32, out, in, in, 1};
}
}  // namespace

SyntheticSource::SyntheticSource(BlockSpec spec, std::uint64_t seed, std::uint32_t layer,
                                 bool router_bias, bool selection_bias)
    : spec_(spec),
      seed_(seed),
      layer_(layer),
      router_bias_(router_bias),
      selection_bias_(selection_bias) {}

RouterTensors SyntheticSource::router() {
  const RouterSpec& spec = spec_.router;
  const std::int64_t experts = spec.all_experts();
  const bool attention = spec.logits == Logits::kAttention;
  const std::int64_t first = experts * spec.hidden;
  const std::int64_t second = spec.logits == Logits::kLinear ? 0
                              : attention                    ? first
                                                             : experts * experts;
  const std::int64_t third = attention ? first : 0;
  auto memory = std::make_shared<AlignedBuffer>(static_cast<std::size_t>(first + second + third) *
                                                sizeof(float));
  auto* values = memory->as<float>();
  RouterTensors tensors;
  tensors.weight = make_matrix(seed_, layer_, 0, Stream::kRouter, experts, spec.hidden, values);
  if (second > 0) {
    tensors.second = make_matrix(seed_, layer_, 0, Stream::kRouterSecond, experts,
                                 attention ? spec.hidden : experts, values + first);
  }
  if (third > 0) {
    tensors.third = make_matrix(seed_, layer_, 0, Stream::kRouterThird, experts, spec.hidden,
                                values + first + second);
  }
  if (router_bias_) {
    tensors.bias.resize(static_cast<std::size_t>(experts));
    fill_uniform(seed_, layer_, 0, Stream::kRouterBias, 0, kBiasAmplitude, tensors.bias);
  }
  if (selection_bias_) {
    tensors.selection_bias.resize(static_cast<std::size_t>(experts));
    fill_uniform(seed_, layer_, 0, Stream::kSelectionBias, 0, kSelectionBiasAmplitude,
                 tensors.selection_bias);
  }
  tensors.keep_alive = std::move(memory);
  return tensors;
}

std::shared_ptr<AlignedBuffer> SyntheticSource::Spare::take(std::size_t bytes) {
  std::unique_ptr<AlignedBuffer> memory;
  {
    const std::scoped_lock lock(lock_);
    if (buffer_ && buffer_->size() >= bytes) memory = std::move(buffer_);
  }
  if (!memory) memory = std::make_unique<AlignedBuffer>(bytes);
  return {memory.release(), [spare = shared_from_this()](AlignedBuffer* used) {
            std::unique_ptr<AlignedBuffer> back(used);
            const std::scoped_lock lock(spare->lock_);
            spare->buffer_.swap(back);
          }};
}

ExpertTensors SyntheticSource::network(const ExpertSpec& spec, std::int64_t id) {
  const std::int64_t size = spec.hidden * spec.width;
  const std::int64_t matrices = spec.unit == Unit::kPlain ? 2 : spec.unit == Unit::kGated ? 3 : 4;
  const auto bytes = static_cast<std::size_t>(matrices * size) * sizeof(float);
  const auto memory = spare_->take(bytes);
  auto* values = memory->as<float>();
  const auto matrix = [&](Stream stream, std::int64_t out, std::int64_t in) {
    const WeightView view = make_matrix(seed_, layer_, id, stream, out, in, values);
    values += size;
    return view;
  };
  const auto bias = [&](Stream stream, std::int64_t count) {
    std::vector<float> numbers(static_cast<std::size_t>(count));
    fill_uniform(seed_, layer_, id, stream, 0, kBiasAmplitude, numbers);
    return numbers;
  };
  ExpertTensors tensors;
  const bool gated = spec.unit != Unit::kPlain;
  if (gated) tensors.gate = matrix(Stream::kGate, spec.width, spec.hidden);
  tensors.up = matrix(Stream::kUp, spec.width, spec.hidden);
  if (spec.unit == Unit::kTrilinear) {
    tensors.linear = matrix(Stream::kLinear, spec.width, spec.hidden);
  }
  tensors.down = matrix(Stream::kDown, spec.hidden, spec.width);
  if (spec.biases) {
    if (gated) tensors.gate_bias = bias(Stream::kGateBias, spec.width);
    tensors.up_bias = bias(Stream::kUpBias, spec.width);
    tensors.down_bias = bias(Stream::kDownBias, spec.hidden);
  }
  tensors.keep_alive = memory;
  return tensors;
}

std::string SyntheticSource::identity(std::int64_t logical) {
  return "philox4x32-10, seed " + std::to_string(seed_) + ", layer " + std::to_string(layer_) +
         ", expert " + std::to_string(logical);
}

ExpertTensors SyntheticSource::expert(std::int64_t logical) {
  require_range("synthetic", "expert", logical, spec_.router.experts);
  return network(spec_.expert, logical);
}

ExpertTensors SyntheticSource::shared() {
  return spec_.shared ? network(*spec_.shared, kSharedId) : ExpertTensors{};
}

WeightView SyntheticSource::shared_gate() {
  if (spec_.shared_gate == SharedGate::kNone) return {};
  if (!shared_gate_) {
    const std::int64_t hidden = spec_.router.hidden;
    shared_gate_ = std::make_shared<std::vector<float>>(static_cast<std::size_t>(hidden));
    fill_uniform(seed_, layer_, kSharedId, Stream::kSharedGate, 0, unit_gain(hidden),
                 *shared_gate_);
  }
  const auto inputs = static_cast<std::int64_t>(shared_gate_->size());
  return {shared_gate_->data(), DType::kFloat32, 1, inputs, inputs, 1};
}

ExpertTensors SyntheticSource::dense() {
  return spec_.dense ? network(*spec_.dense, kDenseId) : ExpertTensors{};
}

std::vector<float> SyntheticSource::output_bias() {
  if (!spec_.output_bias) return {};
  std::vector<float> numbers(static_cast<std::size_t>(spec_.router.hidden));
  fill_uniform(seed_, layer_, 0, Stream::kOutputBias, 0, kBiasAmplitude, numbers);
  return numbers;
}

}  // namespace switchyard::experts
