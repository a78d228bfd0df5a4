// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/coordinator.hpp"

#include <optional>
#include <stdexcept>
#include <utility>

namespace switchyard::runtime {

Coordinator::Coordinator(comm::Group& group, std::vector<std::unique_ptr<MoeLayer>> layers,
                         Timeline* timeline)
    : group_(group), layers_(std::move(layers)), timeline_(timeline) {
  if (layers_.empty()) throw std::invalid_argument("coordinator: got 0 layers, want at least 1");
}

experts::Matrix Coordinator::step(std::int64_t step, std::int64_t first,
                                  experts::MatrixView<const float> tokens,
                                  const GivenRouting& given) {
  group_.deadline().at({.step = step, .layer = -1, .phase = "start"});
  const TimelineSpan whole(timeline_, EventKind::kStep, "step", group_.deadline());
  experts::Matrix output(tokens.rows, tokens.cols);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (i > 0) {
      experts::Matrix& next = inputs_[i % 2];  // the other one is what is read
      next.reshape(tokens.rows, tokens.cols);
      rms_norm_sum(tokens, output.view(), next.view());
      tokens = next.view();
    }
    const TimelineSpan one(timeline_, EventKind::kLayer, "layer", group_.deadline());
    const std::optional<LayerStats> before =
        timeline_ == nullptr ? std::nullopt : std::optional(layers_[i]->stats());
    if (given) {
      layers_[i]->route(tokens, first, overruled_);
      layers_[i]->forward(tokens, given(i, step), output.view());
    } else {
      layers_[i]->forward(tokens, output.view(), first);
    }
    if (before) count(*layers_[i], *before);
  }
  group_.deadline().at({.step = step, .layer = -1, .phase = "end of step"});
  return output;
}

void Coordinator::count(const MoeLayer& layer, const LayerStats& before) {
  const LayerStats& now = layer.stats();
  const comm::Position& at = group_.deadline().position();
  timeline_->count("rows computed", at, now.arrived - before.arrived);
  timeline_->count("rows sent", at, now.planned.rows_out - before.planned.rows_out);
  timeline_->count("bytes sent", at, now.wire_bytes - before.wire_bytes);
}

void Coordinator::reset_stats() {
  for (auto& layer : layers_) layer->reset_stats();
}

PackStats Coordinator::packing() const {
  PackStats sum;
  for (const auto& layer : layers_) sum += layer->packing();
  return sum;
}

LayerStats Coordinator::stats() const {
  LayerStats sum = layers_[0]->stats();
  for (std::size_t i = 1; i < layers_.size(); ++i) sum += layers_[i]->stats();
  return sum;
}
}  // namespace switchyard::runtime
