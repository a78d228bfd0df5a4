// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A whole model over a group of ranks: embedding, layers, final norm, head. Attention is
/// data-parallel (a sequence has one home rank), the MoE layers span all ranks.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/transformer/mixer.hpp"
#include "runtime/transformer/model_weights.hpp"
#include "runtime/transformer/witness.hpp"

namespace switchyard::runtime {

struct TransformerOptions {
  LayerOptions layer;  ///< of the MoE layers; its isa also of everything else
  std::string placement = "linear";
  bool spare = false;  ///< this rank, alone in its group, has no experts yet
};

/// Collective over the group from construction on.
class Transformer {
 public:
  /// @throws comm::CollectiveError  on every rank: a tensor that is missing or misshapen, a model
  ///                                that lacks what generation needs
  Transformer(comm::Group& group, const Checkpoint& checkpoint, const TransformerOptions& options);
  /// The same from weights of any kind; they may go afterwards.
  Transformer(comm::Group& group, ModelWeights& weights, const TransformerOptions& options);
  ~Transformer();
  Transformer(Transformer&& other) noexcept;
  Transformer& operator=(Transformer&& other) noexcept;

  /// A new sequence on this rank. Local.
  [[nodiscard]] std::int64_t begin(States& states) const;
  /// Takes a sequence back to its first `end` tokens. Returns false if some layer cannot: then it
  /// has to begin anew. Local.
  [[nodiscard]] bool rewind(States& states, std::int64_t sequence, std::int64_t end) const;
  /// Rows after the final norm, [rows, hidden]. Collective: ranks without tokens enter with none.
  /// The same bits for a row whatever else is in the batch, on however many ranks, and however its
  /// sequence is cut into calls.
  /// @throws std::invalid_argument  an id outside the vocabulary (on this rank, before any message)
  [[nodiscard]] experts::Matrix forward(const Batch& batch, States& states,
                                        Witness* witness = nullptr);
  /// Logits of rows that came out of forward, [rows, vocabulary]. Local.
  [[nodiscard]] experts::Matrix logits(experts::MatrixView<const float> rows) const;

  [[nodiscard]] const Model& model() const;
  /// Those with experts, in order.
  [[nodiscard]] std::vector<MoeLayer*> moe_layers();
  [[nodiscard]] std::int64_t weight_bytes() const;  ///< packed, on this rank
  [[nodiscard]] PackStats packing() const;          ///< of this rank's experts, since it was loaded

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};
}  // namespace switchyard::runtime
