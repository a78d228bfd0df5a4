// SPDX-License-Identifier: Apache-2.0
// The part of Rebalancer that moves experts: batches of layers, their copies, the change to the new
// placement.
#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "experts/index.hpp"
#include "runtime/rebalance/rebalancer.hpp"

namespace switchyard::runtime {

std::int64_t Rebalancer::bytes_of_a_copy() const {
  if (moving_.state != nullptr) return moving_.state->layers().front()->expert_bytes();
  return moving_.layers->layer(0).block_bytes();
}

/// As many layers as bring no rank more copies than it has slots in one.
void Rebalancer::begin_batch() {
  batch_.clear();
  coming_.clear();
  leaving_.clear();
  keys_.clear();
  std::vector<std::int64_t> brought(at(group_.size()), 0);
  for (; next_layer_ < now_.size(); ++next_layer_) {
    const std::size_t layer = next_layer_;
    if (plan_[layer] == now_[layer]) continue;
    const auto moves = moves_between(now_[layer], plan_[layer], shape_);
    std::vector<std::int64_t> with = brought;
    for (const CopyMove& move : moves) ++with[at(move.to)];
    if (!batch_.empty() && *std::ranges::max_element(with) > shape_.slots) return;
    brought = std::move(with);
    batch_.push_back(layer);
    for (const CopyMove& move : moves) {
      if (move.from == group_.rank()) send(layer, move);
      if (move.to == group_.rank()) bring(layer, move);
    }
    report_.copies += std::ssize(moves);
    report_.bytes += static_cast<double>(std::ssize(moves) * bytes_of_a_copy());
  }
}

void Rebalancer::send(std::size_t layer, const CopyMove& move) {
  const auto out = comm::Stream::Way::kOut;
  const std::int32_t expert = move.expert;
  if (moving_.state == nullptr) {
    const auto block = [this, layer, expert] {  // a stream out only reads
      return const_cast<std::byte*>(moving_.layers->layer(layer).block_of(expert));
    };
    mover_.add(
        {.peer = move.to, .way = out, .bytes = bytes_of_a_copy(), .begin = block, .end = {}});
    return;
  }
  // The state goes on changing here: what leaves is a copy, and says how many changes it has.
  Leaving& leaving = leaving_.emplace_back();
  const auto copy = [this, layer, expert, &leaving] {
    const auto from = moving_.state->layers()[layer]->block(expert);
    leaving.state = NetworkBlock(from.size());
    std::memcpy(leaving.state.as<std::byte>(), from.data(), from.size());
    leaving.changes = std::ssize(keys_);
    return reinterpret_cast<std::byte*>(&leaving.changes);
  };
  mover_.add(
      {.peer = move.to, .way = out, .bytes = sizeof leaving.changes, .begin = copy, .end = {}});
  mover_.add({.peer = move.to,
              .way = out,
              .bytes = bytes_of_a_copy(),
              .begin = [&leaving] { return leaving.state.as<std::byte>(); },
              .end = [&leaving] { leaving.state = {}; }});
}

void Rebalancer::bring(std::size_t layer, const CopyMove& move) {
  const auto in = comm::Stream::Way::kIn;
  const std::int64_t bytes = bytes_of_a_copy();
  Coming& coming = coming_.emplace_back();
  coming.layer = layer;
  coming.expert = move.expert;
  if (moving_.state == nullptr) {
    mover_.add({.peer = move.from,
                .way = in,
                .bytes = bytes,
                .begin =
                    [this, &coming] {
                      coming.packed = moving_.layers->layer(coming.layer).make_room();
                      return coming.packed;
                    },
                .end = [&coming] { coming.landed = coming.ready = true; }});
    return;
  }
  mover_.add({.peer = move.from,
              .way = in,
              .bytes = sizeof coming.changes,
              .begin = [&coming] { return reinterpret_cast<std::byte*>(&coming.changes); },
              .end = {}});
  mover_.add({.peer = move.from,
              .way = in,
              .bytes = bytes,
              .begin =
                  [&coming, bytes] {
                    coming.state = NetworkBlock(at(bytes));
                    return coming.state.as<std::byte>();
                  },
              .end = [&coming] { coming.landed = true; }});
}

/// Gives what has landed the changes that it has missed, and packs it: one expert, or all.
void Rebalancer::catch_up(bool all) {
  for (Coming& coming : coming_) {
    if (!coming.landed || coming.ready) continue;
    LayerState& state = *moving_.state->layers()[coming.layer];
    for (std::size_t i = at(coming.changes); i < keys_.size(); ++i) {
      state.change(keys_[i], coming.expert, coming.state);
    }
    MoeLayer& layer = moving_.layers->layer(coming.layer);
    coming.packed = layer.make_room();
    state.pack(nullptr, coming.expert, coming.state, layer.stored(), coming.packed);
    coming.ready = true;
    if (!all) return;
  }
}

void Rebalancer::changed(const StepKey& key) {
  if (phase_ != Phase::kMoving) return;
  const auto start = Clock::now();
  keys_.push_back(key);
  for (Coming& coming : coming_) {
    if (!coming.ready) continue;  // it catches up
    LayerState& state = *moving_.state->layers()[coming.layer];
    state.change(key, coming.expert, coming.state);
    state.pack(&key, coming.expert, coming.state, moving_.layers->layer(coming.layer).stored(),
               coming.packed);
  }
  stood_still(seconds_since(start));
}

bool Rebalancer::done_here() const {
  return mover_.idle() && std::ranges::all_of(coming_, &Coming::ready);
}

void Rebalancer::change_over(std::int64_t step) {
  const auto start = Clock::now();
  for (const std::size_t layer : batch_) {
    std::vector<CameExpert> came;
    std::map<std::int32_t, NetworkBlock> states;
    for (Coming& coming : coming_) {
      if (coming.layer != layer) continue;
      came.push_back({.logical = coming.expert, .block = coming.packed});
      if (moving_.state != nullptr) states.emplace(coming.expert, std::move(coming.state));
    }
    moving_.layers->layer(layer).rehost(plan_[layer], came);
    if (moving_.state != nullptr) moving_.state->rehost(layer, plan_[layer], std::move(states));
    now_[layer] = plan_[layer];
  }
  ++report_.epoch;
  tell_edition();
  changed_over_ = true;
  counter_.forget_rows();
  report_.longest_switch_s = std::max(report_.longest_switch_s, seconds_since(start));
  begin_batch();
  if (!batch_.empty()) return;
  phase_ = Phase::kWatching;
  turns_ = 0;
  if (!report_.events.empty()) report_.events.back().switched = step;
}
}  // namespace switchyard::runtime
