// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/engine/platform.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <simgrid/s4u.hpp>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace switchyard::runtime {
namespace {
namespace s4u = simgrid::s4u;
using s4u::LinkInRoute;

// Names of links that do not belong to the fabric begin with a node's.
constexpr const char* kNode = "node ";

/// One way in and one way out, which may be the same wire.
struct Both {
  LinkInRoute out;
  LinkInRoute in;
};

Both make_link(s4u::NetZone* zone, const std::string& name, double bytes_per_s, double latency_s,
               bool half_duplex) {
  if (half_duplex) {
    s4u::Link* const link = zone->create_link(name, bytes_per_s)->set_latency(latency_s)->seal();
    return {LinkInRoute(link), LinkInRoute(link)};
  }
  auto* const link = zone->create_split_duplex_link(name, bytes_per_s);
  link->set_latency(latency_s)->seal();
  return {LinkInRoute(link, LinkInRoute::Direction::UP),
          LinkInRoute(link, LinkInRoute::Direction::DOWN)};
}

/// What two ranks of a node have in common, in numbers of its own.
int shared_of(const Machine& machine, Tier tier, int rank) {
  if (tier == Tier::kCore) return machine.core_of(rank);
  return tier == Tier::kSocket ? machine.socket_of(rank) : 0;
}

std::vector<unsigned> unsigneds(const std::vector<int>& numbers) {
  return {numbers.begin(), numbers.end()};
}
}  // namespace

Platform::Platform(const Machine& machine, bool carries)
    : machine_(machine),
      hosts_(static_cast<std::size_t>(machine.ranks())),
      nodes_(static_cast<std::size_t>(machine.nodes)),
      gateways_(nodes_.size()) {
  s4u::NetZone* const root = s4u::create_full_zone("machine");
  for (int node = 0; node < machine.nodes; ++node) make_node(node, root);
  if (machine.nodes > 1) make_fabric(root);
  number_links();
  if (carries && machine.nodes > 1) join_nodes(root);
  root->seal();
}

void Platform::make_node(int node, s4u::NetZone* parent) {
  const std::string name = kNode + std::to_string(node);
  s4u::NetZone* const zone = s4u::create_full_zone(name)->set_parent(parent);
  nodes_[static_cast<std::size_t>(node)] = zone;
  auto* const gateway = zone->create_router(name + " gateway");
  gateways_[static_cast<std::size_t>(node)] = gateway;
  const int first = node * machine_.ranks_per_node;
  const TierCost& rack = machine_.cost(Tier::kRack);
  std::vector<Both> cards;
  std::vector<s4u::Link*> both_ways;  // shared by both directions of each card
  const double both = machine_.card_both_bytes_per_s();
  for (int card = 0; card < machine_.nics_per_node && machine_.nodes > 1; ++card) {
    cards.push_back(make_link(zone, name + " card " + std::to_string(card), rack.bytes_per_s,
                              rack.latency_s / 2, rack.half_duplex));
    if (both <= 0) continue;
    both_ways.push_back(zone->create_link(name + " both ways " + std::to_string(card), both));
    both_ways.back()->set_latency(0.0)->seal();
  }
  for (int rank = first; rank < first + machine_.ranks_per_node; ++rank) {
    s4u::Host* const host = zone->create_host(name + " rank " + std::to_string(rank), 1e9);
    host->seal();
    hosts_[static_cast<std::size_t>(rank)] = host;
    if (cards.empty()) continue;
    const auto number = static_cast<std::size_t>(machine_.nic_of(rank));
    std::vector<LinkInRoute> out{cards[number].out};
    std::vector<LinkInRoute> in{cards[number].in};
    if (!both_ways.empty()) {
      out.emplace_back(both_ways[number]);
      in.emplace_back(both_ways[number]);
    }
    zone->add_route(host->get_netpoint(), gateway, nullptr, nullptr, out, false);
    zone->add_route(gateway, host->get_netpoint(), nullptr, nullptr, in, false);
  }
  // Ports of the ranks, and what ranks share, of the tiers that two ranks of this node meet in.
  std::array<std::vector<Both>, 3> ports;
  std::array<std::unordered_map<int, s4u::Link*>, 3> totals;
  const auto link_of = [&](Tier tier, int rank) -> const Both& {
    auto& made = ports[static_cast<std::size_t>(tier)];
    const TierCost& cost = machine_.cost(tier);
    for (int r = static_cast<int>(made.size()); r < machine_.ranks_per_node; ++r) {
      made.push_back(
          make_link(zone, name + " port " + std::to_string(r) + " " + std::string(name_of(tier)),
                    cost.bytes_per_s, cost.latency_s / 2, cost.half_duplex));
    }
    return made[static_cast<std::size_t>(rank - first)];
  };
  for (int a = first; a < first + machine_.ranks_per_node; ++a) {
    for (int b = first; b < first + machine_.ranks_per_node; ++b) {
      if (a == b) continue;
      const Tier tier = machine_.tier_of(a, b);
      const TierCost& cost = machine_.cost(tier);
      std::vector<LinkInRoute> links{link_of(tier, a).out};
      if (cost.total_bytes_per_s > 0) {
        const int shared = shared_of(machine_, tier, a);
        s4u::Link*& total = totals[static_cast<std::size_t>(tier)][shared];
        if (total == nullptr) {
          total = zone->create_link(
                          name + " " + std::string(name_of(tier)) + " " + std::to_string(shared),
                          cost.total_bytes_per_s)
                      ->set_latency(0.0)
                      ->seal();
        }
        links.emplace_back(total);
      }
      links.push_back(link_of(tier, b).in);
      zone->add_route(hosts_[static_cast<std::size_t>(a)]->get_netpoint(),
                      hosts_[static_cast<std::size_t>(b)]->get_netpoint(), nullptr, nullptr, links,
                      false);
    }
  }
  zone->seal();
}

