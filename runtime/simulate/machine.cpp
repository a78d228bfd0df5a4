// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/machine.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace switchyard::runtime {
namespace {
/// The last step that begins at or below `bytes`; null: none does.
const SizeStep* step_of(const std::vector<SizeStep>& steps, std::int64_t bytes) {
  const SizeStep* found = nullptr;
  for (const SizeStep& step : steps) {
    if (step.from_bytes <= bytes) found = &step;
  }
  return found;
}

/// In a straight line between points, in proportion beyond the last, constant before the first.
double at_points(const std::vector<KernelRate::Point>& points, std::int64_t rows) {
  const auto after = std::ranges::lower_bound(points, rows, {}, &KernelRate::Point::rows);
  if (after == points.begin()) return after->seconds;
  const KernelRate::Point& low = *(after - 1);
  if (after == points.end()) {
    return low.seconds * static_cast<double>(rows) / static_cast<double>(low.rows);
  }
  const double share =
      static_cast<double>(rows - low.rows) / static_cast<double>(after->rows - low.rows);
  return low.seconds + share * (after->seconds - low.seconds);
}

double by_rate(const KernelRate& rate, std::int64_t hidden, std::int64_t width, std::int64_t rows) {
  const auto weights = static_cast<double>(3 * hidden * width);
  const double products =
      rate.flops_per_s > 0 ? 2 * weights * static_cast<double>(rows) / rate.flops_per_s : 0;
  const auto bytes = static_cast<double>(experts::bytes_of(rate.type, 3 * hidden * width));
  const double reading = rate.bytes_per_s > 0 ? bytes / rate.bytes_per_s : 0;
  return rate.call_s + std::max(products, reading);
}

int product(const std::vector<int>& factors) {
  std::int64_t all = 1;
  for (const int factor : factors) {
    all = std::min<std::int64_t>(all * factor, std::numeric_limits<int>::max());
  }
  return static_cast<int>(all);
}
}  // namespace

std::string_view name_of(Tier tier) {
  constexpr std::array<std::string_view, kAllTiers.size()> kNames = {"core", "socket", "node",
                                                                     "rack", "fabric"};
  return kNames[static_cast<std::size_t>(tier)];
}

std::string_view name_of(Fabric::Shape shape) {
  constexpr std::array<std::string_view, 4> kNames = {"star", "fat tree", "dragonfly", "torus"};
  return kNames[static_cast<std::size_t>(shape)];
}

double TierCost::latency_of(std::int64_t bytes) const {
  const SizeStep* step = step_of(steps, bytes);
  return step == nullptr ? latency_s : latency_s * step->latency_factor;
}

double TierCost::bandwidth_of(std::int64_t bytes) const {
  const SizeStep* step = step_of(steps, bytes);
  return step == nullptr ? bytes_per_s : bytes_per_s * step->bandwidth_factor;
}

double TierCost::both_bytes_per_s(double pairs) const {
  if (half_duplex || exchange_ratio <= 1) return 0;
  return 2 * bytes_per_s / (1 + (exchange_ratio - 1) / std::sqrt(std::max(pairs, 1.0)));
}

double Machine::card_both_bytes_per_s() const {
  if (nodes < 2) return 0;
  const double pairs =
      static_cast<double>(ranks_per_node) / nics_per_node * (ranks() - ranks_per_node);
  return cost(Tier::kRack).both_bytes_per_s(pairs);
}

int Fabric::capacity() const {
  switch (shape) {
    case Shape::kFatTree:
      return product(down);
    case Shape::kDragonfly:
      return product({groups, chassis_per_group, routers_per_chassis, nodes_per_router});
    case Shape::kTorus:
      return product(torus);
    case Shape::kStar:
      break;
  }
  return std::numeric_limits<int>::max();
}

int Fabric::nodes_per_switch() const {
  switch (shape) {
    case Shape::kFatTree:
      return down.front();
    case Shape::kDragonfly:
      return nodes_per_router;
    case Shape::kTorus:
      return 1;
    case Shape::kStar:
      break;
  }
  return std::numeric_limits<int>::max();
}

int Machine::socket_of(int rank) const {
  return rank % ranks_per_node * sockets_per_node / ranks_per_node;
}

int Machine::core_of(int rank) const {
  const int socket = socket_of(rank);
  const int cores = cores_per_node / sockets_per_node;
  // The first rank of a socket is the first whose block begins there.
  const int first = (socket * ranks_per_node + sockets_per_node - 1) / sockets_per_node;
  return socket * cores + (rank % ranks_per_node - first) % cores;
}

int Machine::nic_of(int rank) const {
  return rank % ranks_per_node * nics_per_node / ranks_per_node;
}

Tier Machine::tier_of(int a, int b) const {
  const int from = node_of(a);
  const int to = node_of(b);
  if (from != to) {
    const int together = fabric.nodes_per_switch();
    return from / together == to / together ? Tier::kRack : Tier::kFabric;
  }
  if (core_of(a) == core_of(b)) return Tier::kCore;
  return socket_of(a) == socket_of(b) ? Tier::kSocket : Tier::kNode;
}

double Machine::crowding() const {
  const double own = static_cast<double>(ranks_per_node) / cores_per_node;
  const double all = processors > 0 ? static_cast<double>(ranks()) / processors : 0;
  return std::max({1.0, own, all});
}

double Machine::expert_seconds(experts::DType type, std::int64_t hidden, std::int64_t width,
                               std::int64_t rows) const {
  if (rows <= 0) return 0;
  const KernelRate* any = nullptr;
  for (const KernelRate& rate : rates) {
    if (rate.type != type) continue;
    if (rate.hidden == hidden && rate.width == width) return at_points(rate.points, rows);
    if (rate.hidden == 0) any = &rate;
  }
  if (any != nullptr) return by_rate(*any, hidden, width, rows);
  throw std::invalid_argument("machine " + name + ": no rate of " +
                              std::string(experts::name_of(type)) + " for experts of " +
                              std::to_string(hidden) + " x " + std::to_string(width) +
                              ", want one of that shape or of any");
}

std::int64_t Machine::most_ranks() const {
  const bool alone = nodes == 1 && cost(Tier::kRack).bytes_per_s >= kFreeBytesPerS;
  return std::int64_t{alone ? 1 : fabric.capacity()} * ranks_per_node;
}

Machine Machine::with_ranks(int wanted) const {
  const std::int64_t most = most_ranks();
  if (wanted > most && most == ranks_per_node) {
    throw std::invalid_argument("--ranks: got " + std::to_string(wanted) + ", want at most " +
                                std::to_string(most) + ": " + name +
                                " is one node, and does not say what lies between nodes (rack)");
  }
  if (wanted < 1 || wanted > most) {
    throw std::invalid_argument(
        "--ranks: got " + std::to_string(wanted) + ", want 1 to " + std::to_string(most) +
        ": what the " + std::string(name_of(fabric.shape)) + " of " + name + " has room for");
  }
  Machine machine = *this;
  // Ranks that share cores share them with those that are there.
  if (ranks_per_node > cores_per_node) {
    machine.ranks_per_node = std::min(wanted, ranks_per_node);
  }
  machine.nodes = (wanted + machine.ranks_per_node - 1) / machine.ranks_per_node;
  return machine;
}
}  // namespace switchyard::runtime
