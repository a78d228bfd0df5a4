// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/layer_state.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "experts/kernels/quantise.hpp"

namespace switchyard::runtime {
namespace {
using experts::Stream;

constexpr std::size_t kAlignment = 64;

const char* name_of(Stream stream) {
  switch (stream) {
    case Stream::kRouter:
      return "weight";
    case Stream::kRouterSecond:
      return "second";
    case Stream::kRouterThird:
      return "third";
    case Stream::kRouterBias:
      return "bias";
    case Stream::kSelectionBias:
      return "selection_bias";
    case Stream::kGate:
      return "gate";
    case Stream::kUp:
      return "up";
    case Stream::kLinear:
      return "linear";
    case Stream::kDown:
      return "down";
    case Stream::kGateBias:
      return "gate_bias";
    case Stream::kUpBias:
      return "up_bias";
    case Stream::kDownBias:
      return "down_bias";
    default:
      throw std::logic_error("state: a tensor that no layer has");
  }
}

std::string name_of(std::int64_t layer, std::int64_t id, Stream stream) {
  const std::string network = id == kRouterId            ? "router"
                              : id == experts::kSharedId ? "shared"
                                                         : "expert." + std::to_string(id);
  return "layer." + std::to_string(layer) + "." + network + "." + name_of(stream);
}

bool is_vector(Stream stream) {
  return stream == Stream::kRouterBias || stream == Stream::kSelectionBias ||
         stream == Stream::kGateBias || stream == Stream::kUpBias || stream == Stream::kDownBias;
}

/// A vector that the source leaves out is zeros.
void widen(const std::vector<float>& from, const StateTensor& to) {
  std::fill_n(to.values, to.out, 0.0F);
  std::copy_n(from.begin(), std::min(from.size(), static_cast<std::size_t>(to.out)), to.values);
}

void widen(const experts::WeightView& from, const StateTensor& to) {
  if (from.out != to.out || from.in != to.in) {
    throw std::invalid_argument(to.name + ": got [" + std::to_string(from.out) + ", " +
                                std::to_string(from.in) + "], want [" + std::to_string(to.out) +
                                ", " + std::to_string(to.in) + "]");
  }
  for (std::int64_t o = 0; o < to.out; ++o) {
    experts::widen_inputs(from, o, 0, to.in, to.values + o * to.in);
  }
}

void widen(const experts::RouterTensors& from, const StateTensor& to) {
  switch (to.stream) {
    case Stream::kRouter:
      return widen(from.weight, to);
    case Stream::kRouterSecond:
      return widen(from.second, to);
    case Stream::kRouterThird:
      return widen(from.third, to);
    case Stream::kRouterBias:
      return widen(from.bias, to);
    default:
      return widen(from.selection_bias, to);
  }
}

void widen(const experts::ExpertTensors& from, const StateTensor& to) {
  switch (to.stream) {
    case Stream::kGate:
      return widen(from.gate, to);
    case Stream::kUp:
      return widen(from.up, to);
    case Stream::kLinear:
      return widen(from.linear, to);
    case Stream::kDown:
      return widen(from.down, to);
    case Stream::kGateBias:
      return widen(from.gate_bias, to);
    case Stream::kUpBias:
      return widen(from.up_bias, to);
    default:
      return widen(from.down_bias, to);
  }
}
}  // namespace

LayerState::LayerState(const experts::BlockSpec& spec, std::int64_t layer,
                       std::shared_ptr<experts::WeightSource> start,
                       std::span<const std::int32_t> logical)
    : spec_(spec), layer_(layer), start_(std::move(start)) {
  add_router();
  if (spec_.shared) add_network(*spec_.shared, experts::kSharedId);
  for (const std::int32_t id : logical) add_network(spec_.expert, id);
  std::size_t bytes = 0;
  const auto room = [](const StateTensor& tensor) {
    return (tensor.all().size_bytes() + kAlignment - 1) / kAlignment * kAlignment;
  };
  for (const StateTensor& tensor : tensors_) bytes += room(tensor);
  memory_ = experts::AlignedBuffer(bytes);
  std::byte* next = memory_.as<std::byte>();
  for (StateTensor& tensor : tensors_) {
    tensor.values = reinterpret_cast<float*>(next);
    next += room(tensor);
  }
  const experts::RouterTensors router = start_->router();
  for (const StateTensor& tensor : tensors_) {
    if (tensor.id == kRouterId) widen(router, tensor);
  }
}

void LayerState::add(std::int64_t id, Stream stream, std::int64_t out, std::int64_t in) {
  first_.emplace(id, tensors_.size());  // of the first one only
  tensors_.push_back({.name = name_of(layer_, id, stream),
                      .id = id,
                      .stream = stream,
                      .out = out,
                      .in = in,
                      .vector = is_vector(stream)});
}

void LayerState::add_router() {
  const experts::RouterTensors router = start_->router();
  const auto matrix = [&](Stream stream, const experts::WeightView& weight) {
    if (!weight.empty()) add(kRouterId, stream, weight.out, weight.in);
  };
  const auto vector = [&](Stream stream, const std::vector<float>& bias) {
    if (!bias.empty()) add(kRouterId, stream, static_cast<std::int64_t>(bias.size()), 1);
  };
  matrix(Stream::kRouter, router.weight);
  matrix(Stream::kRouterSecond, router.second);
  matrix(Stream::kRouterThird, router.third);
  vector(Stream::kRouterBias, router.bias);
  vector(Stream::kSelectionBias, router.selection_bias);
}

void LayerState::add_network(const experts::ExpertSpec& spec, std::int64_t id) {
  const bool gated = spec.unit != experts::Unit::kPlain;
  if (gated) add(id, Stream::kGate, spec.width, spec.hidden);
  add(id, Stream::kUp, spec.width, spec.hidden);
  if (spec.unit == experts::Unit::kTrilinear) add(id, Stream::kLinear, spec.width, spec.hidden);
  add(id, Stream::kDown, spec.hidden, spec.width);
  if (!spec.biases) return;
  if (gated) add(id, Stream::kGateBias, spec.width, 1);
  add(id, Stream::kUpBias, spec.width, 1);
  add(id, Stream::kDownBias, spec.hidden, 1);
}

void LayerState::begin() {
  const experts::RouterTensors router = start_->router();
  experts::ExpertTensors network;
  std::int64_t made = -1;
  for (const StateTensor& tensor : tensors_) {
    if (tensor.id == kRouterId) {
      widen(router, tensor);
      continue;
    }
    if (tensor.id != made) {
      network = {};  // before the next: a source may use its memory again
      network = tensor.id == experts::kSharedId ? start_->shared() : start_->expert(tensor.id);
      made = tensor.id;
    }
    widen(network, tensor);
  }
}

void LayerState::change(const StepKey& key) {
  for (const StateTensor& tensor : tensors_) {
    NetworkChange(key, layer_, tensor.id)
        .apply(tensor.stream, {tensor.values, tensor.out, tensor.in});
  }
}

const experts::ExpertSpec& LayerState::spec_of(std::int64_t id) const {
  return id == experts::kSharedId ? *spec_.shared : spec_.expert;
}

NetworkOutputs LayerState::changed(const StepKey& key, std::int64_t id) const {
  const NetworkChange change(key, layer_, id);
  const experts::ExpertSpec& spec = spec_of(id);
  return {.up = change.outputs(spec.width), .down = change.outputs(spec.hidden)};
}

const StateTensor* LayerState::find(std::int64_t id, Stream stream) const {
  const auto first = first_.find(id);
  if (first == first_.end()) return nullptr;
  for (std::size_t i = first->second; i < tensors_.size() && tensors_[i].id == id; ++i) {
    if (tensors_[i].stream == stream) return &tensors_[i];
  }
  return nullptr;
}

experts::WeightView LayerState::view(std::int64_t id, Stream stream) const {
  const StateTensor* const tensor = find(id, stream);
  if (tensor == nullptr) return {};
  return {.data = tensor->values, .out = tensor->out, .in = tensor->in, .out_stride = tensor->in};
}

std::vector<float> LayerState::copy(std::int64_t id, Stream stream) const {
  const StateTensor* const tensor = find(id, stream);
  if (tensor == nullptr) return {};
  return {tensor->values, tensor->values + tensor->out};
}

experts::RouterTensors LayerState::router() {
  experts::RouterTensors tensors;
  tensors.weight = view(kRouterId, Stream::kRouter);
  tensors.second = view(kRouterId, Stream::kRouterSecond);
  tensors.third = view(kRouterId, Stream::kRouterThird);
  tensors.bias = copy(kRouterId, Stream::kRouterBias);
  tensors.selection_bias = copy(kRouterId, Stream::kSelectionBias);
  return tensors;
}

experts::ExpertTensors LayerState::network(std::int64_t id) const {
  if (find(id, Stream::kUp) == nullptr) {
    throw std::logic_error(name_of(layer_, id, Stream::kUp) + ": is not on this rank");
  }
  experts::ExpertTensors tensors;
  tensors.gate = view(id, Stream::kGate);
  tensors.up = view(id, Stream::kUp);
  tensors.linear = view(id, Stream::kLinear);
  tensors.down = view(id, Stream::kDown);
  tensors.gate_bias = copy(id, Stream::kGateBias);
  tensors.up_bias = copy(id, Stream::kUpBias);
  tensors.down_bias = copy(id, Stream::kDownBias);
  return tensors;
}

experts::ExpertTensors LayerState::expert(std::int64_t logical) {
  return network(logical);
}

experts::ExpertTensors LayerState::shared() {
  return spec_.shared ? network(experts::kSharedId) : experts::ExpertTensors{};
}

std::int64_t state_bytes(const experts::BlockSpec& spec, std::int64_t experts) {
  const std::int64_t router = spec.router.all_experts() * spec.router.hidden;
  const std::int64_t shared = spec.shared ? experts::elements_of(*spec.shared) : 0;
  return (router + shared + experts * experts::elements_of(spec.expert)) *
         std::int64_t{sizeof(float)};
}
}  // namespace switchyard::runtime
