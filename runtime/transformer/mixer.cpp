// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/mixer.hpp"

#include <algorithm>
#include <stdexcept>

#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"
#include "runtime/transformer/mixer_kinds.hpp"

namespace switchyard::runtime {

std::int64_t States::add(std::vector<std::unique_ptr<MixerState>> by_layer) {
  const auto free = std::ranges::find_if(sequences_, [](const auto& s) { return s.empty(); });
  const auto sequence = static_cast<std::int64_t>(free - sequences_.begin());
  if (free == sequences_.end()) sequences_.emplace_back();
  sequences_[static_cast<std::size_t>(sequence)] = std::move(by_layer);
  return sequence;
}

void States::remove(std::int64_t sequence) {
  sequences_.at(static_cast<std::size_t>(sequence)).clear();
}

MixerState* States::at(std::int64_t sequence, std::int64_t layer) const {
  return sequences_.at(static_cast<std::size_t>(sequence))
      .at(static_cast<std::size_t>(layer))
      .get();
}

std::int64_t States::bytes() const {
  std::int64_t sum = 0;
  for (const auto& sequence : sequences_) {
    for (const auto& state : sequence) sum += state == nullptr ? 0 : state->bytes();
  }
  return sum;
}

std::string layer_prefix(const Model& model, std::int64_t layer) {
  const TensorNames names = tensor_names(model.family());
  return names.layer + std::to_string(layer) + names.separator;
}

void require_next(const Segment& segment, std::int64_t end) {
  if (segment.first == end) return;
  throw std::invalid_argument("sequence " + std::to_string(segment.sequence) +
                              ": first new token, got position " + std::to_string(segment.first) +
                              ", want " + std::to_string(end));
}

std::unique_ptr<Mixer> make_mixer(const Model& model, TensorSource& tensors, std::int64_t layer,
                                  experts::Isa isa) {
  namespace v1 = switchyard::model::v1;
  const MixerParts parts{.model = model, .tensors = tensors, .layer = layer, .isa = isa};
  switch (model.message().attention()) {
    case v1::Attention::gqa:
    case v1::Attention::gqa_chunked:
    case v1::Attention::gqa_sinks:
      return make_grouped(parts);
    case v1::Attention::mla:
    case v1::Attention::mla_dsa:
      return make_latent(parts);
    case v1::Attention::gqa_cla:
      return make_cross_layer(parts);
    case v1::Attention::gqa_lfa:
      return make_filtered(parts);
    case v1::Attention::moa:
      return make_mixture(parts);
    case v1::Attention::mamba_hybrid: {
      const std::int64_t every = std::max<std::int64_t>(model.message().attn_every(), 1);
      return layer % every == model.message().attn_offset() ? make_grouped(parts)
                                                            : make_mamba(parts);
    }
    default:
      throw std::invalid_argument("model: attention, got " +
                                  v1::Attention::Type_Name(model.message().attention()) +
                                  ", want one that whole models have");
  }
}
}  // namespace switchyard::runtime
