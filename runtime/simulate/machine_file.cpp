// SPDX-License-Identifier: Apache-2.0
// Owns machine.proto: the only place that sees its generated code.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <google/protobuf/text_format.h>
#include <stdexcept>

#include "runtime/model/nearest.hpp"
#include "runtime/simulate/machine.hpp"
#include "runtime/simulate/machine.pb.h"
#include "runtime/simulate/machine_check.hpp"
#include "runtime/text_proto.hpp"

namespace switchyard::runtime {
namespace {
namespace proto = machine::v1;
using MachineMessage = proto::Machine;
constexpr double kMicro = 1e-6;
constexpr double kGiga = 1e9;

int or_one(int value) {
  return value == 0 ? 1 : value;
}
double factor_or_one(double value) {
  return value == 0 ? 1 : value;
}

TierCost tier_from(const proto::Tier& message) {
  TierCost cost{.latency_s = message.latency_us() * kMicro,
                .bytes_per_s = message.gigabytes_per_s() * kGiga,
                .message_s = message.message_us() * kMicro,
                .total_bytes_per_s = message.total_gigabytes_per_s() * kGiga,
                .half_duplex = message.duplex() == proto::Duplex::half,
                .burst_bytes = message.burst_bytes(),
                .exchange_ratio = factor_or_one(message.exchange_ratio())};
  for (const auto& step : message.step()) {
    cost.steps.push_back({.from_bytes = step.from_bytes(),
                          .latency_factor = factor_or_one(step.latency_factor()),
                          .bandwidth_factor = factor_or_one(step.bandwidth_factor())});
  }
  return cost;
}

/// What is left out is like the next wider tier; where nobody needs a tier it costs nothing.
void read_tiers(const MachineMessage& message, const std::string& where, Machine& machine) {
  const auto wants = [&](const std::string& tier, const std::string& why) {
    throw std::invalid_argument(where + ": " + tier + ": got none, want it: " + why);
  };
  if (machine.ranks_per_node > 1 && !message.has_node()) wants("node", "nodes have several ranks");
  if (machine.nodes > 1 && !message.has_rack()) wants("rack", "there are several nodes");
  constexpr TierCost kFree{.bytes_per_s = kFreeBytesPerS};
  auto& tiers = machine.tiers;
  tiers[2] = message.has_node() ? tier_from(message.node()) : kFree;
  tiers[1] = message.has_socket() ? tier_from(message.socket()) : tiers[2];
  tiers[0] = message.has_core() ? tier_from(message.core()) : tiers[1];
  // What a whole node shares is no property of one of its sockets or cores.
  if (!message.has_socket()) tiers[1].total_bytes_per_s = 0;
  if (!message.has_core()) tiers[0].total_bytes_per_s = 0;
  tiers[3] = message.has_rack() ? tier_from(message.rack()) : kFree;
  tiers[4] = message.has_fabric()
                 ? tier_from(message.fabric())
                 : TierCost{.bytes_per_s = tiers[3].bytes_per_s * machine.nics_per_node,
                            .half_duplex = tiers[3].half_duplex};
}

void read_fat_tree(const proto::FatTree& tree, const std::string& where, Fabric& fabric) {
  fabric.shape = Fabric::Shape::kFatTree;
  fabric.down.assign(tree.down().begin(), tree.down().end());
  fabric.up = {1};
  if (tree.taper_size() > std::max(0, tree.down_size() - 1)) {
    throw std::invalid_argument(
        where + ": fat_tree.taper: got " + std::to_string(tree.taper_size()) + ", want at most " +
        std::to_string(std::max(0, tree.down_size() - 1)) + ": one for each level but the highest");
  }
  for (int level = 0; level + 1 < tree.down_size(); ++level) {
    const double taper = level < tree.taper_size() ? tree.taper(level) : 1;
    if (tree.down(level) < 1) return;  // refused by check_machine
    const double up = tree.down(level) / taper;
    const double whole = std::max(1.0, std::round(up));
    if (!(taper > 0) || !std::isfinite(taper) || std::abs(up - whole) > 1e-6) {
      char text[160];
      std::snprintf(text, sizeof text,
                    ": fat_tree.taper: got %g for %d links down, want a whole number of links up: "
                    "nearest is %.9g",
                    taper, tree.down(level),
                    tree.down(level) / (std::isfinite(up) && up > 0 ? whole : tree.down(level)));
      throw std::invalid_argument(where + text);
    }
    fabric.up.push_back(static_cast<int>(whole));
  }
}

Fabric fabric_from(const MachineMessage& message, const std::string& where) {
  Fabric fabric;
  if (message.has_fat_tree()) read_fat_tree(message.fat_tree(), where, fabric);
  if (message.has_dragonfly()) {
    const auto& it = message.dragonfly();
    fabric.shape = Fabric::Shape::kDragonfly;
    fabric.groups = it.groups();
    fabric.chassis_per_group = or_one(it.chassis_per_group());
    fabric.routers_per_chassis = it.routers_per_chassis();
    fabric.nodes_per_router = it.nodes_per_router();
    fabric.global_links = or_one(it.global_links());
    fabric.chassis_links = or_one(it.chassis_links());
    fabric.router_links = or_one(it.router_links());
  }
  if (message.has_torus()) {
    fabric.shape = Fabric::Shape::kTorus;
    fabric.torus.assign(message.torus().size().begin(), message.torus().size().end());
  }
  return fabric;
}

KernelRate rate_from(const proto::Rate& message) {
  KernelRate rate{.type = static_cast<experts::DType>(message.type()),
                  .hidden = message.hidden(),
                  .width = message.width(),
                  .flops_per_s = message.gigaflops() * kGiga,
                  .bytes_per_s = message.gigabytes_per_s() * kGiga,
                  .call_s = message.call_us() * kMicro};
  for (const auto& point : message.point()) {
    rate.points.push_back({.rows = point.rows(), .seconds = point.us() * kMicro});
  }
  return rate;
}

/// Six digits are more than a measurement has, and read better.
double rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return std::strtod(text, nullptr);
}

void fill(const TierCost& cost, proto::Tier& message) {
  message.set_latency_us(rounded(cost.latency_s / kMicro));
  message.set_gigabytes_per_s(rounded(cost.bytes_per_s / kGiga));
  message.set_message_us(rounded(cost.message_s / kMicro));
  message.set_total_gigabytes_per_s(rounded(cost.total_bytes_per_s / kGiga));
  message.set_duplex(cost.half_duplex ? proto::Duplex::half : proto::Duplex::full);
  if (cost.burst_bytes > 0) message.set_burst_bytes(rounded(cost.burst_bytes));
  if (cost.exchange_ratio > 1) message.set_exchange_ratio(rounded(cost.exchange_ratio));
  for (const SizeStep& from : cost.steps) {
    proto::Step& step = *message.add_step();
    step.set_from_bytes(from.from_bytes);
    step.set_latency_factor(rounded(from.latency_factor));
    step.set_bandwidth_factor(rounded(from.bandwidth_factor));
  }
}

void fill(const Fabric& fabric, MachineMessage& message) {
  if (fabric.shape == Fabric::Shape::kFatTree) {
    auto& tree = *message.mutable_fat_tree();
    tree.mutable_down()->Add(fabric.down.begin(), fabric.down.end());
    for (std::size_t i = 1; i < fabric.up.size(); ++i) {
      tree.add_taper(static_cast<double>(fabric.down[i - 1]) / fabric.up[i]);
    }
  } else if (fabric.shape == Fabric::Shape::kDragonfly) {
    auto& it = *message.mutable_dragonfly();
    it.set_groups(fabric.groups);
    it.set_chassis_per_group(fabric.chassis_per_group);
    it.set_routers_per_chassis(fabric.routers_per_chassis);
    it.set_nodes_per_router(fabric.nodes_per_router);
    it.set_global_links(fabric.global_links);
    it.set_chassis_links(fabric.chassis_links);
    it.set_router_links(fabric.router_links);
  } else if (fabric.shape == Fabric::Shape::kTorus) {
    message.mutable_torus()->mutable_size()->Add(fabric.torus.begin(), fabric.torus.end());
  }
}

void fill(const KernelRate& from, proto::Rate& rate) {
  rate.set_type(static_cast<proto::Type::Name>(from.type));
  rate.set_hidden(static_cast<int>(from.hidden));
  rate.set_width(static_cast<int>(from.width));
  rate.set_gigaflops(rounded(from.flops_per_s / kGiga));
  rate.set_gigabytes_per_s(rounded(from.bytes_per_s / kGiga));
  rate.set_call_us(rounded(from.call_s / kMicro));
  for (const auto& point : from.points) {
    auto& to = *rate.add_point();
    to.set_rows(static_cast<int>(point.rows));
    to.set_us(rounded(point.seconds / kMicro));
  }
}

struct MachinePreset {
  std::string name;
  std::string_view text;
};

/// By file name, which begins alike.
std::vector<MachinePreset> machine_presets() {
  std::vector<MachinePreset> presets;
  for (std::string_view rest = machine_texts(); !rest.empty();) {
    const std::size_t end = rest.find('\f');
    const std::string_view text = rest.substr(0, end);
    MachineMessage message;
    parse_text(text, "machine preset " + std::to_string(presets.size()), message);
    presets.push_back({message.name(), text});
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
  }
  std::ranges::sort(presets, {}, &MachinePreset::name);
  return presets;
}
}  // namespace

