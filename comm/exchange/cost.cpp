// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/cost.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "comm/exchange/manifest.hpp"
#include "comm/group/stream.hpp"

namespace switchyard::comm {
namespace {
/// What one rank sends to other nodes and how often, in a round.
struct Volume {
  double ranks = 0;  ///< on the largest node
  double row_bytes = 0;
  double result_bytes = 0;
  double rank_peers = 0;  ///< ranks of other nodes
  double node_peers = 0;
};

/// The chance that at least one of `copies` falls on a share of all places.
double chance(double share, double copies) {
  return 1 - std::pow(1 - std::min(share, 1.0), copies);
}

Volume volume_of(const NodeMap& nodes, const RoundShape& shape, const ExchangeOptions& options) {
  const auto all = static_cast<double>(nodes.node_of.size());
  Volume volume;
  for (const auto& ranks : nodes.ranks_of) {
    volume.ranks = std::max(volume.ranks, static_cast<double>(ranks.size()));
  }
  volume.rank_peers = all - volume.ranks;
  volume.node_peers = nodes.nodes - 1;
  const bool two_level = options.transport == "two-level";
  const auto bytes = static_cast<double>(two_level ? wire_bytes(options.wire, shape.row_bytes / 4)
                                                   : shape.row_bytes);
  const double crossings = two_level ? volume.node_peers * chance(volume.ranks / all, shape.copies)
                                     : volume.rank_peers * chance(1 / all, shape.copies);
  volume.row_bytes = shape.rows * crossings * bytes;
  volume.result_bytes = shape.rows * shape.copies * volume.rank_peers / all * bytes;
  return volume;
}

std::string milliseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g ms", seconds * 1e3);
  return text;
}

std::string describe(const ExchangeOptions& options) {
  if (options.transport != "two-level") return options.transport;
  return "two-level in " + std::to_string(options.stages) +
         (options.stages == 1 ? " stage" : " stages");
}
}  // namespace

double predict(const NodeMap& nodes, const RoundShape& shape, const LinkCosts& links,
               const ExchangeOptions& options) {
  const Volume volume = volume_of(nodes, shape, options);
  if (options.transport != "two-level") {
    // Header, then rows; header, then results: each waited for, none beside work.
    const double bytes = volume.ranks * (volume.row_bytes + volume.result_bytes);
    return bytes / links.long_bytes_per_s + shape.work_s + 4 * links.latency_s +
           6 * volume.rank_peers * links.message_s;
  }
  const auto stages = static_cast<double>(options.stages);
  const double share = volume.ranks / static_cast<double>(nodes.node_of.size());
  const double rows_s = volume.ranks * volume.row_bytes / links.bytes_per_s;
  const double result_s = volume.ranks * volume.result_bytes / links.bytes_per_s / stages;
  const double work_s = shape.work_s / stages;
  // A link is a queue: rows by stages, then results as they are ready.
  double worked = 0;
  double sent = rows_s;
  for (int s = 1; s <= options.stages; ++s) {
    const double needed = chance(share * s / stages, shape.copies) / chance(share, shape.copies);
    worked = std::max(worked, rows_s * needed) + work_s;
    sent = std::max(sent, worked) + result_s;
  }
  // Ranks are not even, and look at their links only between pieces of work: part of a stage is
  // lost (0.4 fits tests/comm/netns.sh at 0 to 240 ms of work and 1 to 8 stages within 10 %).
  constexpr double kLost = 0.4;
  if (options.stages > 1) sent += kLost * (work_s + result_s);
  const double pieces = (volume.row_bytes + volume.result_bytes) / kPieceBytes +
                        2 * volume.node_peers + stages * (volume.node_peers + volume.rank_peers);
  return sent + 3 * links.latency_s + 2 * pieces * links.message_s;
}

ExchangeChoice choose_exchange(const NodeMap& nodes, const ExchangeOptions& options,
                               const RoundShape& shape, const LinkCosts& links) {
  std::vector<ExchangeChoice> candidates;
  const auto add = [&](const char* transport, int stages) {
    ExchangeChoice one{.options = options, .predicted_s = 0, .why = ""};
    one.options.transport = transport;
    one.options.stages = stages;
    one.predicted_s = predict(nodes, shape, links, one.options);
    candidates.push_back(one);
  };
  const bool open = options.transport == "auto";
  if (open && options.wire == WireType::kFloat32 && options.stages == 0) add("p2p", 0);
  if (options.stages > 0) {
    add("two-level", options.stages);
  } else {
    for (int stages = 1; stages <= kMaxStages; stages *= 2) {
      if (stages == 1 || stages <= shape.places) add("two-level", stages);
    }
  }
  std::ranges::stable_sort(candidates, {}, &ExchangeChoice::predicted_s);
  ExchangeChoice best = candidates.front();
  char rates[96];
  std::snprintf(rates, sizeof rates, "links of %.3g MB/s (%.3g in long messages), %.3g us",
                links.bytes_per_s / 1e6, links.long_bytes_per_s / 1e6, links.latency_s * 1e6);
  best.why = describe(best.options) + ", " + milliseconds(best.predicted_s) + " a round expected";
  for (std::size_t i = 1; i < std::min<std::size_t>(candidates.size(), 3); ++i) {
    best.why += (i == 1 ? "; " : ", ") + describe(candidates[i].options) + " " +
                milliseconds(candidates[i].predicted_s);
  }
  best.why += "; " + std::string(rates);
  return best;
}

ExchangeChoice choose_exchange(Group& group, const ExchangeOptions& options,
                               const RoundShape& shape) {
  const NodeMap& nodes = group.nodes();
  const bool open =
      options.transport == "auto" || (options.transport == "two-level" && options.stages == 0);
  if (!open || nodes.nodes == 1 || shape.rows <= 0) {
    return {.options = options, .predicted_s = 0, .why = ""};
  }
  return choose_exchange(nodes, options, shape, probe_links(group));
}
}  // namespace switchyard::comm
