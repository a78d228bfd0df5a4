// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace/recorder.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "comm/group/collective.hpp"
#include "experts/index.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
/// A row of everybody's to its place. @param order  [tokens], which row stands at each
template <class Value>
std::vector<Value> ordered(const std::vector<Value>& rows, std::span<const std::int64_t> order,
                           std::int64_t width) {
  std::vector<Value> result;
  result.reserve(rows.size());
  for (const std::int64_t row : order) {
    const auto begin = rows.begin() + row * width;
    result.insert(result.end(), begin, begin + width);
  }
  return result;
}
}  // namespace

RoutingRecorder::RoutingRecorder(comm::Group& group, std::string what, std::string file,
                                 TraceInfo info)
    : group_(group), info_(std::move(info)), layers_(at(info_.layers)) {
  together(group_, [&] {
    if (group_.rank() != 0) return;
    writer_ = std::make_unique<TraceWriter>(std::move(what), std::move(file), info_);
  });
}

void RoutingRecorder::tokens(std::span<const TokenKey> keys) {
  keys_.insert(keys_.end(), keys.begin(), keys.end());
}

void RoutingRecorder::sent(std::int64_t layer, const experts::Routing& routing, std::int64_t first,
                           std::int64_t count) {
  const auto found = std::ranges::find(info_.layer_numbers, layer);
  if (found == info_.layer_numbers.end()) return;
  Rows& rows = layers_[at(found - info_.layer_numbers.begin())];
  for (std::int64_t token = first; token < first + count; ++token) {
    const std::int64_t begin = routing.offsets[at(token)];
    const std::int64_t slots = std::min(routing.offsets[at(token + 1)] - begin, info_.top_k);
    for (std::int64_t slot = 0; slot < info_.top_k; ++slot) {
      const std::int32_t expert =
          slot < slots ? routing.experts[at(begin + slot)] : experts::kDropped;
      rows.chosen.push_back(expert == experts::kDropped ? kNoExpert : expert);
      if (info_.detail != TraceDetail::kWeights) continue;
      rows.weights.push_back(expert == experts::kDropped ? 0 : routing.weights[at(begin + slot)]);
    }
  }
}

template <class Value>
std::vector<Value> RoutingRecorder::to_root(const std::vector<Value>& mine) {
  std::vector<std::byte> bytes;
  comm::stream_to_root(group_, std::as_bytes(std::span(mine)),
                       [&](int, std::span<const std::byte> more) {
                         bytes.insert(bytes.end(), more.begin(), more.end());
                       });
  std::vector<Value> values(bytes.size() / sizeof(Value));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

void RoutingRecorder::end_step(std::int64_t number) {
  const auto tokens = std::ssize(keys_);
  together(group_, [&] {
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      if (std::ssize(layers_[layer].chosen) == tokens * info_.top_k) continue;
      throw std::logic_error("trace: step " + std::to_string(number) + ", layer " +
                             std::to_string(layer) + " sent " +
                             std::to_string(std::ssize(layers_[layer].chosen) / info_.top_k) +
                             " tokens, want " + std::to_string(tokens));
    }
  });
  const auto keys = to_root(keys_);
  std::vector<std::int64_t> order(keys.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::ranges::sort(order, {}, [&](std::int64_t row) { return keys[at(row)]; });
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) write_layer(number, layer, order);
  forget();
  ++steps_;
}

void RoutingRecorder::write_layer(std::int64_t number, std::size_t layer,
                                  std::span<const std::int64_t> order) {
  const auto chosen = to_root(layers_[layer].chosen);
  const auto weights = to_root(layers_[layer].weights);
  together(group_, [&] {
    if (!writer_) return;
    TraceLayer all;
    all.tokens = std::ssize(order);
    all.chosen = ordered(chosen, order, info_.top_k);
    all.counts = counts_of(all.chosen, info_.experts);
    if (info_.detail == TraceDetail::kWeights) all.weights = ordered(weights, order, info_.top_k);
    if (info_.detail == TraceDetail::kCounts) all.chosen.clear();
    writer_->add(number, all);
  });
}

void RoutingRecorder::forget() {
  keys_.clear();
  for (Rows& rows : layers_) {
    rows.chosen.clear();
    rows.weights.clear();
  }
}

void RoutingRecorder::finish() {
  together(group_, [&] {
    if (writer_) writer_->finish();
  });
}
}  // namespace switchyard::runtime
