// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/coordinator.hpp"

#include <stdexcept>
#include <utility>

namespace switchyard::runtime {

Coordinator::Coordinator(comm::Group& group, std::vector<std::unique_ptr<MoeLayer>> layers)
    : group_(group), layers_(std::move(layers)) {
  if (layers_.empty()) throw std::invalid_argument("coordinator: got 0 layers, want at least 1");
}

experts::Matrix Coordinator::step(std::int64_t step, std::int64_t first,
                                  experts::MatrixView<const float> tokens,
                                  const GivenRouting& given) {
  group_.deadline().at({.step = step, .layer = -1, .phase = "start"});
  experts::Matrix input;
  experts::Matrix output;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (i > 0) {
      experts::Matrix next(tokens.rows, tokens.cols);
      rms_norm_sum(tokens, output.view(), next.view());
      input = std::move(next);
      tokens = input.view();
    }
    experts::Routing routing = layers_[i]->route(tokens, first);
    output = layers_[i]->forward(tokens, given ? given(i, step) : routing);
  }
  group_.deadline().at({.step = step, .layer = -1, .phase = "end of step"});
  return output;
}

void Coordinator::reset_stats() {
  for (auto& layer : layers_) layer->reset_stats();
}

LayerStats Coordinator::stats() const {
  LayerStats sum = layers_[0]->stats();
  for (std::size_t i = 1; i < layers_.size(); ++i) sum += layers_[i]->stats();
  return sum;
}
}  // namespace switchyard::runtime
