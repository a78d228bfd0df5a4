// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/fast_count.hpp"

#include <algorithm>

#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
/// Between nodes a transport of two levels cuts what it sends (comm/group/stream.hpp).
constexpr double kPieceOfNode = 63 * 1024;
// Of a relay, in flows_: each half round is three exchanges, one after the other.
constexpr std::size_t kGather = 0, kAcross = 1, kScatter = 2;

/// Rounded up, without a call of the library for each of millions.
double pieces_of(double bytes) {
  const double pieces = bytes / kPieceOfNode;
  const auto whole = static_cast<double>(static_cast<std::int64_t>(pieces));
  return whole < pieces ? whole + 1 : whole;
}

FlowTime in_turn(FlowTime first, const FlowTime& then) {
  const auto longest = [](const FlowTime& time) {
    return std::max({time.network_s, time.processor_s, time.message_s});
  };
  if (longest(then) > longest(first)) first.limit = then.limit;
  first.seconds += then.seconds;
  first.latency_s += then.latency_s;
  first.network_s += then.network_s;
  first.processor_s += then.processor_s;
  first.message_s += then.message_s;
  return first;
}
}  // namespace

FastCount::FastCount(Links& links, const Placement& placement, int ranks,
                     const FastSettings& settings)
    : links_(links),
      placement_(placement),
      settings_(settings),
      ranks_(ranks),
      by_node_(settings.two_level || settings.relay),
      to_rank_(at(ranks)),
      to_node_(at(links.machine().nodes)),
      dispatch_in_(at(ranks)),
      combine_out_(at(ranks)),
      pairs_(at(links.machine().nodes)),
      first_copy_(at(ranks) + 1) {
  const auto local = at(links.machine().ranks_per_node);
  if (by_node_) through_.assign(local, std::vector<Sum>(at(ranks)));
  if (settings.relay) back_ = through_;
  own_out_.resize(local);
  own_home_.resize(local);
  const std::size_t halves = settings.relay ? 3 : 1;
  for (std::size_t i = 0; i < halves; ++i) flows_.emplace_back(links, Flows::By::kSource);
  for (std::size_t i = 0; i < halves; ++i) flows_.emplace_back(links, Flows::By::kTarget);
  for (int rank = 0; rank < ranks; ++rank) {
    node_of_.push_back(links.place(rank).node);
    first_copy_[at(rank) + 1] = first_copy_[at(rank)] + placement.experts_of(rank).size();
  }
  copy_rows_.resize(first_copy_.back());
  if (settings.announce) announce();
}

std::span<const std::int64_t> FastCount::copy_rows(int rank) const {
  return std::span(copy_rows_)
      .subspan(first_copy_[at(rank)], first_copy_[at(rank) + 1] - first_copy_[at(rank)]);
}

int FastCount::mates(int node) const {
  const int each = links_.machine().ranks_per_node;
  return std::min(each, ranks_ - node * each);
}

int FastCount::door(int node, int of) const {
  return node * links_.machine().ranks_per_node + of % mates(node);
}

void FastCount::announce() {
  const int nodes = node_of_.back() + 1;
  for (int rank = 0; rank < ranks_; ++rank) {
    const int others = mates(node_of_[at(rank)]) - 1;
    // One sent and one received for each.
    if (settings_.inside_messages) flows_[0].add_messages(rank, Tier::kNode, 2.0 * others);
    const int far = settings_.two_level ? nodes - 1 : ranks_ - 1 - others;
    flows_[0].add_messages(rank, Tier::kRack, 2.0 * far);
  }
}

void FastCount::end_home(int home) {
  if (node_of_[at(home)] != anchor_) end_node();
  anchor_ = node_of_[at(home)];
  if (settings_.relay) {
    end_relay(home);
  } else if (settings_.two_level) {
    end_two_level(home);
  } else {
    end_direct(home);
  }
  forget_home();
}

void FastCount::forget_home() {
  for (const std::int32_t rank : ranks_touched_) to_rank_[at(rank)] = {};
  for (const std::int32_t node : nodes_touched_) to_node_[at(node)] = {};
  ranks_touched_.clear();
  nodes_touched_.clear();
}

void FastCount::inside(int home, int to, const ToRank& count, bool messages) {
  const double notes = count.slots * settings_.slot_bytes + settings_.header_bytes;
  flows_.front().add(home, to, count.rows * settings_.row_bytes + notes, messages ? 1 : 0);
  flows_.back().add(to, home, count.slots * settings_.result_bytes + settings_.header_bytes,
                    messages ? 1 : 0);
}