void Platform::make_star(s4u::NetZone* root) {
  const TierCost& fabric = machine_.cost(Tier::kFabric);
  for (int node = 0; node < machine_.nodes; ++node) {
    make_link(root, "fabric " + std::to_string(node), fabric.bytes_per_s, fabric.latency_s,
              fabric.half_duplex);
  }
}

void Platform::make_fabric(s4u::NetZone* root) {
  const Fabric& shape = machine_.fabric;
  const TierCost& cost = machine_.cost(Tier::kFabric);
  const auto policy =
      cost.half_duplex ? s4u::Link::SharingPolicy::SHARED : s4u::Link::SharingPolicy::SPLITDUPLEX;
  const s4u::ClusterCallbacks leaves(
      [this](s4u::NetZone* zone, const std::vector<unsigned long>&, unsigned long id)
          -> std::pair<simgrid::kernel::routing::NetPoint*, simgrid::kernel::routing::NetPoint*> {
        s4u::Host* const host = zone->create_host("leaf " + std::to_string(id), 1e9);
        host->seal();
        leaves_.resize(std::max<std::size_t>(leaves_.size(), id + 1));
        leaves_[id] = host;
        return {host->get_netpoint(), nullptr};
      });
  switch (shape.shape) {
    case Fabric::Shape::kStar:
      return make_star(root);
    case Fabric::Shape::kFatTree:
      s4u::create_fatTree_zone("fabric", root,
                               {static_cast<unsigned>(shape.down.size()), unsigneds(shape.down),
                                unsigneds(shape.up), std::vector<unsigned>(shape.down.size(), 1)},
                               leaves, cost.bytes_per_s, cost.latency_s, policy)
          ->seal();
      return;
    case Fabric::Shape::kDragonfly: {
      const auto pair = [](int count, int links) {
        return std::pair(static_cast<unsigned>(count), static_cast<unsigned>(links));
      };
      s4u::create_dragonfly_zone("fabric", root,
                                 {pair(shape.groups, shape.global_links),
                                  pair(shape.chassis_per_group, shape.chassis_links),
                                  pair(shape.routers_per_chassis, shape.router_links),
                                  static_cast<unsigned>(shape.nodes_per_router)},
                                 leaves, cost.bytes_per_s, cost.latency_s, policy)
          ->seal();
      return;
    }
    case Fabric::Shape::kTorus:
      s4u::create_torus_zone("fabric", root, {shape.torus.begin(), shape.torus.end()}, leaves,
                             cost.bytes_per_s, cost.latency_s, policy)
          ->seal();
      return;
  }
}

void Platform::number_links() {
  links_ = s4u::Engine::get_instance()->get_all_links();
  std::erase_if(links_, [](const s4u::Link* link) {
    return link->get_name().starts_with(kNode) || link->get_name() == "__loopback__";
  });
  std::ranges::sort(links_, {}, [](const s4u::Link* link) { return link->get_name(); });
  for (const s4u::Link* link : links_) {
    names_.push_back(link->get_name());
    bytes_per_s_.push_back(link->get_bandwidth());
  }
}

Platform::Route Platform::route(int from, int to) const {
  Route route;
  const auto append = [&](const std::string& name) {
    const auto found = std::ranges::lower_bound(names_, name);
    if (found == names_.end() || *found != name) return;
    const auto number = static_cast<std::size_t>(found - names_.begin());
    route.links.push_back(static_cast<int>(number));
    route.latency_s += links_[number]->get_latency();
  };
  if (leaves_.empty()) {
    const bool half = machine_.cost(Tier::kFabric).half_duplex;
    append("fabric " + std::to_string(from) + (half ? "" : "_UP"));
    append("fabric " + std::to_string(to) + (half ? "" : "_DOWN"));
    return route;
  }
  std::vector<s4u::Link*> links;
  leaves_[static_cast<std::size_t>(from)]->route_to(leaves_[static_cast<std::size_t>(to)], links,
                                                    nullptr);
  for (const s4u::Link* link : links) append(link->get_name());
  return route;
}

