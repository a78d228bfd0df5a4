// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/recorded_model.hpp"

#include <vector>

namespace switchyard::runtime {

std::int64_t RecordedModel::begin() {
  const std::int64_t state = model_.begin();
  numbers_[state] = group_.rank() + begun_ * group_.size();
  ++begun_;
  return state;
}

experts::Matrix RecordedModel::forward(const Batch& batch, Witness* witness) {
  if (over_) recorder_.end_step(step_++);
  over_ = false;
  std::vector<TokenKey> keys;
  for (const Segment& segment : batch.segments) {
    for (std::int64_t i = 0; i < segment.count; ++i) {
      keys.push_back({.sequence = numbers_.at(segment.sequence), .position = segment.first + i});
    }
  }
  recorder_.tokens(keys);
  return model_.forward(batch, witness);
}

experts::Matrix RecordedModel::logits(experts::MatrixView<const float> rows) const {
  over_ = true;
  return model_.logits(rows);
}

void RecordedModel::finish() {
  if (over_) recorder_.end_step(step_++);
  over_ = false;
  recorder_.finish();
}
}  // namespace switchyard::runtime