void FastCount::add_pair(int node, double out, double home) {
  Pair& pair = pairs_[at(node)];
  if (!pair.touched) pairs_touched_.push_back(node);
  pair.touched = true;
  pair.out += out;
  pair.home += home;
}

void FastCount::end_direct(int home) {
  const int node = node_of_[at(home)];
  const int hub = links_.place(home).hub;
  Sum out, in;
  std::array<double, 2> largest_row{}, largest_result{};  // in the own hub or not
  for (const std::int32_t to : ranks_touched_) {
    const ToRank& count = to_rank_[at(to)];
    if (node_of_[at(to)] == node) {
      inside(home, to, count, settings_.inside_messages);
      continue;
    }
    const double row = count.rows * settings_.cross_row_bytes + count.slots * settings_.slot_bytes +
                       settings_.header_bytes;
    const double result = count.slots * settings_.cross_result_bytes + settings_.header_bytes;
    Sum& sent = dispatch_in_[at(to)];
    sent.bytes += row;
    sent.messages += 1;
    Sum& got = combine_out_[at(to)];
    got.bytes += result;
    got.messages += 1;
    out.bytes += row;
    out.messages += 1;
    in.bytes += result;
    in.messages += 1;
    const std::size_t far = links_.hub(node_of_[at(to)]) == hub ? 0 : 1;
    largest_row[far] = std::max(largest_row[far], row);
    largest_result[far] = std::max(largest_result[far], result);
    add_pair(node_of_[at(to)], row, result);
  }
  flows_[0].add_card(home, true, out.bytes, out.messages);
  flows_[1].add_card(home, false, in.bytes, in.messages);
  for (const Tier tier : {Tier::kRack, Tier::kFabric}) {
    const std::size_t far = tier == Tier::kRack ? 0 : 1;
    flows_[0].note_message(tier, largest_row[far]);
    flows_[1].note_message(tier, largest_result[far]);
  }
}

/// A row goes to a node once, to a door there and on; results come straight home.
void FastCount::end_two_level(int home) {
  const int node = node_of_[at(home)];
  const int place = home - node * links_.machine().ranks_per_node;
  Sum out, in;
  const int last = node_of_.back();  // the only node that may have fewer ranks
  const int last_place = place % mates(last);
  for (const std::int32_t to : ranks_touched_) {
    const ToRank& count = to_rank_[at(to)];
    const int there = node_of_[at(to)];
    if (there == node) {
      inside(home, to, count, settings_.inside_messages);
      continue;
    }
    through_[at(there == last ? last_place : place)][at(to)].bytes +=
        count.rows * settings_.row_bytes;
    const double result = count.slots * settings_.cross_result_bytes + settings_.header_bytes;
    const double pieces = pieces_of(result);
    combine_out_[at(to)].bytes += result;
    combine_out_[at(to)].messages += pieces;
    in.bytes += result;
    in.messages += pieces;
    add_pair(there, 0, result);
    flows_[1].note_message(links_.tier_between(node, there), result / pieces);
  }
  for (const std::int32_t to : nodes_touched_) {
    const ToNode& count = to_node_[at(to)];
    const double rows = count.rows * settings_.cross_row_bytes + settings_.header_bytes;
    const double pieces = pieces_of(rows);
    const double row = rows + count.slots * settings_.slot_bytes;
    Sum& sent = dispatch_in_[at(door(to, place))];
    sent.bytes += row;
    sent.messages += pieces;
    out.bytes += row;
    out.messages += pieces;
    add_pair(to, row, 0);
    flows_[0].note_message(links_.tier_between(node, to), rows / pieces);
  }
  flows_[0].add_card(home, true, out.bytes, out.messages);
  flows_[1].add_card(home, false, in.bytes, in.messages);
}

