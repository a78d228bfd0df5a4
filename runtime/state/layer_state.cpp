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

/// Gives the tensors of the first one's network their places in a block.
/// @param block  null: counts only
/// @return       bytes that the block has
std::size_t lay_out(std::span<StateTensor> tensors, std::byte* block) {
  std::size_t at = 0;
  for (StateTensor& tensor : tensors) {
    if (tensor.id != tensors.front().id) break;
    if (block != nullptr) tensor.values = reinterpret_cast<float*>(block + at);
    const auto bytes = static_cast<std::size_t>(tensor.out * tensor.in) * sizeof(float);
    at += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  return at;
}

/// What an expert is packed from.
experts::ExpertTensors as_network(const std::vector<StateTensor>& tensors) {
  experts::ExpertTensors network;
  for (const StateTensor& tensor : tensors) {
    const experts::WeightView view{
        .data = tensor.values, .out = tensor.out, .in = tensor.in, .out_stride = tensor.in};
    const auto bias = [&] { return std::vector<float>(tensor.values, tensor.values + tensor.out); };
    switch (tensor.stream) {
      case Stream::kGate:
        network.gate = view;
        break;
      case Stream::kUp:
        network.up = view;
        break;
      case Stream::kLinear:
        network.linear = view;
        break;
      case Stream::kDown:
        network.down = view;
        break;
      case Stream::kGateBias:
        network.gate_bias = bias();
        break;
      case Stream::kUpBias:
        network.up_bias = bias();
        break;
      default:
        network.down_bias = bias();
    }
  }
  return network;
}
}  // namespace

LayerState::LayerState(const experts::BlockSpec& spec, std::int64_t layer,
                       std::shared_ptr<experts::WeightSource> start,
                       std::span<const std::int32_t> logical)
    : spec_(spec), layer_(layer), start_(std::move(start)) {
  add_router();
  add_block(kRouterId, {});
  if (spec_.shared) {
    add_network(*spec_.shared, experts::kSharedId);
    add_block(experts::kSharedId, {});
  }
  for (const std::int32_t id : logical) {
    add_network(spec_.expert, id);
    add_block(id, {});
  }
  const experts::RouterTensors router = start_->router();
  for (const StateTensor& tensor : tensors_) {
    if (tensor.id == kRouterId) widen(router, tensor);
  }
}

void LayerState::add_block(std::int64_t id, NetworkBlock block) {
  const auto first = first_.find(id);
  if (first == first_.end()) return;
  const std::span<StateTensor> tensors = std::span(tensors_).subspan(first->second);
  if (block.size() == 0) block = NetworkBlock(lay_out(tensors, nullptr));
  lay_out(tensors, block.as<std::byte>());
  blocks_[id] = std::move(block);
}

std::vector<StateTensor> LayerState::tensors_of(const experts::ExpertSpec& spec,
                                                std::int64_t id) const {
  std::vector<StateTensor> tensors;
  const auto one = [&](Stream stream, std::int64_t out, std::int64_t in) {
    tensors.push_back({.name = name_of(layer_, id, stream),
                       .id = id,
                       .stream = stream,
                       .out = out,
                       .in = in,
                       .vector = is_vector(stream)});
  };
  const bool gated = spec.unit != experts::Unit::kPlain;
  if (gated) one(Stream::kGate, spec.width, spec.hidden);
  one(Stream::kUp, spec.width, spec.hidden);
  if (spec.unit == experts::Unit::kTrilinear) one(Stream::kLinear, spec.width, spec.hidden);
  one(Stream::kDown, spec.hidden, spec.width);
  if (!spec.biases) return tensors;
  if (gated) one(Stream::kGateBias, spec.width, 1);
  one(Stream::kUpBias, spec.width, 1);
  one(Stream::kDownBias, spec.hidden, 1);
  return tensors;
}

std::vector<StateTensor> LayerState::tensors_in(std::int32_t logical, NetworkBlock& block) const {
  std::vector<StateTensor> tensors = tensors_of(spec_.expert, logical);
  lay_out(tensors, block.as<std::byte>());
  return tensors;
}

std::int64_t LayerState::expert_bytes() const {
  std::vector<StateTensor> tensors = tensors_of(spec_.expert, 0);
  return static_cast<std::int64_t>(lay_out(tensors, nullptr));
}

std::span<const std::byte> LayerState::block(std::int32_t logical) const {
  const NetworkBlock& block = blocks_.at(logical);
  return {block.as<std::byte>(), static_cast<std::size_t>(expert_bytes())};
}

void LayerState::change(const StepKey& key, std::int32_t logical, NetworkBlock& block) const {
  for (const StateTensor& tensor : tensors_in(logical, block)) {
    NetworkChange(key, layer_, logical)
        .apply(tensor.stream, {tensor.values, tensor.out, tensor.in});
  }
}

void LayerState::pack(const StepKey* key, std::int32_t logical, NetworkBlock& block,
                      experts::DType stored, std::byte* packed) const {
  const experts::ExpertTensors tensors = as_network(tensors_in(logical, block));
  if (key == nullptr) {
    experts::PackedExpert::pack(spec_.expert, tensors, stored, packed);
    return;
  }
  const NetworkOutputs which = changed(*key, logical);
  experts::PackedExpert::repack(spec_.expert, tensors, stored, which.up, which.down, packed);
}

void LayerState::rehost(std::span<const std::int32_t> logical,
                        std::map<std::int32_t, NetworkBlock> more) {
  std::map<std::int64_t, NetworkBlock> had = std::move(blocks_);
  blocks_.clear();
  std::erase_if(tensors_, [](const StateTensor& tensor) {
    return tensor.id != kRouterId && tensor.id != experts::kSharedId;
  });
  std::erase_if(first_, [](const auto& first) {
    return first.first != kRouterId && first.first != experts::kSharedId;
  });
  for (const std::int64_t id : {kRouterId, experts::kSharedId}) {
    if (const auto found = had.find(id); found != had.end()) blocks_.insert(had.extract(found));
  }
  for (const std::int32_t id : logical) {
    add_network(spec_.expert, id);
    const auto kept = had.find(id);
    const auto came = more.find(id);
    add_block(id, kept != had.end()    ? std::move(kept->second)
                  : came != more.end() ? std::move(came->second)
                                       : NetworkBlock());
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
  first_.emplace(id, tensors_.size());
  for (StateTensor& tensor : tensors_of(spec, id)) tensors_.push_back(std::move(tensor));
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
  const auto first = first_.find(id);
  if (first == first_.end()) {
    throw std::logic_error(name_of(layer_, id, Stream::kUp) + ": is not on this rank");
  }
  const std::span all = std::span(tensors_).subspan(first->second);
  const auto end = std::ranges::find_if(all, [id](const auto& one) { return one.id != id; });
  return as_network({all.begin(), end});
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
