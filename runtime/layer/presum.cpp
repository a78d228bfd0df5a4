// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/presum.hpp"

#include <cstring>

#include "experts/index.hpp"
#include "experts/sum.hpp"

namespace switchyard::runtime {
void plan_presum(DispatchPlan& plan) {
  comm::Offer& offer = plan.offer;
  for (std::size_t r = 0; r < offer.results.size(); ++r) {
    offer.results[r] = offer.row_offsets[r + 1] - offer.row_offsets[r];
  }
}

void presum(Engine& engine, bool gates, std::int64_t hidden, experts::Isa isa) {
  const comm::Delivery& delivery = *engine.delivery;
  std::size_t partial = 0;
  for (std::size_t from = 0; from < delivery.notes.size(); ++from) {
    const std::span<const std::byte> note = delivery.notes[from];
    std::size_t position = 0;
    for (std::int64_t row = 0; row < delivery.results[from]; ++row) {
      engine.sum_rows.clear();
      engine.sum_weights.clear();
      for (; position < note.size(); position += sizeof(Entry), ++partial) {
        Entry entry;
        std::memcpy(&entry, note.data() + position, sizeof entry);
        if (entry.row != row) break;
        engine.sum_rows.push_back(engine.partials[partial]);
        engine.sum_weights.push_back(gates ? 1.0F : entry.gate);
      }
      auto* const sum = reinterpret_cast<float*>(engine.returns[from]) + row * hidden;
      experts::weighted_sum(isa, engine.sum_rows, engine.sum_weights, {sum, at(hidden)});
    }
  }
}

void combine_presummed(Engine& engine, const experts::Routing& routing, std::int64_t first,
                       experts::MatrixView<const float> tokens, std::int64_t num_experts,
                       experts::Isa isa, experts::MatrixView<float> out) {
  const auto homes = engine.exchange->collect();
  const comm::Offer& offer = engine.plan.offer;
  std::vector<std::int64_t>& next = engine.next;  // row of each rank that was not used yet
  next.assign(offer.row_offsets.begin(), offer.row_offsets.end() - 1);
  for (std::int64_t t = 0; t < tokens.rows; ++t) {
    engine.sum_rows.clear();
    engine.sum_weights.clear();
    for (std::size_t r = 0; r < homes.size(); ++r) {
      if (next[r] == offer.row_offsets[r + 1] || offer.rows[at(next[r])] != t) continue;
      const std::int64_t row = next[r]++ - offer.row_offsets[r];
      engine.sum_rows.push_back(reinterpret_cast<const float*>(homes[r]) + row * tokens.cols);
      engine.sum_weights.push_back(1.0F);
    }
    for (std::int64_t slot = routing.offsets[at(first + t)];
         slot < routing.offsets[at(first + t + 1)]; ++slot) {
      if (routing.experts[at(slot)] < num_experts) continue;  // dropped, or in a rank's sum
      engine.sum_rows.push_back(tokens.row(t).data());
      engine.sum_weights.push_back(routing.weights[at(slot)]);
    }
    experts::weighted_sum(isa, engine.sum_rows, engine.sum_weights, out.row(t));
  }
}
}  // namespace switchyard::runtime
