// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/engine/platform.hpp"

#include <algorithm>
#include <array>
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

Platform::Platform(const Machine& machine)
    : machine_(machine),
      hosts_(static_cast<std::size_t>(machine.ranks())),
      nodes_(static_cast<std::size_t>(machine.nodes)),
      gateways_(nodes_.size()) {
  make_fabric()->seal();
  number_links();
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

s4u::NetZone* Platform::make_star() {
  s4u::NetZone* const star = s4u::create_star_zone("fabric");
  const TierCost& fabric = machine_.cost(Tier::kFabric);
  for (int node = 0; node < machine_.nodes; ++node) {
    make_node(node, star);
    if (machine_.nodes == 1) break;
    const Both link = make_link(star, "fabric " + std::to_string(node), fabric.bytes_per_s,
                                fabric.latency_s, fabric.half_duplex);
    auto* const leaf = nodes_[static_cast<std::size_t>(node)]->get_netpoint();
    auto* const gateway = gateways_[static_cast<std::size_t>(node)];
    star->add_route(leaf, nullptr, gateway, nullptr, {link.out}, false);
    star->add_route(nullptr, leaf, nullptr, gateway, {link.in}, false);
  }
  return star;
}

s4u::NetZone* Platform::make_fabric() {
  const Fabric& shape = machine_.fabric;
  if (shape.shape == Fabric::Shape::kStar || machine_.nodes == 1) return make_star();
  const TierCost& cost = machine_.cost(Tier::kFabric);
  const auto policy =
      cost.half_duplex ? s4u::Link::SharingPolicy::SHARED : s4u::Link::SharingPolicy::SPLITDUPLEX;
  const s4u::ClusterCallbacks leaves(
      [this](s4u::NetZone* zone, const std::vector<unsigned long>&, unsigned long id)
          -> std::pair<simgrid::kernel::routing::NetPoint*, simgrid::kernel::routing::NetPoint*> {
        const int node = static_cast<int>(id);
        if (node < machine_.nodes) {
          make_node(node, zone);
          const auto made = static_cast<std::size_t>(id);
          return {nodes_[made]->get_netpoint(), gateways_[made]};
        }
        s4u::Host* const host = zone->create_host("empty " + std::to_string(id), 1e9);
        host->seal();
        return {host->get_netpoint(), nullptr};
      });
  switch (shape.shape) {
    case Fabric::Shape::kFatTree:
      return s4u::create_fatTree_zone(
          "fabric", nullptr,
          {static_cast<unsigned>(shape.down.size()), unsigneds(shape.down), unsigneds(shape.up),
           std::vector<unsigned>(shape.down.size(), 1)},
          leaves, cost.bytes_per_s, cost.latency_s, policy);
    case Fabric::Shape::kDragonfly: {
      const auto pair = [](int count, int links) {
        return std::pair(static_cast<unsigned>(count), static_cast<unsigned>(links));
      };
      return s4u::create_dragonfly_zone("fabric", nullptr,
                                        {pair(shape.groups, shape.global_links),
                                         pair(shape.chassis_per_group, shape.chassis_links),
                                         pair(shape.routers_per_chassis, shape.router_links),
                                         static_cast<unsigned>(shape.nodes_per_router)},
                                        leaves, cost.bytes_per_s, cost.latency_s, policy);
    }
    case Fabric::Shape::kTorus:
      return s4u::create_torus_zone("fabric", nullptr, {shape.torus.begin(), shape.torus.end()},
                                    leaves, cost.bytes_per_s, cost.latency_s, policy);
    case Fabric::Shape::kStar:
      break;
  }
  throw std::logic_error("platform: a fabric of no shape");
}

void Platform::number_links() {
  std::vector<s4u::Link*> links = s4u::Engine::get_instance()->get_all_links();
  std::ranges::sort(links, {}, [](const s4u::Link* link) { return link->get_name(); });
  for (const s4u::Link* link : links) {
    if (link->get_name().starts_with(kNode) || link->get_name() == "__loopback__") continue;
    names_.push_back(link->get_name());
    bytes_per_s_.push_back(link->get_bandwidth());
  }
}

Platform::Route Platform::route(int from, int to) const {
  const auto host_of = [this](int node) {
    return hosts_[static_cast<std::size_t>(node * machine_.ranks_per_node)];
  };
  std::vector<s4u::Link*> links;
  double latency = 0;
  host_of(from)->route_to(host_of(to), links, &latency);
  Route route;
  for (const s4u::Link* link : links) {
    const auto found = std::ranges::lower_bound(names_, link->get_name());
    if (found == names_.end() || *found != link->get_name()) continue;
    route.links.push_back(static_cast<int>(found - names_.begin()));
    route.latency_s += link->get_latency();
  }
  return route;
}
}  // namespace switchyard::runtime