Machine machine_from_text(std::string_view text, const std::string& where) {
  MachineMessage message;
  parse_text(text, where, message);
  if (message.version() > 1) {
    throw std::invalid_argument(where + ": machine format version " +
                                std::to_string(message.version()) + ", want at most 1");
  }
  Machine machine{.name = message.name().empty() ? where : message.name(),
                  .source = message.source(),
                  .nodes = message.nodes(),
                  .ranks_per_node = message.ranks_per_node(),
                  .sockets_per_node = or_one(message.sockets_per_node()),
                  .cores_per_node = message.cores_per_node() == 0 ? message.ranks_per_node()
                                                                  : message.cores_per_node(),
                  .nics_per_node = or_one(message.nics_per_node()),
                  .processors = message.processors(),
                  .tiers = {},
                  .fabric = fabric_from(message, where),
                  .dispatch_s = message.dispatch_us() * kMicro,
                  .combine_s = message.combine_us() * kMicro,
                  .rates = {}};
  read_tiers(message, where, machine);
  for (const auto& rate : message.rate()) machine.rates.push_back(rate_from(rate));
  check_machine(machine, where);
  return machine;
}

Machine machine_from(const std::string& name_or_file) {
  if (std::filesystem::exists(name_or_file)) {
    return machine_from_text(read_text(name_or_file), name_or_file);
  }
  std::vector<std::string> names;
  std::vector<MachinePreset> matches;
  for (const MachinePreset& preset : machine_presets()) {
    names.push_back(preset.name);
    if (preset.name == name_or_file) return machine_from_text(preset.text, preset.name);
    if (preset.name.starts_with(name_or_file)) matches.push_back(preset);
  }
  if (matches.size() == 1) return machine_from_text(matches[0].text, matches[0].name);
  throw std::invalid_argument("--machine: got '" + name_or_file + "', want " + one_of(names) +
                              ", or a file that exists");
}

