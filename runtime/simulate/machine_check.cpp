// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/machine_check.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <stdexcept>

namespace switchyard::runtime {
namespace {
constexpr int kMostRanks = 1 << 20;

std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

std::string shown(const std::vector<int>& values) {
  std::string text = "[";
  for (const int value : values) text += (text.size() > 1 ? ", " : "") + std::to_string(value);
  return text + "]";
}

/// Of `whole`, the one nearest to `wanted`; ties: the smaller.
int nearest_divisor(int whole, int wanted) {
  int best = 1;
  for (int i = 2; i <= whole; ++i) {
    if (whole % i == 0 && std::abs(i - wanted) < std::abs(best - wanted)) best = i;
  }
  return best;
}

class Checker {
 public:
  Checker(const Machine& machine, const std::string& where) : machine_(machine), where_(where) {}

  void check() const {
    counts();
    // What is left out is a copy of the next wider one, which is the one to blame.
    for (const int i : {2, 1, 0, 3, 4}) tier(kAllTiers[static_cast<std::size_t>(i)]);
    fabric();
    amount("dispatch_us", machine_.dispatch_s * 1e6);
    amount("combine_us", machine_.combine_s * 1e6);
    rates();
  }

 private:
  [[noreturn]] void refuse(const std::string& field, const std::string& got,
                           const std::string& want) const {
    throw std::invalid_argument(where_ + ": " + field + ": got " + got + ", want " + want);
  }

  void whole(const std::string& field, int value, int least, int most) const {
    if (value >= least && value <= most) return;
    refuse(field, std::to_string(value), std::to_string(least) + " to " + std::to_string(most));
  }

  void divisor(const std::string& field, int value, const std::string& of, int number) const {
    if (value >= 1 && number % value == 0) return;
    refuse(field, std::to_string(value),
           "a divisor of " + std::to_string(number) + " (" + of + "), nearest is " +
               std::to_string(nearest_divisor(number, value)));
  }

  /// Finite and not negative; above 0 if `above`.
  void amount(const std::string& field, double value, bool above = false) const {
    if (std::isfinite(value) && (above ? value > 0 : value >= 0)) return;
    refuse(field, shown(value), above ? "a number above 0" : "a number from 0");
  }

  void counts() const {
    whole("nodes", machine_.nodes, 1, kMostRanks);
    whole("ranks_per_node", machine_.ranks_per_node, 1, kMostRanks / machine_.nodes);
    whole("cores_per_node", machine_.cores_per_node, 1, kMostRanks);
    divisor("sockets_per_node", machine_.sockets_per_node, "cores_per_node",
            machine_.cores_per_node);
    divisor("nics_per_node", machine_.nics_per_node, "ranks_per_node", machine_.ranks_per_node);
    whole("processors", machine_.processors, 0, kMostRanks);
  }

  void tier(Tier which) const {
    const TierCost& cost = machine_.cost(which);
    const std::string name(name_of(which));
    amount(name + ".latency_us", cost.latency_s * 1e6);
    amount(name + ".gigabytes_per_s", cost.bytes_per_s / 1e9, true);
    amount(name + ".message_us", cost.message_s * 1e6);
    amount(name + ".total_gigabytes_per_s", cost.total_bytes_per_s / 1e9);
    if (which >= Tier::kRack && cost.total_bytes_per_s > 0) {
      refuse(name + ".total_gigabytes_per_s", shown(cost.total_bytes_per_s / 1e9),
             "none: what nodes share is the topology");
    }
    if (which == Tier::kFabric && cost.message_s > 0) {
      refuse("fabric.message_us", shown(cost.message_s * 1e6), "none: it is rack.message_us");
    }
    if (which == Tier::kFabric && !cost.steps.empty()) {
      refuse("fabric.step", std::to_string(cost.steps.size()), "none: protocols are of rack");
    }
    amount(name + ".burst_bytes", cost.burst_bytes);
    if (!(cost.exchange_ratio >= 1 && cost.exchange_ratio <= 2)) {
      refuse(name + ".exchange_ratio", shown(cost.exchange_ratio), "1 to 2");
    }
    if (cost.exchange_ratio > 1 && (which != Tier::kRack || cost.half_duplex)) {
      refuse(name + ".exchange_ratio", shown(cost.exchange_ratio),
             "none: it is of rack, and half duplex is 2 already");
    }
    std::int64_t before = 0;
    for (const SizeStep& step : cost.steps) {
      if (step.from_bytes <= before) {
        refuse(name + ".step.from_bytes", std::to_string(step.from_bytes),
               "more than " + std::to_string(before));
      }
      before = step.from_bytes;
      amount(name + ".step.latency_factor", step.latency_factor, true);
      amount(name + ".step.bandwidth_factor", step.bandwidth_factor, true);
    }
  }

