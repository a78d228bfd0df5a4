// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/run_state.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include "comm/group/collective.hpp"
#include "runtime/report/digest.hpp"

namespace switchyard::runtime {
namespace {
/// A network among all of a run: layers as they run, then router, shared experts, experts.
struct NetworkKey {
  std::int64_t layer = 0;  ///< how many are before it
  std::int64_t id = 0;     ///< -2: the router, -1: the shared ones
  auto operator<=>(const NetworkKey&) const = default;
};

constexpr std::size_t kHex = 64;

NetworkKey key_of(std::size_t layer, std::int64_t id) {
  const std::int64_t rank = id == kRouterId ? -2 : id == experts::kSharedId ? -1 : id;
  return {static_cast<std::int64_t>(layer), rank};
}

/// "layer.3.expert.17" of "layer.3.expert.17.gate".
std::string network_of(const std::string& tensor) {
  return tensor.substr(0, tensor.rfind('.'));
}

/// Of this rank's networks: key, hex, name, as bytes to be sent.
std::string mine(const std::vector<std::shared_ptr<LayerState>>& layers) {
  std::string words;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& tensors = layers[i]->tensors();
    for (std::size_t t = 0; t < tensors.size();) {
      const std::int64_t id = tensors[t].id;
      const std::string name = network_of(tensors[t].name);
      Sha256 sum;
      for (; t < tensors.size() && tensors[t].id == id; ++t) {
        sum.add(std::as_bytes(tensors[t].all()));
      }
      const NetworkKey key = key_of(i, id);
      words.append(reinterpret_cast<const char*>(&key), sizeof key);
      words += sum.hex() + name + "\n";
    }
  }
  return words;
}
}  // namespace

RunState::RunState(const Placement& placement, int rank) : first_(placement), rank_(rank) {}

std::shared_ptr<LayerState> RunState::add(const experts::BlockSpec& spec, std::int64_t layer,
                                          std::shared_ptr<experts::WeightSource> start) {
  layers_.push_back(
      std::make_shared<LayerState>(spec, layer, std::move(start), first_.experts_of(rank_)));
  placements_.push_back(first_);
  return layers_.back();
}

void RunState::rehost(std::size_t layer, const Placement& placement,
                      std::map<std::int32_t, NetworkBlock> more) {
  layers_[layer]->rehost(placement.experts_of(rank_), std::move(more));
  placements_[layer] = placement;
}

void RunState::begin() {
  for (const auto& layer : layers_) layer->begin();
}

void RunState::change(const StepKey& key, Coordinator& layers) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    LayerState& state = *layers_[i];
    state.change(key);
    layers.layer(i).repack(state, [&](std::int64_t id) { return state.changed(key, id); });
  }
}

bool RunState::saves(std::int64_t layer, std::int64_t id) const {
  if (id == kRouterId || id == experts::kSharedId) return layer % first_.ranks() == rank_;
  const auto found =
      std::ranges::find(layers_, layer, [](const auto& one) { return one->layer(); });
  const auto hosts = placement(static_cast<std::size_t>(found - layers_.begin()))
                         .hosts_of(static_cast<std::int32_t>(id));
  return hosts[static_cast<std::size_t>(id) % hosts.size()] == rank_;
}

std::string RunState::digest(comm::Group& group) const {
  std::map<NetworkKey, std::string> lines;
  const std::string words = mine(layers_);
  for (const auto& bytes : comm::allgather(group, std::as_bytes(std::span(words)))) {
    const std::string theirs(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (std::size_t at = 0; at < theirs.size();) {
      NetworkKey key;
      theirs.copy(reinterpret_cast<char*>(&key), sizeof key, at);
      at += sizeof key;
      const std::size_t end = theirs.find('\n', at + kHex);
      const std::string name = theirs.substr(at + kHex, end - at - kHex);
      const std::string line = name + " " + theirs.substr(at, kHex) + "\n";
      at = end + 1;
      if (lines.emplace(key, line).first->second == line) continue;
      throw std::logic_error("state: copies of " + name + " differ between ranks");
    }
  }
  Sha256 sum;
  for (const auto& [key, line] : lines) sum.add(std::as_bytes(std::span(line)));
  return sum.hex();
}
}  // namespace switchyard::runtime
