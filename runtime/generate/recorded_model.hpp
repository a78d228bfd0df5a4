// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A model whose routing is recorded while it generates. Step 0 is all prompts; each later one is a
/// token more of every sequence.
#include <cstdint>
#include <map>

#include "comm/group/group.hpp"
#include "runtime/generate/language_model.hpp"
#include "runtime/trace/recorder.hpp"

namespace switchyard::runtime {

/// Goes before a model whose layers tell the recorder. Relies on what generate() does: sequence i
/// begins on rank i mod ranks, in order, and logits are asked for once a step, behind its passes.
class RecordedModel final : public LanguageModel {
 public:
  RecordedModel(comm::Group& group, LanguageModel& model, RoutingRecorder& recorder)
      : group_(group), model_(model), recorder_(recorder) {}

  [[nodiscard]] std::int64_t vocabulary() const override { return model_.vocabulary(); }
  [[nodiscard]] std::int64_t max_context() const override { return model_.max_context(); }
  [[nodiscard]] std::int64_t begin() override;
  void end(std::int64_t sequence) override { model_.end(sequence); }
  [[nodiscard]] experts::Matrix forward(const Batch& batch, Witness* witness) override;
  [[nodiscard]] experts::Matrix logits(experts::MatrixView<const float> rows) const override;
  /// Writes the last step, and the file. Collective.
  void finish();

 private:
  comm::Group& group_;
  LanguageModel& model_;
  RoutingRecorder& recorder_;
  std::map<std::int64_t, std::int64_t> numbers_;  ///< of sequences over all ranks, by their state
  std::int64_t begun_ = 0;                        ///< on this rank
  std::int64_t step_ = 0;
  mutable bool over_ = false;  ///< the step is, and has not been written
};
}  // namespace switchyard::runtime