/// To the mate that trades with the node, across with what all mates have for it, and on inside it.
void FastCount::end_relay(int home) {
  const int node = node_of_[at(home)];
  const int first = node * links_.machine().ranks_per_node;
  std::ranges::fill(own_out_, 0);
  std::ranges::fill(own_home_, 0);
  const auto to_mate = [&](int mate, double out, double back) {
    own_out_[at(mate - first)] += out;
    own_home_[at(mate - first)] += back;
  };
  for (const std::int32_t to : ranks_touched_) {
    const ToRank& count = to_rank_[at(to)];
    const int there = node_of_[at(to)];
    const double notes = count.slots * settings_.slot_bytes;
    const double results = count.slots * settings_.cross_result_bytes;
    if (there == node) {
      to_mate(to, count.rows * settings_.row_bytes + notes, results);
      continue;
    }
    const auto place = at(node % mates(there));
    through_[place][at(to)].bytes += count.rows * settings_.row_bytes + notes;
    back_[place][at(to)].bytes += results;
    to_mate(door(node, there), 0, results);
    add_pair(there, 0, results);
  }
  for (const std::int32_t to : nodes_touched_) {
    const ToNode& count = to_node_[at(to)];
    const double row = count.rows * settings_.cross_row_bytes + count.slots * settings_.slot_bytes;
    to_mate(door(node, to), row, 0);
    add_pair(to, row, 0);
  }
  for (int mate = first; mate < first + mates(node); ++mate) {
    if (mate == home) continue;
    const double out = own_out_[at(mate - first)] + settings_.header_bytes;
    flows_[kGather].add(home, mate, out, 1);
    flows_[3 + kScatter].add(mate, home, own_home_[at(mate - first)] + settings_.header_bytes, 1);
  }
}

void FastCount::end_node() {
  const std::size_t across = settings_.relay ? kAcross : 0;
  const std::size_t recross = settings_.relay ? 3 + kAcross : 1;
  for (const std::int32_t to : pairs_touched_) {
    Pair& pair = pairs_[at(to)];
    if (settings_.relay) {  // one frame each way, from door to door
      const double out = pair.out + settings_.header_bytes;
      const double home = pair.home + settings_.header_bytes;
      flows_[across].add(door(anchor_, to), door(to, anchor_), out, 1);
      flows_[recross].add(door(to, anchor_), door(anchor_, to), home, 1);
    } else {
      flows_[across].add_route(anchor_, to, pair.out);
      flows_[recross].add_route(to, anchor_, pair.home);
    }
    pair = {};
  }
  pairs_touched_.clear();
}

/// What doors hand on inside their nodes, and take in there on the way back.
void FastCount::end_doors() {
  const double frame = settings_.relay ? settings_.header_bytes : 0;
  const double messages = settings_.relay ? 1 : 0;
  for (std::size_t place = 0; place < through_.size(); ++place) {
    for (int to = 0; to < ranks_; ++to) {
      const double bytes = through_[place][at(to)].bytes;
      if (bytes == 0) continue;
      const int from = door(node_of_[at(to)], static_cast<int>(place));
      flows_[settings_.relay ? kScatter : 0].add(from, to, bytes + frame, messages);
      if (settings_.relay) {
        flows_[3 + kGather].add(to, from, back_[place][at(to)].bytes + frame, messages);
      }
    }
  }
}

void FastCount::finish() {
  end_node();
  end_doors();
  for (int rank = 0; rank < ranks_; ++rank) {
    const Sum& in = dispatch_in_[at(rank)];
    const Sum& out = combine_out_[at(rank)];
    if (in.bytes > 0) flows_[0].add_card(rank, false, in.bytes, in.messages);
    if (out.bytes > 0) flows_[1].add_card(rank, true, out.bytes, out.messages);
  }
  for (Flows& flows : flows_) flows.finish();
}

FlowTime FastCount::dispatch_time(const Machine& machine) const {
  FlowTime time = flows_[0].time(machine.dispatch_s);
  if (!settings_.relay) return time;
  return in_turn(in_turn(time, flows_[kAcross].time(0)), flows_[kScatter].time(0));
}

FlowTime FastCount::combine_time(const Machine& machine) const {
  if (!settings_.relay) return flows_[1].time(machine.combine_s);
  const FlowTime time = flows_[3 + kGather].time(machine.combine_s);
  return in_turn(in_turn(time, flows_[3 + kAcross].time(0)), flows_[3 + kScatter].time(0));
}

void FastCount::compute_at(std::int32_t expert, std::int32_t host) {
  const auto all = placement_.experts_of(host);
  const auto place = all.size() == 1 ? all.begin() : std::ranges::lower_bound(all, expert);
  ++copy_rows_[first_copy_[at(host)] + static_cast<std::size_t>(place - all.begin())];
}
}  // namespace switchyard::runtime
