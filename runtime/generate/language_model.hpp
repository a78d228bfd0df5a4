// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What generating and scoring ask of a whole model, so that their loops can be tried on one whose
/// answers are known. Collective, as Transformer is.
#include <cstdint>
#include <utility>

#include "experts/tensor.hpp"
#include "runtime/transformer/batch.hpp"
#include "runtime/transformer/transformer.hpp"

namespace switchyard::runtime {

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  [[nodiscard]] virtual std::int64_t vocabulary() const = 0;
  [[nodiscard]] virtual std::int64_t max_context() const = 0;  ///< tokens; 0: not known
  /// A new sequence on this rank, and the end of one. Local.
  [[nodiscard]] virtual std::int64_t begin() = 0;
  virtual void end(std::int64_t sequence) = 0;
  /// Takes a sequence back to its first `length` tokens, also when a forward has thrown. Returns
  /// false if it cannot: then it has to end and begin anew. Local.
  [[nodiscard]] virtual bool rewind(std::int64_t /*sequence*/, std::int64_t /*length*/) {
    return false;
  }
  /// Rows [rows, hidden] that logits() takes. Collective: ranks without tokens enter with none.
  [[nodiscard]] virtual experts::Matrix forward(const Batch& batch, Witness* witness) = 0;
  /// [rows, vocabulary]. Local.
  [[nodiscard]] virtual experts::Matrix logits(experts::MatrixView<const float> rows) const = 0;
};

/// Tokens; 0: not known.
[[nodiscard]] std::int64_t max_context_of(const Model& model);

/// A Transformer with the states of this rank's sequences.
class TransformerModel final : public LanguageModel {
 public:
  explicit TransformerModel(Transformer transformer) : transformer_(std::move(transformer)) {}
  [[nodiscard]] std::int64_t vocabulary() const override;
  [[nodiscard]] std::int64_t max_context() const override;
  [[nodiscard]] std::int64_t begin() override { return transformer_.begin(states_); }
  void end(std::int64_t sequence) override { states_.remove(sequence); }
  [[nodiscard]] bool rewind(std::int64_t sequence, std::int64_t length) override {
    return transformer_.rewind(states_, sequence, length);
  }
  [[nodiscard]] experts::Matrix forward(const Batch& batch, Witness* witness) override {
    return transformer_.forward(batch, states_, witness);
  }
  [[nodiscard]] experts::Matrix logits(experts::MatrixView<const float> rows) const override {
    return transformer_.logits(rows);
  }
  [[nodiscard]] Transformer& transformer() { return transformer_; }
  [[nodiscard]] const Transformer& transformer() const { return transformer_; }

 private:
  Transformer transformer_;
  States states_;
};
}  // namespace switchyard::runtime
