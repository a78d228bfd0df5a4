// SPDX-License-Identifier: Apache-2.0
// Owns placement.proto: the only place that sees its generated code.
#include <google/protobuf/text_format.h>
#include <set>
#include <stdexcept>

#include "runtime/placement/placement.hpp"
#include "runtime/placement/placement.pb.h"
#include "runtime/text_proto.hpp"

namespace switchyard::runtime {
namespace {
using PlacementFile = placement::v1::Placement;

PlacementFile read_placement(const std::filesystem::path& file) {
  PlacementFile message;
  parse_text(read_text(file), file.string(), message);
  if (message.version() > 2) {
    throw std::invalid_argument(file.string() + ": placement format version " +
                                std::to_string(message.version()) + ", want at most 2");
  }
  std::set<std::int64_t> numbers;
  for (const auto& layer : message.layer()) {
    if (layer.number() >= 0 && numbers.insert(layer.number()).second) continue;
    throw std::invalid_argument(
        file.string() + ": layer " + std::to_string(layer.number()) +
        (layer.number() < 0 ? ", want a number from 0" : " is there twice"));
  }
  return message;
}

template <class Message>
void put_ranks(const Placement& placement, Message& message) {
  for (int rank = 0; rank < placement.ranks(); ++rank) {
    const auto experts = placement.experts_of(rank);
    message.add_rank()->mutable_expert()->Add(experts.begin(), experts.end());
  }
}

template <class Ranks>
Placement placement_of(const Ranks& all, const std::string& where, std::int64_t experts,
                       int ranks) {
  if (all.size() != ranks) {
    throw std::invalid_argument(where + ": placement for " + std::to_string(all.size()) +
                                " ranks, want " + std::to_string(ranks));
  }
  std::vector<std::vector<std::int32_t>> lists;
  for (const auto& rank : all) lists.emplace_back(rank.expert().begin(), rank.expert().end());
  try {
    return Placement::from_lists(std::move(lists), experts);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(where + ": " + error.what());
  }
}
}  // namespace

Placement Placement::from_file(const std::filesystem::path& file, std::int64_t experts, int ranks,
                               std::int64_t layer) {
  const PlacementFile message = read_placement(file);
  const std::string name = file.string();
  if (layer == kEveryLayer && message.layer_size() > 0) {
    throw std::invalid_argument(name + ": layers have placements of their own, want one for all");
  }
  for (const auto& each : message.layer()) {
    if (each.number() != layer) continue;
    return placement_of(each.rank(), name + ": layer " + std::to_string(layer), experts, ranks);
  }
  if (message.layer_size() > 0 && message.rank_size() == 0) {
    throw std::invalid_argument(name + ": no placement for layer " + std::to_string(layer));
  }
  return placement_of(message.rank(), name, experts, ranks);
}

bool Placement::layered(const std::string& name) {
  if (name == "linear" || name == "round-robin" || !std::filesystem::exists(name)) return false;
  return read_placement(name).layer_size() > 0;
}

int Placement::ranks_in(const std::string& file) {
  const PlacementFile message = read_placement(file);
  int ranks = message.rank_size();
  for (const auto& layer : message.layer()) {
    if (ranks == 0) ranks = layer.rank_size();
    if (layer.rank_size() == ranks) continue;
    throw std::invalid_argument(file + ": layer " + std::to_string(layer.number()) + " has " +
                                std::to_string(layer.rank_size()) + " ranks, want " +
                                std::to_string(ranks) + ", as the others");
  }
  if (ranks == 0) throw std::invalid_argument(file + ": a placement for no rank");
  return ranks;
}

std::string to_text(std::span<const LayerPlacement> placements) {
  PlacementFile message;
  message.set_version(1);
  for (const auto& [number, placement] : placements) {
    if (number == kEveryLayer) {
      put_ranks(placement, message);
      continue;
    }
    message.set_version(2);
    auto& layer = *message.add_layer();
    layer.set_number(number);
    put_ranks(placement, layer);
  }
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  std::string text;
  if (!printer.PrintToString(message, &text)) throw std::logic_error("placement: no text");
  return text;
}
}  // namespace switchyard::runtime
