// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A machine as SimGrid's zones: the fabric at the root, in it a zone a node, in it a host a rank.
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
  explicit Platform(const Machine& machine);

  [[nodiscard]] const std::vector<simgrid::s4u::Host*>& hosts() const { return hosts_; }

  /// Links of the fabric between two different nodes, and how long a bit takes through them.
  struct Route {
    std::vector<int> links;
    double latency_s = 0;
  };
  [[nodiscard]] Route route(int from, int to) const;
  /// Names and rates of what route() numbers. Links that serve both directions at once are two.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] const std::vector<double>& bytes_per_s() const { return bytes_per_s_; }

 private:
  simgrid::s4u::NetZone* make_fabric();
  simgrid::s4u::NetZone* make_star();
  void make_node(int node, simgrid::s4u::NetZone* parent);
  void number_links();

  const Machine& machine_;
  std::vector<simgrid::s4u::Host*> hosts_;                     ///< [ranks]
  std::vector<simgrid::s4u::NetZone*> nodes_;                  ///< [nodes]
  std::vector<simgrid::kernel::routing::NetPoint*> gateways_;  ///< [nodes]
  std::vector<std::string> names_;                             ///< [fabric links]
  std::vector<double> bytes_per_s_;                            ///< the same
};
}  // namespace switchyard::runtime
