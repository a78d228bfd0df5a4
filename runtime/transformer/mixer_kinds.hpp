// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One function a kind of mixer; make_mixer chooses. All read the layer's tensors under
/// layer_prefix() by the names of tensor_names().
#include <memory>
#include <string>

#include "runtime/transformer/mixer.hpp"

namespace switchyard::runtime {

/// What a mixer is made from.
struct MixerParts {
  const Model& model;
  TensorSource& tensors;
  std::int64_t layer;
  experts::Isa isa;
};

/// "model.layers.3."
[[nodiscard]] std::string layer_prefix(const Model& model, std::int64_t layer);

/// @throws std::invalid_argument  "sequence 3: first new token, got position 5, want 4"
void require_next(const Segment& segment, std::int64_t end);

/// Grouped-query attention: gqa, gqa_chunked, gqa_sinks, and the attention layers of hybrids.
[[nodiscard]] std::unique_ptr<Mixer> make_grouped(const MixerParts& parts);
/// Latent attention, with a sparse indexer or without: mla, mla_dsa.
[[nodiscard]] std::unique_ptr<Mixer> make_latent(const MixerParts& parts);
/// Layers that share keys and values with the last one that owns some: gqa_cla.
[[nodiscard]] std::unique_ptr<Mixer> make_cross_layer(const MixerParts& parts);
/// A causal filter in front of queries and keys: gqa_lfa.
[[nodiscard]] std::unique_ptr<Mixer> make_filtered(const MixerParts& parts);
/// Experts for queries and outputs: moa.
[[nodiscard]] std::unique_ptr<Mixer> make_mixture(const MixerParts& parts);
/// A selective state space: the other layers of mamba_hybrid.
[[nodiscard]] std::unique_ptr<Mixer> make_mamba(const MixerParts& parts);
}  // namespace switchyard::runtime
