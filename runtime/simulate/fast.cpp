// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/fast.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "experts/index.hpp"
#include "runtime/layer/plan.hpp"
#include "runtime/run/token_source.hpp"

namespace switchyard::runtime {
namespace {
/// Between nodes a transport of two levels cuts what it sends (comm/group/stream.hpp).
constexpr double kPieceOfNode = 63 * 1024;

/// Counts by number, and the numbers that have one, so that clearing costs no more than filling.
class Tally {
 public:
  explicit Tally(int size) : counts_(at(size)) {}
  void add(int index) {
    if (counts_[at(index)]++ == 0) touched_.push_back(index);
  }
  [[nodiscard]] std::span<const int> touched() const { return touched_; }
  [[nodiscard]] double operator[](int index) const { return counts_[at(index)]; }
  void clear() {
    for (const int index : touched_) counts_[at(index)] = 0;
    touched_.clear();
  }

 private:
  std::vector<std::int32_t> counts_;
  std::vector<int> touched_;
};
}  // namespace

/// What is counted while going over the tokens.
struct FastEngine::Counting {
  Counting(Links& links, const Placement& placement, int ranks)
      : out(links, Flows::By::kSource),
        home(links, Flows::By::kTarget),
        rows(ranks),
        slots(ranks),
        node_rows(links.machine().nodes),
        first_copy(at(placement.experts()) + 1) {
    for (std::int64_t expert = 0; expert < placement.experts(); ++expert) {
      first_copy[at(expert) + 1] =
          first_copy[at(expert)] + placement.hosts_of(static_cast<std::int32_t>(expert)).size();
    }
    copy_rows.resize(first_copy.back());
  }

  /// @param expert  on rank `host`
  void compute_at(std::int32_t expert, std::int32_t host, const Placement& placement) {
    const auto all = placement.hosts_of(expert);
    const auto copy = all.size() == 1 ? all.begin() : std::ranges::lower_bound(all, host);
    ++copy_rows[first_copy[at(expert)] + static_cast<std::size_t>(copy - all.begin())];
  }

  /// Whether the token that is looked at goes there for the first time.
  [[nodiscard]] bool first_to_rank(std::int32_t rank) { return first_in(seen, rank); }
  [[nodiscard]] bool first_to_node(std::int32_t node) { return first_in(seen_nodes, node); }
  static bool first_in(std::vector<std::int32_t>& places, std::int32_t place) {
    if (std::ranges::find(places, place) != places.end()) return false;
    places.push_back(place);
    return true;
  }

  Flows out, home;
  Tally rows, slots, node_rows;         ///< of one home: to each rank, for each rank, to each node
  std::vector<std::size_t> first_copy;  ///< [experts + 1], into copy_rows
  std::vector<std::int64_t> copy_rows;  ///< rows that each copy of each expert computes
  std::vector<std::int32_t> hosts, seen, seen_nodes;  ///< of one token
};

namespace {
/// The rank of node `node` that takes rows in for its mates, of those that `home` sends.
int door_of(const Machine& machine, int ranks, int home, int node) {
  const int first = node * machine.ranks_per_node;
  const int there = std::min(machine.ranks_per_node, ranks - first);
  return first + home % machine.ranks_per_node % there;
}
}  // namespace

FastEngine::FastEngine(const Machine& machine, FabricLinks fabric, int ranks)
    : machine_(machine), ranks_(ranks), links_(machine, std::move(fabric)), bytes_(links_.count()) {
  if (ranks < 1 || ranks > machine.ranks()) {
    throw std::invalid_argument("simulate: " + std::to_string(ranks) + " ranks, want 1 to the " +
                                std::to_string(machine.ranks()) + " of " + machine.name);
  }
}

/// Everything that `rank` is the home of.
void FastEngine::send(int rank, const FastSettings& settings, Counting& counting) const {
  const int node = links_.place(rank).node;
  for (const int to : counting.rows.touched()) {
    const bool crosses = links_.place(to).node != node;
    const double notes = counting.slots[to] * settings.slot_bytes;
    if (crosses && settings.two_level) {
      const int door = door_of(machine_, ranks_, rank, links_.place(to).node);
      counting.out.add(door, to, counting.rows[to] * settings.row_bytes, 0);
      counting.out.add(rank, door, notes, 0);
    } else {
      const double bytes = crosses ? settings.cross_row_bytes : settings.row_bytes;
      counting.out.add(rank, to, counting.rows[to] * bytes + notes + settings.header_bytes,
                       crosses || settings.inside_messages ? 1 : 0);
    }
  }
  for (const int to : counting.node_rows.touched()) {
    const double bytes = counting.node_rows[to] * settings.cross_row_bytes + settings.header_bytes;
    counting.out.add(rank, door_of(machine_, ranks_, rank, to), bytes,
                     std::ceil(bytes / kPieceOfNode));
  }
  for (const int from : counting.slots.touched()) {
    const bool crosses = links_.place(from).node != node;
    const double each = crosses ? settings.cross_result_bytes : settings.result_bytes;
    const double bytes = counting.slots[from] * each + settings.header_bytes;
    double pieces = crosses || settings.inside_messages ? 1 : 0;
    if (crosses && settings.two_level) pieces = std::ceil(bytes / kPieceOfNode);
    counting.home.add(from, rank, bytes, pieces);
  }
  counting.rows.clear();
  counting.slots.clear();
  counting.node_rows.clear();
}

void FastEngine::announce(const FastSettings& settings, Counting& counting) const {
  for (int rank = 0; rank < ranks_; ++rank) {
    const int first = machine_.node_of(rank) * machine_.ranks_per_node;
    const int mates = std::min(machine_.ranks_per_node, ranks_ - first) - 1;
    const int nodes = machine_.node_of(ranks_ - 1);
    // One sent and one received for each.
    if (settings.inside_messages) counting.out.add_messages(rank, Tier::kNode, 2.0 * mates);
    const int others = settings.two_level ? nodes : ranks_ - 1 - mates;
    counting.out.add_messages(rank, Tier::kRack, 2.0 * others);
  }
}

LayerEstimate FastEngine::layer(const LayerChoice& choice, const Placement& placement,
                                const FastSettings& settings) {
  if (placement.ranks() != ranks_) {
    throw std::invalid_argument("simulate: a placement on " + std::to_string(placement.ranks()) +
                                " ranks, want " + std::to_string(ranks_));
  }
  Counting counting(links_, placement, ranks_);
  auto& hosts = counting.hosts;
  hosts.resize(at(choice.top_k));
  LayerEstimate estimate;
  if (settings.announce) announce(settings, counting);
  for (int rank = 0; rank < ranks_; ++rank) {
    const TokenShare share = share_of(choice.tokens, rank, ranks_);
    for (std::int64_t token = 0; token < share.count; ++token) {
      const auto chosen =
          choice.chosen.subspan(at((share.first + token) * choice.top_k), at(choice.top_k));
      choose_hosts(chosen, placement, rank, token, hosts);
      counting.seen.clear();
      counting.seen_nodes.clear();
      for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
        const std::int32_t host = hosts[slot];
        if (host == kNowhere) continue;
        counting.compute_at(chosen[slot], host, placement);
        estimate.logical_bytes += settings.row_bytes + settings.result_bytes;
        if (host == rank) continue;
        counting.slots.add(host);
        if (settings.deduplicate && !counting.first_to_rank(host)) continue;
        counting.rows.add(host);
        if (!settings.two_level) continue;
        const int node = links_.place(host).node;
        if (node == links_.place(rank).node) continue;
        if (settings.deduplicate && !counting.first_to_node(node)) continue;
        counting.node_rows.add(node);
      }
    }
    send(rank, settings, counting);
  }
  counting.out.finish();
  counting.home.finish();

