// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/flows.hpp"

#include <algorithm>

#include "experts/index.hpp"

namespace switchyard::runtime {

Flows::Flows(Links& links, By by)
    : links_(links),
      by_(by),
      pair_(at(links.machine().nodes)),
      bytes_(links.count()),
      spent_s_(at(links.machine().ranks())) {
  for (const Tier tier : kAllTiers) {
    const Tier paid = std::min(tier, Tier::kRack);  // a link of the fabric costs no processor
    message_s_[static_cast<std::size_t>(tier)] = links.machine().cost(paid).message_s;
  }
}

void Flows::add(int from, int to, double bytes, double messages) {
  if (from == to || bytes == 0) return;
  const Links::Place& source = links_.place(from);
  const Links::Place& target = links_.place(to);
  Tier tier = source.hub == target.hub ? Tier::kRack : Tier::kFabric;
  if (source.node == target.node) {
    tier = source.core == target.core       ? Tier::kCore
           : source.socket == target.socket ? Tier::kSocket
                                            : Tier::kNode;
  }
  const auto index = static_cast<std::size_t>(tier);
  tier_bytes_[index] += bytes;
  if (messages > 0) {
    largest_[index] = std::max(largest_[index], bytes / messages);
    spent_s_[at(from)] += messages * message_s_[index];
    spent_s_[at(to)] += messages * message_s_[index];
  }
  if (tier <= Tier::kNode) {
    bytes_[links_.port(tier, from, true)] += bytes;
    bytes_[links_.port(tier, to, false)] += bytes;
    if (const auto shared = links_.shared(tier, from); shared >= 0) bytes_[at(shared)] += bytes;
    return;
  }
  bytes_[source.card_out] += bytes;
  bytes_[target.card_in] += bytes;
  if (source.card_both >= 0) {
    bytes_[at(source.card_both)] += bytes;
    bytes_[at(target.card_both)] += bytes;
  }
  put(source.node, target.node, bytes);
}

void Flows::put(int from_node, int to_node, double bytes) {
  const int anchor = by_ == By::kSource ? from_node : to_node;
  const int other = by_ == By::kSource ? to_node : from_node;
  if (anchor != anchor_) flush();
  anchor_ = anchor;
  if (pair_[at(other)] == 0) touched_.push_back(other);
  pair_[at(other)] += bytes;
}

void Flows::add_card(int rank, bool out, double bytes, double messages) {
  const Links::Place& place = links_.place(rank);
  bytes_[out ? place.card_out : place.card_in] += bytes;
  if (place.card_both >= 0) bytes_[at(place.card_both)] += bytes;
  spent_s_[at(rank)] += messages * message_s_[static_cast<std::size_t>(Tier::kRack)];
}

void Flows::add_route(int from_node, int to_node, double bytes) {
  if (bytes == 0) return;
  tier_bytes_[static_cast<std::size_t>(links_.tier_between(from_node, to_node))] += bytes;
  put(from_node, to_node, bytes);
}

void Flows::add_messages(int rank, Tier tier, double messages) {
  spent_s_[at(rank)] += messages * message_s_[static_cast<std::size_t>(tier)];
}

void Flows::flush() {
  for (const int other : touched_) {
    const auto route =
        by_ == By::kSource ? links_.route(anchor_, other) : links_.route(other, anchor_);
    for (const std::int32_t link : route) bytes_[at(link)] += pair_[at(other)];
    longest_route_ = std::max(longest_route_, route.size());
    pair_[at(other)] = 0;
  }
  touched_.clear();
}

void Flows::finish() {
  flush();
}

FlowTime Flows::time(double fixed_s) const {
  const Machine& machine = links_.machine();
  FlowTime time;
  time.fixed_s = fixed_s;
  for (std::size_t i = 0; i < kAllTiers.size(); ++i) {
    if (tier_bytes_[i] == 0) continue;
    const Tier tier = std::min(kAllTiers[i], Tier::kRack);
    const auto size = static_cast<std::int64_t>(largest_[i]);
    double latency = machine.cost(tier).latency_of(size);
    double bandwidth = machine.cost(tier).bandwidth_of(size);
    if (tier == Tier::kRack) {
      const TierCost& fabric = machine.cost(Tier::kFabric);
      latency += static_cast<double>(longest_route_) * fabric.latency_s;
      bandwidth = std::min(bandwidth, fabric.bytes_per_s);
    }
    time.latency_s = std::max(time.latency_s, latency);
    const double paid = std::max(0.0, largest_[i] - machine.cost(tier).burst_bytes);
    time.message_s = std::max(time.message_s, paid / bandwidth);
  }
  std::size_t fullest = 0;
  for (std::size_t link = 0; link < bytes_.size(); ++link) {
    const double seconds = bytes_[link] / links_.bytes_per_s()[link];
    if (seconds <= time.network_s) continue;
    time.network_s = seconds;
    fullest = link;
  }
  const auto busiest = std::ranges::max_element(spent_s_);
  double all = 0;
  for (const double seconds : spent_s_) all += seconds;
  const double average = all / static_cast<double>(spent_s_.size());
  time.processor_s = std::max(*busiest, average * machine.crowding());
  const double longest = std::max({time.network_s, time.processor_s, time.message_s});
  time.seconds = fixed_s + time.latency_s + longest;
  if (longest == 0) {
    time.limit = "nothing";
  } else if (longest == time.network_s) {
    time.limit = links_.name(fullest);
  } else if (longest == time.processor_s) {
    time.limit = "messages of rank " + std::to_string(busiest - spent_s_.begin());
  } else {
    time.limit = "the largest message";
  }
  return time;
}
}  // namespace switchyard::runtime
