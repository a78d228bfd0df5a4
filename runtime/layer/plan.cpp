// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/plan.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>

#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
bool holds(const Placement& placement, int rank, std::int32_t expert) {
  const auto all = placement.experts_of(rank);
  return std::binary_search(all.begin(), all.end(), expert);
}

/// Of copies in turn from number `turn` on, the first on a rank that gets the row anyway; else
/// `turn`.
std::size_t copy_from(std::span<const std::int32_t> copies, std::size_t turn, std::int32_t expert,
                      const Placement& placement, std::span<const std::int32_t> hosts) {
  std::size_t nearest = copies.size();
  // A few hosts are looked up faster than many copies are gone through.
  for (const std::int32_t host : hosts) {
    if (host == kNowhere || !holds(placement, host, expert)) continue;
    const auto place = static_cast<std::size_t>(
        std::lower_bound(copies.begin(), copies.end(), host) - copies.begin());
    nearest = std::min(nearest, place >= turn ? place - turn : place + copies.size() - turn);
  }
  if (nearest == copies.size()) return turn;
  return turn + nearest < copies.size() ? turn + nearest : turn + nearest - copies.size();
}

void check(const experts::Routing& routing, std::int64_t slot, std::int64_t token,
           std::int64_t all_experts) {
  const std::int32_t expert = routing.experts[at(slot)];
  if (expert == experts::kDropped || (expert >= 0 && expert < all_experts)) return;
  throw std::invalid_argument("plan: expert " + std::to_string(expert) + " of token " +
                              std::to_string(token) + ", want 0 to " +
                              std::to_string(all_experts - 1));
}
}  // namespace

void choose_hosts(std::span<const std::int32_t> experts, const Placement& placement, int home,
                  std::int64_t token, std::span<std::int32_t> hosts) {
  bool replicas = false;
  for (std::size_t s = 0; s < experts.size(); ++s) {
    hosts[s] = kNowhere;
    if (experts[s] < 0 || experts[s] >= placement.experts()) continue;
    const auto copies = placement.hosts_of(experts[s]);
    if (copies.empty()) {
      throw std::invalid_argument("plan: expert " + std::to_string(experts[s]) + " of token " +
                                  std::to_string(token) + " has no host, want it masked");
    }
    if (copies.size() == 1) hosts[s] = copies[0];
    replicas = replicas || copies.size() > 1;
  }
  if (!replicas) return;
  for (std::size_t s = 0; s < experts.size(); ++s) {
    if (hosts[s] != kNowhere || experts[s] < 0 || experts[s] >= placement.experts()) continue;
    const auto copies = placement.hosts_of(experts[s]);
    if (holds(placement, home, experts[s])) {
      hosts[s] = home;
      continue;
    }
    const std::size_t turn = at(token + home) % copies.size();
    hosts[s] = copies[copy_from(copies, turn, experts[s], placement, hosts)];
  }
}

DispatchPlan make_plan(const experts::Routing& routing, const Placement& placement, int rank,
                       std::int64_t first, std::int64_t count, std::int64_t identity, bool gates) {
  DispatchPlan plan;
  PlanScratch scratch;
  make_plan(routing, placement, rank, first, count, identity, gates, plan, scratch);
  return plan;
}

void make_plan(const experts::Routing& routing, const Placement& placement, int rank,
               std::int64_t first, std::int64_t count, std::int64_t identity, bool gates,
               DispatchPlan& plan, PlanScratch& scratch) {
  const auto ranks = at(placement.ranks());
  const std::int64_t all_experts = placement.experts() + identity;
  const std::int64_t first_slot = routing.offsets[at(first)];
  const std::int64_t slots = routing.offsets[at(first + count)] - first_slot;

  plan.counts = {};
  plan.counts.tokens = count;
  plan.counts.slots = slots;
  auto& [host_of, rows_for, last_token, next_row, next_result] = scratch;
  auto& results_for = plan.offer.results;
  host_of.resize(at(slots));
  rows_for.assign(ranks, 0);
  results_for.assign(ranks, 0);
  last_token.assign(ranks, -1);
  for (std::int64_t token = first; token < first + count; ++token) {
    const std::int64_t begin = routing.offsets[at(token)];
    const std::int64_t end = routing.offsets[at(token + 1)];
    for (std::int64_t slot = begin; slot < end; ++slot) check(routing, slot, token, all_experts);
    const auto hosts = std::span(host_of).subspan(at(begin - first_slot), at(end - begin));
    choose_hosts({routing.experts.data() + begin, at(end - begin)}, placement, rank, token, hosts);
    for (std::size_t s = 0; s < hosts.size(); ++s) {
      if (hosts[s] == kNowhere) {
        ++(routing.experts[at(begin) + s] == experts::kDropped ? plan.counts.dropped
                                                               : plan.counts.identity);
        continue;
      }
      const auto host = static_cast<std::size_t>(hosts[s]);
      ++results_for[host];
      if (last_token[host] != token) ++rows_for[host];
      last_token[host] = token;
    }
  }

  plan.offer.row_offsets.assign(ranks + 1, 0);
  plan.offer.note_offsets.assign(ranks + 1, 0);
  plan.result_offsets.assign(ranks + 1, 0);
  for (std::size_t r = 0; r < ranks; ++r) {
    plan.offer.row_offsets[r + 1] = plan.offer.row_offsets[r] + rows_for[r];
    plan.result_offsets[r + 1] = plan.result_offsets[r] + results_for[r];
    plan.offer.note_offsets[r + 1] =
        plan.result_offsets[r + 1] * static_cast<std::int64_t>(sizeof(Entry));
    if (static_cast<int>(r) != rank) plan.counts.rows_out += rows_for[r];
  }
  plan.counts.rows = plan.offer.row_offsets.back();
  plan.counts.computed = plan.result_offsets.back();
  plan.offer.rows.resize(at(plan.counts.rows));
  plan.offer.notes.resize(at(plan.offer.note_offsets.back()));
  plan.result_slots.resize(at(plan.counts.computed));

  std::fill(last_token.begin(), last_token.end(), -1);
  next_row.assign(plan.offer.row_offsets.begin(), plan.offer.row_offsets.end() - 1);
  next_result.assign(plan.result_offsets.begin(), plan.result_offsets.end() - 1);
  for (std::int64_t token = first; token < first + count; ++token) {
    for (std::int64_t slot = routing.offsets[at(token)]; slot < routing.offsets[at(token + 1)];
         ++slot) {
      if (host_of[at(slot - first_slot)] == kNowhere) continue;
      const auto host = static_cast<std::size_t>(host_of[at(slot - first_slot)]);
      if (last_token[host] != token) plan.offer.rows[at(next_row[host]++)] = token - first;
      last_token[host] = token;
      const Entry entry{
          .row = static_cast<std::int32_t>(next_row[host] - 1 - plan.offer.row_offsets[host]),
          .expert = routing.experts[at(slot)],
          .gate = gates ? routing.weights[at(slot)] : 1.0F};
      const std::int64_t result = next_result[host]++;
      std::memcpy(plan.offer.notes.data() + result * std::int64_t{sizeof(Entry)}, &entry,
                  sizeof(Entry));
      plan.result_slots[at(result)] = slot - first_slot;
    }
  }
}
}  // namespace switchyard::runtime