  if (settings.network) {
    estimate.dispatch = counting.out.time(machine_.dispatch_s);
    estimate.combine = counting.home.time(machine_.combine_s);
  }
  for (const Flows* flows : {&counting.out, &counting.home}) {
    for (std::size_t i = 0; i < bytes_.size(); ++i) bytes_[i] += flows->bytes()[i];
    for (std::size_t i = 0; i < kAllTiers.size(); ++i) {
      estimate.tier_bytes[i] += flows->tier_bytes()[i];
      estimate.wire_bytes += flows->tier_bytes()[i];
    }
  }
  compute(counting, placement, settings, choice.tokens, estimate);
  return estimate;
}

void FastEngine::compute(const Counting& counting, const Placement& placement,
                         const FastSettings& settings, std::int64_t tokens,
                         LayerEstimate& estimate) const {
  std::vector<double> seconds(at(ranks_));
  std::vector<std::int64_t> rows(at(ranks_));
  for (std::int64_t expert = 0; expert < placement.experts(); ++expert) {
    const auto hosts = placement.hosts_of(static_cast<std::int32_t>(expert));
    for (std::size_t copy = 0; copy < hosts.size(); ++copy) {
      const std::int64_t count = counting.copy_rows[counting.first_copy[at(expert)] + copy];
      rows[at(hosts[copy])] += count;
      seconds[at(hosts[copy])] +=
          machine_.expert_seconds(settings.weights, settings.hidden, settings.width, count);
    }
  }
  for (int rank = 0; settings.shared_width > 0 && rank < ranks_; ++rank) {
    seconds[at(rank)] +=
        machine_.expert_seconds(settings.weights, settings.hidden, settings.shared_width,
                                share_of(tokens, rank, ranks_).count);
  }
  const auto most = std::ranges::max_element(rows);
  const double mean =
      static_cast<double>(std::accumulate(rows.begin(), rows.end(), std::int64_t{0})) / ranks_;
  estimate.balancedness = *most > 0 ? mean / static_cast<double>(*most) : 1;
  const double all = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  const auto slowest = std::ranges::max_element(seconds);
  const double crowded = all / ranks_ * machine_.crowding();
  estimate.compute_s = settings.balanced ? crowded : std::max(*slowest, crowded);
  if (estimate.compute_s > *slowest || settings.balanced) {
    estimate.compute_limit = "all ranks together";
  } else {
    const auto rank = slowest - seconds.begin();
    estimate.compute_limit =
        "rank " + std::to_string(rank) + ": " + std::to_string(rows[at(rank)]) + " rows";
  }
}

std::vector<FastEngine::LinkUse> FastEngine::busiest(std::size_t most) const {
  std::vector<std::size_t> order(bytes_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto busy = [&](std::size_t link) { return bytes_[link] / links_.bytes_per_s()[link]; };
  const std::size_t shown = std::min(most, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                    [&](std::size_t a, std::size_t b) {
                      return std::pair(-busy(a), a) < std::pair(-busy(b), b);
                    });
  std::vector<LinkUse> uses;
  for (std::size_t i = 0; i < shown && bytes_[order[i]] > 0; ++i) {
    uses.push_back({links_.name(order[i]), bytes_[order[i]], busy(order[i])});
  }
  return uses;
}

void FastEngine::forget_use() {
  std::ranges::fill(bytes_, 0);
}
}  // namespace switchyard::runtime
