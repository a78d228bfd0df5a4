// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A machine as SimGrid's zones: a zone a node, in it a host a rank, and beside the nodes the
/// fabric with a leaf for each of them, which says which of its links two nodes have between them.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/simulate/machine.hpp"

namespace simgrid::s4u {
class Host;
class Link;
class NetZone;
}  // namespace simgrid::s4u
namespace simgrid::kernel::routing {
class NetPoint;
}

namespace switchyard::runtime {

/// Built once a process, after SimGrid has its settings and before anything runs.
class Platform {
 public:
  /// @param machine  checked, and large enough for all its ranks; outlives this
  /// @param carries  false: nothing will be sent, only routes asked for
  Platform(const Machine& machine, bool carries);

  [[nodiscard]] const std::vector<simgrid::s4u::Host*>& hosts() const { return hosts_; }

  /// Links of the fabric between two different nodes, and how long a bit takes through them.
  struct Route {
    std::vector<int> links;
    double latency_s = 0;
  };
  [[nodiscard]] Route route(int from, int to) const;
  /// Time of a bit from one rank to another over the time that SimGrid's route would take: links
  /// that never hold a flow up are not in it.
  [[nodiscard]] double latency_factor(int from, int to, std::int64_t bytes) const;
  [[nodiscard]] double bandwidth_factor(int from, int to, std::int64_t bytes) const;
  /// Links of the fabric that can hold a flow up.
  [[nodiscard]] std::size_t binding() const { return binding_; }
  /// Names and rates of what route() numbers. Links that serve both directions at once are two.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] const std::vector<double>& bytes_per_s() const { return bytes_per_s_; }

 private:
  void make_fabric(simgrid::s4u::NetZone* root);
  void make_star(simgrid::s4u::NetZone* root);
  void make_node(int node, simgrid::s4u::NetZone* parent);
  void number_links();
  void join_nodes(simgrid::s4u::NetZone* root);
  [[nodiscard]] std::vector<char> find_binding(const std::vector<std::vector<int>>& routes) const;

  const Machine& machine_;
  std::vector<simgrid::s4u::Host*> hosts_;                     ///< [ranks]
  std::vector<simgrid::s4u::NetZone*> nodes_;                  ///< [nodes]
  std::vector<simgrid::kernel::routing::NetPoint*> gateways_;  ///< [nodes]
  std::vector<simgrid::s4u::Host*> leaves_;                    ///< [nodes], in the fabric; no star
  std::vector<simgrid::s4u::Link*> links_;                     ///< [fabric links]
  std::vector<std::string> names_;                             ///< the same
  std::vector<double> bytes_per_s_;                            ///< the same
  /// Links of the fabric between two nodes, and those of them that SimGrid's route has.
  struct Hops {
    std::uint16_t all = 0;
    std::uint16_t kept = 0;
  };
  std::vector<Hops> hops_;  ///< [nodes, nodes]
  std::size_t binding_ = 0;
};
}  // namespace switchyard::runtime
