// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One layer of a whole model: norms, mixer, experts or a dense MLP, and what is added where.
#include <memory>
#include <optional>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/transformer/dense_mlp.hpp"
#include "runtime/transformer/mixer.hpp"
#include "runtime/transformer/model_weights.hpp"
#include "runtime/transformer/norm.hpp"
#include "runtime/transformer/witness.hpp"

namespace switchyard::runtime {

/// Rows on their way through a layer, kept from layer to layer.
struct DecoderScratch {
  experts::Matrix normed;
  experts::Matrix mixed;
  experts::Matrix blocked;
  experts::Matrix dense;
};

/// How all layers of a model are kept and run.
struct DecoderOptions {
  LayerOptions layer;
  std::string placement;
  bool spare;
  std::shared_ptr<Engine> engine;
};

class DecoderLayer {
 public:
  /// Collective. @throws comm::CollectiveError  on every rank, if any rank cannot read its weights
  DecoderLayer(comm::Group& group, ModelWeights& weights, std::int64_t layer,
               const DecoderOptions& options);

  /// Collective if the layer has experts: a rank without rows enters with none.
  /// @param hidden  [rows of the batch, hidden]: input of the layer, and its output afterwards
  void forward(const Batch& batch, experts::Matrix& hidden, States& states, DecoderScratch& scratch,
               Witness* witness);

  [[nodiscard]] const Mixer& mixer() const { return *mixer_; }
  /// Null in a dense layer.
  [[nodiscard]] MoeLayer* moe() { return moe_ ? &*moe_ : nullptr; }
  [[nodiscard]] std::int64_t weight_bytes() const;
  [[nodiscard]] PackStats packing() const { return moe_ ? moe_->packing() : PackStats{}; }

 private:
  std::unique_ptr<experts::WeightSource> read(ModelWeights& weights, const DecoderOptions& options);
  /// The experts or the dense MLP over scratch.normed, into scratch.blocked.
  void run_block(DecoderScratch& scratch, Witness* witness);
  void run_always_on(const experts::Matrix& hidden, DecoderScratch& scratch, Witness* witness);

  std::int64_t layer_;
  bool has_experts_ = false;
  experts::BlockSpec spec_;  ///< without the branch beside the experts, which has its own norm
  experts::DenseMode dense_mode_ = experts::DenseMode::kNone;
  std::vector<Norm> norms_;  ///< before mixer and block; sandwich: before and after each
  std::unique_ptr<Mixer> mixer_;
  std::shared_ptr<Engine> engine_;
  std::optional<MoeLayer> moe_;
  DenseMlp mlp_;  ///< of a dense layer
  Norm always_on_norm_;
  DenseMlp always_on_;  ///< beside (Arctic) or behind (OpenMoE) the experts
};
}  // namespace switchyard::runtime