  void fabric() const {
    switch (machine_.fabric.shape) {
      case Fabric::Shape::kFatTree:
        return fat_tree();
      case Fabric::Shape::kDragonfly:
        return dragonfly();
      case Fabric::Shape::kTorus:
        return torus();
      case Fabric::Shape::kStar:
        return;
    }
  }

  /// @param last  the field that would be raised, its value
  void room(const std::string& field, const std::string& got, int last) const {
    const int capacity = machine_.fabric.capacity();
    if (capacity >= machine_.nodes) return;
    const int rest = capacity / last;
    const int enough = (machine_.nodes + rest - 1) / rest;
    refuse(field, got + ", room for " + std::to_string(capacity) + " nodes",
           "room for " + std::to_string(machine_.nodes) + ": nearest is " + std::to_string(enough) +
               " for the " + std::to_string(last));
  }

  void fat_tree() const {
    const auto& down = machine_.fabric.down;
    if (down.empty()) refuse("fat_tree.down", "no level", "links down of each level's switches");
    for (const int links : down) whole("fat_tree.down", links, 1, kMostRanks);
    room("fat_tree.down", shown(down), down.back());
  }

  void dragonfly() const {
    const Fabric& it = machine_.fabric;
    whole("dragonfly.groups", it.groups, 1, kMostRanks);
    whole("dragonfly.chassis_per_group", it.chassis_per_group, 1, kMostRanks);
    whole("dragonfly.routers_per_chassis", it.routers_per_chassis, 1, kMostRanks);
    whole("dragonfly.nodes_per_router", it.nodes_per_router, 1, kMostRanks);
    whole("dragonfly.global_links", it.global_links, 1, kMostRanks);
    whole("dragonfly.chassis_links", it.chassis_links, 1, kMostRanks);
    whole("dragonfly.router_links", it.router_links, 1, kMostRanks);
    const std::int64_t routers = std::int64_t{it.chassis_per_group} * it.routers_per_chassis;
    if (it.groups > routers) {
      const int chassis = it.chassis_per_group;
      refuse("dragonfly.groups", std::to_string(it.groups),
             "at most " + std::to_string(routers) +
                 ", the routers of a group, each of which reaches one other group: nearest is " +
                 std::to_string(routers) + " groups, or routers_per_chassis " +
                 std::to_string((it.groups + chassis - 1) / chassis));
    }
    room("dragonfly.nodes_per_router", std::to_string(it.nodes_per_router), it.nodes_per_router);
  }

  void torus() const {
    const auto& size = machine_.fabric.torus;
    if (size.empty()) refuse("torus.size", "no dimension", "the size of each");
    for (const int nodes : size) whole("torus.size", nodes, 2, kMostRanks);
    room("torus.size", shown(size), size.back());
  }

  void rates() const {
    std::set<std::tuple<experts::DType, std::int64_t, std::int64_t>> seen;
    for (const KernelRate& rate : machine_.rates) {
      const std::string type(experts::name_of(rate.type));
      const std::string shape = std::to_string(rate.hidden) + " x " + std::to_string(rate.width);
      if (rate.hidden < 0 || rate.width < 0 || (rate.hidden == 0) != (rate.width == 0)) {
        refuse("rate." + type, "the shape " + shape, "hidden and width above 0, or neither");
      }
      if (!seen.insert({rate.type, rate.hidden, rate.width}).second) {
        refuse("rate." + type, "two of " + (rate.hidden == 0 ? "any shape" : shape), "one");
      }
      if (rate.hidden == 0) {
        any_shape("rate." + type, rate);
      } else {
        one_shape("rate." + type, rate);
      }
    }
  }

  void any_shape(const std::string& field, const KernelRate& rate) const {
    if (!rate.points.empty()) refuse(field + ".point", "points of any shape", "hidden and width");
    amount(field + ".gigaflops", rate.flops_per_s / 1e9, true);
    amount(field + ".gigabytes_per_s", rate.bytes_per_s / 1e9);
    amount(field + ".call_us", rate.call_s * 1e6);
  }

  void one_shape(const std::string& field, const KernelRate& rate) const {
    if (rate.points.empty()) refuse(field + ".point", "none", "at least one of a shape");
    if (rate.flops_per_s != 0 || rate.bytes_per_s != 0 || rate.call_s != 0) {
      refuse(field, "points and a rate", "points for one shape, gigaflops for any");
    }
    std::int64_t before = 0;
    for (const KernelRate::Point& point : rate.points) {
      if (point.rows <= before) {
        refuse(field + ".point.rows", std::to_string(point.rows),
               "more than " + std::to_string(before));
      }
      before = point.rows;
      amount(field + ".point.us", point.seconds * 1e6, true);
    }
  }

  const Machine& machine_;
  const std::string& where_;
};
}  // namespace

void check_machine(const Machine& machine, const std::string& where) {
  Checker(machine, where).check();
}
}  // namespace switchyard::runtime
