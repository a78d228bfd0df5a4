// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/dispatch.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <string>

#include "comm/error.hpp"

namespace switchyard::runtime {
namespace {
std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

/// The entries of a note, as the sender wrote them.
std::vector<Entry> entries_of(std::span<const std::byte> note, std::int64_t expected, int from) {
  if (note.size() != at(expected) * sizeof(Entry)) {
    throw comm::ProtocolError("dispatch: note of rank " + std::to_string(from) + " has " +
                              std::to_string(note.size()) + " bytes, want " +
                              std::to_string(at(expected) * sizeof(Entry)));
  }
  std::vector<Entry> entries(at(expected));
  if (!entries.empty()) std::memcpy(entries.data(), note.data(), note.size());
  return entries;
}

void check(const Entry& entry, std::int64_t rows, const Shard& shard, int from) {
  if (entry.row < 0 || entry.row >= rows) {
    throw comm::ProtocolError("dispatch: rank " + std::to_string(from) + " names row " +
                              std::to_string(entry.row) + ", want 0 to " +
                              std::to_string(rows - 1));
  }
  if (shard.local_of(entry.expert) < 0) {
    throw comm::ProtocolError("dispatch: rank " + std::to_string(from) + " sent a row for expert " +
                              std::to_string(entry.expert) + ", which does not live here");
  }
}
}  // namespace

Arrivals dispatch(comm::Exchange& exchange, DispatchPlan& plan, const Shard& shard,
                  experts::MatrixView<const float> tokens, bool gates, bool more) {
  const auto row_bytes = tokens.cols * std::int64_t{sizeof(float)};
  plan.offer.base = reinterpret_cast<const std::byte*>(tokens.data);
  plan.offer.row_bytes = row_bytes;
  plan.offer.more = more;
  const comm::Delivery& delivery = exchange.dispatch(plan.offer);
  const auto returns = exchange.open_returns(row_bytes);

  Arrivals arrivals;
  arrivals.more = delivery.more;
  arrivals.offsets.assign(at(shard.size() + 1), 0);
  std::vector<std::vector<Entry>> entries;
  for (std::size_t from = 0; from < delivery.notes.size(); ++from) {
    entries.push_back(
        entries_of(delivery.notes[from], delivery.results[from], static_cast<int>(from)));
    const std::int64_t rows = delivery.row_offsets[from + 1] - delivery.row_offsets[from];
    for (const Entry& entry : entries.back()) {
      check(entry, rows, shard, static_cast<int>(from));
      ++arrivals.offsets[at(shard.local_of(entry.expert) + 1)];
    }
  }
  for (std::int64_t e = 0; e < shard.size(); ++e) {
    arrivals.offsets[at(e + 1)] += arrivals.offsets[at(e)];
  }

  arrivals.rows.resize(at(arrivals.size()));
  arrivals.results.resize(at(arrivals.size()));
  if (gates) arrivals.gates.resize(at(arrivals.size()));
  std::vector<std::int64_t> next(arrivals.offsets.begin(), arrivals.offsets.end() - 1);
  for (std::size_t from = 0; from < entries.size(); ++from) {
    std::byte* result = returns[from];
    for (const Entry& entry : entries[from]) {
      const std::size_t i = at(next[at(shard.local_of(entry.expert))]++);
      arrivals.rows[i] =
          reinterpret_cast<const float*>(delivery.rows[at(delivery.row_offsets[from] + entry.row)]);
      if (gates) arrivals.gates[i] = entry.gate;
      arrivals.results[i] = reinterpret_cast<float*>(result);
      result += row_bytes;
    }
  }
  return arrivals;
}

void grouped_ffn(const Shard& shard, const Arrivals& arrivals, Workers& workers,
                 std::vector<experts::AlignedBuffer>& scratch) {
  // Blocks are large enough that the weights, read once a block, are not what takes the time.
  constexpr std::int64_t kBlockRows = 192;
  struct Task {
    std::int64_t expert;
    std::int64_t first;
    std::int64_t count;
  };
  std::vector<Task> tasks;
  const bool split = workers.threads() > 1;
  for (std::int64_t e = 0; e < shard.size(); ++e) {
    const std::int64_t end = arrivals.offsets[at(e + 1)];
    for (std::int64_t first = arrivals.offsets[at(e)]; first < end;) {
      const std::int64_t count = split ? std::min(kBlockRows, end - first) : end - first;
      tasks.push_back({.expert = e, .first = first, .count = count});
      first += count;
    }
  }
  workers.run(static_cast<std::int64_t>(tasks.size()), [&](std::int64_t i, int thread) {
    const Task& task = tasks[at(i)];
    const auto gates = arrivals.gates.empty()
                           ? std::span<const float>{}
                           : std::span(arrivals.gates).subspan(at(task.first), at(task.count));
    shard.expert(task.expert)
        .run(std::span(arrivals.rows).subspan(at(task.first), at(task.count)), gates,
             std::span(arrivals.results).subspan(at(task.first), at(task.count)),
             scratch[at(thread)]);
  });
}

void combine(comm::Exchange& exchange, const DispatchPlan& plan, const experts::Routing& routing,
             std::int64_t first, experts::MatrixView<const float> tokens, bool gates,
             experts::MatrixView<float> out) {
  const auto homes = exchange.collect();
  const std::int64_t first_slot = routing.offsets[at(first)];
  std::vector<const float*> result_of(at(plan.counts.slots), nullptr);
  const std::int64_t row_bytes = tokens.cols * std::int64_t{sizeof(float)};
  for (std::size_t r = 0; r < homes.size(); ++r) {
    const std::byte* result = homes[r];
    for (std::int64_t j = plan.result_offsets[r]; j < plan.result_offsets[r + 1]; ++j) {
      result_of[at(plan.result_slots[at(j)])] = reinterpret_cast<const float*>(result);
      result += row_bytes;
    }
  }
  for (std::int64_t t = 0; t < tokens.rows; ++t) {
    float* const sum = out.row(t).data();
    std::fill_n(sum, out.cols, 0.0F);
    for (std::int64_t slot = routing.offsets[at(first + t)];
         slot < routing.offsets[at(first + t + 1)]; ++slot) {
      if (routing.experts[at(slot)] == experts::kDropped) continue;
      const float* const found = result_of[at(slot - first_slot)];
      const bool identity = found == nullptr;
      const float* const row = identity ? tokens.row(t).data() : found;
      const float weight = gates && !identity ? 1.0F : routing.weights[at(slot)];
      for (std::int64_t c = 0; c < out.cols; ++c) sum[c] += weight * row[c];
    }
  }
}
}  // namespace switchyard::runtime
