// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What lets the tokens of a sequence see each other: attention in all its kinds, and what stands
/// in its place (Mamba). One a layer. Everything here is local to a rank.
#include <cstdint>
#include <memory>
#include <vector>

#include "experts/kernels/isa.hpp"
#include "experts/tensor.hpp"
#include "runtime/model/model.hpp"
#include "runtime/transformer/batch.hpp"
#include "runtime/transformer/tensor_source.hpp"

namespace switchyard::runtime {

/// What one mixer remembers of one sequence: keys and values, a latent, a recurrent state.
class MixerState {
 public:
  virtual ~MixerState() = default;
  [[nodiscard]] virtual std::int64_t bytes() const = 0;
};

/// The states of all sequences of a rank: one a sequence and layer, made by the layers' mixers.
class States {
 public:
  /// States of a new sequence; its number is the lowest that is free.
  std::int64_t add(std::vector<std::unique_ptr<MixerState>> by_layer);
  void remove(std::int64_t sequence);
  /// Null where the layer's mixer keeps nothing of its own (cross-layer attention).
  [[nodiscard]] MixerState* at(std::int64_t sequence, std::int64_t layer) const;
  [[nodiscard]] std::int64_t bytes() const;

 private:
  std::vector<std::vector<std::unique_ptr<MixerState>>> sequences_;
};

/// Immutable once it is made. A row's result depends on its sequence alone, never on what else is
/// in the batch or how a sequence was cut into calls: the same bits (law 1).
class Mixer {
 public:
  virtual ~Mixer() = default;
  /// @param x    [rows of the batch, hidden]: normed
  /// @param out  [rows of the batch, hidden]; before the residual
  virtual void forward(const Batch& batch, experts::MatrixView<const float> x, States& states,
                       experts::MatrixView<float> out) const = 0;
  /// What it keeps of a sequence that has not begun; null: nothing.
  [[nodiscard]] virtual std::unique_ptr<MixerState> make_state() const = 0;
  /// Takes the state back to its first `end` tokens. Returns false if it cannot, and the state is
  /// then of no use.
  [[nodiscard]] virtual bool rewind(MixerState& /*state*/, std::int64_t /*end*/) const {
    return false;
  }
  [[nodiscard]] virtual std::int64_t weight_bytes() const = 0;
};

/// The mixer that the model has in this layer, with its weights from `tensors`.
/// @throws std::invalid_argument  naming the tensor, or a field of the model that is not given
[[nodiscard]] std::unique_ptr<Mixer> make_mixer(const Model& model, TensorSource& tensors,
                                                std::int64_t layer, experts::Isa isa);
}  // namespace switchyard::runtime
