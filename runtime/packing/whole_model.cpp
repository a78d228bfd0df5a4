// SPDX-License-Identifier: Apache-2.0
#include "runtime/packing/whole_model.hpp"

#include <algorithm>

#include "experts/ffn.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/sizing/sizing.hpp"

namespace switchyard::runtime {

RankMemory model_memory(const Model& model, experts::DType stored, int ranks, const ModelUse& use) {
  const MemoryNeed need = size_up(model, {.ranks = ranks,
                                          .stored = stored,
                                          .tokens = use.tokens,
                                          .sequences = use.sequences,
                                          .context = use.context})
                              .memory;
  const auto& message = model.message();
  const std::int64_t embedding =
      message.tie_embeddings() || use.made_up
          ? 0
          : message.vocab_size() * message.hidden_size() * static_cast<std::int64_t>(sizeof(float));
  return {.experts = need.experts,
          .expert = experts::PackedExpert::packed_bytes(model.block().expert, stored),
          .rest = need.always_on + std::max<std::int64_t>(need.dense - embedding, 0) +
                  need.buffers + need.cache};
}

Packing settle_packing(comm::Group& group, const Model& model, const ModelUse& use, PackMode mode,
                       std::int64_t memory, LayerOptions& options) {
  PackRequest request;
  request.mode = mode;
  request.cached = options.pack_cache != nullptr;
  request.made_up = use.made_up;
  request.memory = memory;
  request.threads = options.threads;
  request.rank = group.rank();
  request.ranks = group.size();
  request.stored = options.stored;
  request.need = [&](experts::DType stored, int ranks) {
    return model_memory(model, stored, ranks, use);
  };
  if (use.context > 0) request.otherwise = "fewer tokens at once";
  const Packing packing = decide_packing(group, request);
  if (!packing.as_needed) return packing;
  options.node_queue = false;
  if (packing.ahead) options.pack_budget = std::make_shared<PackBudget>(*packing.ahead);
  return packing;
}
}  // namespace switchyard::runtime