// A link whose senders' cards, or whose receivers' cards, are together no faster than it is can
// only be full when all of those cards are: it never holds a flow up. Without it, flows that share
// no other link are shares of their own, which SimGrid solves one by one.
std::vector<char> Platform::find_binding(const std::vector<std::vector<int>>& routes) const {
  const auto nodes = static_cast<std::size_t>(machine_.nodes);
  const TierCost& rack = machine_.cost(Tier::kRack);
  const double cards = rack.bytes_per_s * machine_.nics_per_node;
  std::vector<double> least(links_.size(), std::numeric_limits<double>::infinity());
  for (const bool by_sender : {true, false}) {
    std::vector<double> sum(links_.size());
    std::vector<std::size_t> last(links_.size(), nodes);
    for (std::size_t a = 0; a < nodes; ++a) {
      for (std::size_t b = 0; b < nodes; ++b) {
        for (const int link : routes[by_sender ? a * nodes + b : b * nodes + a]) {
          const auto l = static_cast<std::size_t>(link);
          if (std::exchange(last[l], a) != a) sum[l] += cards;
        }
      }
    }
    for (std::size_t l = 0; l < sum.size(); ++l) least[l] = std::min(least[l], sum[l]);
  }
  std::vector<char> binding(links_.size());
  // Without a latency of its own a card's route has none to be stretched (latency_factor).
  const bool all = rack.latency_s <= 0 && machine_.cost(Tier::kFabric).latency_s > 0;
  const bool half = machine_.cost(Tier::kFabric).half_duplex;
  for (std::size_t l = 0; l < binding.size(); ++l) {
    binding[l] = static_cast<char>(all || half || least[l] > bytes_per_s_[l]);
  }
  return binding;
}

void Platform::join_nodes(s4u::NetZone* root) {
  const auto nodes = static_cast<std::size_t>(machine_.nodes);
  std::vector<std::vector<int>> routes(nodes * nodes);
  for (std::size_t a = 0; a < nodes; ++a) {
    for (std::size_t b = 0; b < nodes; ++b) {
      if (a != b) routes[a * nodes + b] = route(static_cast<int>(a), static_cast<int>(b)).links;
    }
  }
  const std::vector<char> binding = find_binding(routes);
  binding_ = static_cast<std::size_t>(std::ranges::count(binding, 1));
  hops_.resize(nodes * nodes);
  const double wide = 4 * machine_.cost(Tier::kRack).bytes_per_s * machine_.nics_per_node;
  for (std::size_t a = 0; a < nodes; ++a) {
    // A route has to have a link. Two nodes whose route has none left share one with those nodes
    // that a relay reaches over the same cards.
    std::vector<s4u::Link*> wires(static_cast<std::size_t>(machine_.ranks_per_node));
    for (std::size_t b = 0; b < nodes; ++b) {
      if (a == b) continue;
      const auto& all = routes[a * nodes + b];
      std::vector<LinkInRoute> kept;
      for (const int link : all) {
        const auto l = static_cast<std::size_t>(link);
        if (binding[l] != 0) kept.emplace_back(links_[l]);
      }
      hops_[a * nodes + b] = {.all = static_cast<std::uint16_t>(all.size()),
                              .kept = static_cast<std::uint16_t>(kept.size())};
      if (kept.empty()) {
        s4u::Link*& wire = wires[b % wires.size()];
        if (wire == nullptr) {
          wire = root->create_link(
              kNode + std::to_string(a) + " wire " + std::to_string(b % wires.size()), wide);
          wire->set_latency(0.0)->seal();
        }
        kept.emplace_back(wire);
      }
      root->add_route(nodes_[a]->get_netpoint(), nodes_[b]->get_netpoint(), gateways_[a],
                      gateways_[b], kept, false);
    }
  }
}

double Platform::latency_factor(int from, int to, std::int64_t bytes) const {
  const TierCost& cost = machine_.cost(std::min(machine_.tier_of(from, to), Tier::kRack));
  const std::size_t a = static_cast<std::size_t>(machine_.node_of(from));
  const std::size_t b = static_cast<std::size_t>(machine_.node_of(to));
  const Hops hops = hops_.empty() ? Hops{} : hops_[a * nodes_.size() + b];
  const double hop = machine_.cost(Tier::kFabric).latency_s;
  const double route = cost.latency_s + hops.kept * hop;
  return route > 0 ? (cost.latency_of(bytes) + hops.all * hop) / route : 1;
}

double Platform::bandwidth_factor(int from, int to, std::int64_t bytes) const {
  const TierCost& cost = machine_.cost(std::min(machine_.tier_of(from, to), Tier::kRack));
  return cost.bandwidth_of(bytes) / cost.bytes_per_s;
}
}  // namespace switchyard::runtime