std::vector<std::string> machine_names() {
  std::vector<std::string> names;
  for (const MachinePreset& preset : machine_presets()) names.push_back(preset.name);
  return names;
}

std::string to_text(const Machine& machine) {
  MachineMessage message;
  message.set_version(1);
  message.set_name(machine.name);
  message.set_source(machine.source);
  message.set_nodes(machine.nodes);
  message.set_ranks_per_node(machine.ranks_per_node);
  message.set_sockets_per_node(machine.sockets_per_node);
  message.set_cores_per_node(machine.cores_per_node);
  message.set_nics_per_node(machine.nics_per_node);
  message.set_processors(machine.processors);
  const std::array to = {message.mutable_core(), message.mutable_socket(), message.mutable_node(),
                         message.mutable_rack(), message.mutable_fabric()};
  for (std::size_t i = 0; i < to.size(); ++i) fill(machine.tiers[i], *to[i]);
  fill(machine.fabric, message);
  message.set_dispatch_us(rounded(machine.dispatch_s / kMicro));
  message.set_combine_us(rounded(machine.combine_s / kMicro));
  for (const KernelRate& rate : machine.rates) fill(rate, *message.add_rate());
  std::string text;
  google::protobuf::TextFormat::PrintToString(message, &text);
  return text;
}
}  // namespace switchyard::runtime
