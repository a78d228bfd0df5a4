// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/dispatch.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <string>

#include "comm/base/error.hpp"
#include "experts/index.hpp"
#include "experts/sum.hpp"

namespace switchyard::runtime {
namespace {
/// Calls f(entry) for each entry of a note, as the sender wrote them.
template <class F>
void each_entry(std::span<const std::byte> note, const F& f) {
  for (std::size_t at = 0; at < note.size(); at += sizeof(Entry)) {
    Entry entry;
    std::memcpy(&entry, note.data() + at, sizeof entry);
    f(entry);
  }
}

/// @param expected  entries; where rows are answered by sums, there may be several to an answer
void check(std::span<const std::byte> note, std::int64_t expected, bool presum, std::size_t from) {
  if (note.size() == at(expected) * sizeof(Entry)) return;
  if (presum && note.size() % sizeof(Entry) == 0 && note.size() > at(expected) * sizeof(Entry)) {
    return;
  }
  throw comm::ProtocolError("dispatch: note of rank " + std::to_string(from) + " has " +
                            std::to_string(note.size()) + " bytes, want " +
                            std::to_string(at(expected) * sizeof(Entry)));
}

void check(const Entry& entry, std::int64_t rows, const LocalExperts& local, std::size_t from) {
  if (entry.row < 0 || entry.row >= rows) {
    throw comm::ProtocolError("dispatch: rank " + std::to_string(from) + " names row " +
                              std::to_string(entry.row) + ", want 0 to " +
                              std::to_string(rows - 1));
  }
  if (local.number_of(entry.expert) < 0) {
    throw comm::ProtocolError("dispatch: rank " + std::to_string(from) + " sent a row for expert " +
                              std::to_string(entry.expert) + ", which does not live here");
  }
}

std::int64_t middle_bytes(const void* expert, std::int64_t rows) {
  return static_cast<const experts::PackedExpert*>(expert)->middle_bytes(rows);
}
}  // namespace

Arrivals dispatch(Engine& engine, const LocalExperts& local,
                  experts::MatrixView<const float> tokens, bool gates, bool presum, bool more) {
  const auto row_bytes = tokens.cols * std::int64_t{sizeof(float)};
  comm::Offer& offer = engine.plan.offer;
  offer.base = reinterpret_cast<const std::byte*>(tokens.data);
  offer.row_bytes = row_bytes;
  offer.result_bytes = row_bytes;
  offer.more = more;
  const comm::Delivery& delivery = engine.exchange->dispatch(offer);
  engine.delivery = &delivery;
  engine.returns = engine.exchange->open_returns(row_bytes);

  std::int64_t entries = 0;
  for (std::size_t from = 0; from < delivery.notes.size(); ++from) {
    check(delivery.notes[from], delivery.results[from], presum, from);
    entries += static_cast<std::int64_t>(delivery.notes[from].size() / sizeof(Entry));
  }
  Arrivals arrivals = engine.board.make_room(local.size(), entries, gates);
  arrivals.more = delivery.more;
  std::ranges::fill(arrivals.offsets, 0);
  for (std::size_t from = 0; from < delivery.notes.size(); ++from) {
    const std::int64_t rows = delivery.row_offsets[from + 1] - delivery.row_offsets[from];
    each_entry(delivery.notes[from], [&](const Entry& entry) {
      check(entry, rows, local, from);
      ++arrivals.offsets[at(local.number_of(entry.expert) + 1)];
    });
  }
  for (std::int64_t e = 0; e < local.size(); ++e) {
    arrivals.offsets[at(e + 1)] += arrivals.offsets[at(e)];
  }

  engine.partials.clear();
  std::byte* partial = presum ? engine.board.reserve(entries * row_bytes) : nullptr;
  std::vector<std::int64_t>& next = engine.next;
  next.assign(arrivals.offsets.begin(), arrivals.offsets.end() - 1);
  for (std::size_t from = 0; from < delivery.notes.size(); ++from) {
    std::byte* result = presum ? partial : engine.returns[from];
    const std::byte* const* const rows = delivery.rows.data() + delivery.row_offsets[from];
    each_entry(delivery.notes[from], [&](const Entry& entry) {
      const std::size_t i = at(next[at(local.number_of(entry.expert))]++);
      arrivals.rows[i] = reinterpret_cast<const float*>(rows[entry.row]);
      if (gates) arrivals.gates[i] = entry.gate;
      arrivals.results[i] = reinterpret_cast<float*>(result);
      if (presum) engine.partials.push_back(arrivals.results[i]);
      result += row_bytes;
    });
    if (presum) partial = result;
  }
  return arrivals;
}

void publish(Engine& engine, const Shard& shard, const Arrivals& arrivals) {
  WorkBoard::Shape shape;
  if (shard.size() > 0) {
    const experts::PackedExpert& any = shard.any();
    shape = {.up_parts = any.up_parts(),
             .down_parts = any.down_parts(),
             .middle_bytes = middle_bytes,
             .context = &any};
  }
  // An expert that has yet to be packed is packed once, by whoever takes all of its rows.
  const int sharers = shard.as_needed() > 0 ? 1 : engine.sharers;
  engine.board.publish(arrivals, shard.local().logical(), shape, sharers,
                       engine.exchange->stages());
}

void combine(Engine& engine, const experts::Routing& routing, std::int64_t first,
             experts::MatrixView<const float> tokens, bool gates, experts::Isa isa,
             experts::MatrixView<float> out) {
  const auto homes = engine.exchange->collect();
  const DispatchPlan& plan = engine.plan;
  const std::int64_t first_slot = routing.offsets[at(first)];
  std::vector<const float*>& result_of = engine.result_of;
  result_of.assign(at(plan.counts.slots), nullptr);
  const std::int64_t row_bytes = tokens.cols * std::int64_t{sizeof(float)};
  for (std::size_t r = 0; r < homes.size(); ++r) {
    const std::byte* result = homes[r];
    for (std::int64_t j = plan.result_offsets[r]; j < plan.result_offsets[r + 1]; ++j) {
      result_of[at(plan.result_slots[at(j)])] = reinterpret_cast<const float*>(result);
      result += row_bytes;
    }
  }
  for (std::int64_t t = 0; t < tokens.rows; ++t) {
    engine.sum_rows.clear();
    engine.sum_weights.clear();
    for (std::int64_t slot = routing.offsets[at(first + t)];
         slot < routing.offsets[at(first + t + 1)]; ++slot) {
      if (routing.experts[at(slot)] == experts::kDropped) continue;
      const float* const found = result_of[at(slot - first_slot)];
      const bool identity = found == nullptr;
      engine.sum_rows.push_back(identity ? tokens.row(t).data() : found);
      engine.sum_weights.push_back(gates && !identity ? 1.0F : routing.weights[at(slot)]);
    }
    experts::weighted_sum(isa, engine.sum_rows, engine.sum_weights, out.row(t));
  }
}
}  // namespace switchyard::runtime
