// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <vector>

#include "comm/exchange/cost.hpp"
#include "comm/group/collective.hpp"
#include "comm/group/stream.hpp"

namespace switchyard::comm {
namespace {
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The slowest rank's.
double slowest(Group& group, double mine) {
  double most = 0;
  for (const auto& one : allgather_values<double>(group, {&mine, 1})) most = std::max(most, one[0]);
  return most;
}

/// A rank of the next node and one of the node before: who has the same place there, in turn. Ranks
/// whose place the neighbours do not have stand aside.
struct Neighbours {
  int next = -1;
  int before = -1;
};

Neighbours neighbours_of(Group& group) {
  const NodeMap& map = group.nodes();
  const auto rank = static_cast<std::size_t>(group.rank());
  const auto local = static_cast<std::size_t>(map.local_of[rank]);
  std::size_t fewest = map.node_of.size();
  for (const auto& ranks : map.ranks_of) fewest = std::min(fewest, ranks.size());
  if (local >= fewest) return {};
  const int node = map.node_of[rank];
  const auto at = [&](int other) { return map.ranks_of[static_cast<std::size_t>(other)][local]; };
  return {.next = at((node + 1) % map.nodes), .before = at((node + map.nodes - 1) % map.nodes)};
}

/// Seconds to send and to receive `bytes`, in `pieces` messages, to and from each neighbour.
double swap(Group& group, Channel channel, const Neighbours& peers, std::int64_t bytes,
            int pieces) {
  std::vector<Pending> messages;
  const Extent extent{.row_bytes = 1, .rows = bytes / pieces};
  std::vector<Buffer> out, in;
  const auto count = peers.next < 0 ? std::size_t{0} : 2 * static_cast<std::size_t>(pieces);
  for (std::size_t i = 0; i < count; ++i) {
    out.emplace_back(static_cast<std::size_t>(extent.rows));
    std::ranges::fill(out.back().bytes(), std::byte{1});
    in.emplace_back(static_cast<std::size_t>(extent.rows));
  }
  barrier(group);
  const auto start = Clock::now();
  const std::array<int, 2> ranks{peers.next, peers.before};
  for (std::size_t i = 0; i < count; ++i) {
    messages.push_back(group.receive(ranks[1 - i % 2], channel, std::move(in[i]), extent));
  }
  for (std::size_t i = 0; i < count; ++i) {
    messages.push_back(group.send(ranks[i % 2], channel, std::move(out[i]), extent));
  }
  group.wait_all(messages);
  return slowest(group, seconds_since(start));
}
}  // namespace

LinkCosts probe_links(Group& group) {
  const NodeMap& map = group.nodes();
  if (map.nodes == 1) return {};
  constexpr std::int64_t kShort = 64;
  constexpr int kRepeats = 5;
  constexpr double kLongEnough = 0.02;
  constexpr std::int64_t kMost = std::int64_t{8} << 20;
  const Channel channel = group.new_channel();
  const Neighbours peers = neighbours_of(group);
  std::size_t fewest = map.node_of.size();
  for (const auto& ranks : map.ranks_of) fewest = std::min(fewest, ranks.size());

  LinkCosts costs;
  costs.latency_s = 1;
  double many_s = 1;
  constexpr int kMany = 32;
  for (int i = 0; i < 4 * kRepeats; ++i) {  // the first ones connect
    costs.latency_s = std::min(costs.latency_s, swap(group, channel, peers, kShort, 1));
    many_s = std::min(many_s, swap(group, channel, peers, kShort * kMany, kMany));
  }
  costs.message_s = std::max(0.0, many_s - costs.latency_s) / (4 * (kMany - 1));

  const auto rate = [&](std::int64_t bytes, int pieces) {
    std::vector<double> seconds;
    for (int i = 0; i < kRepeats; ++i)
      seconds.push_back(swap(group, channel, peers, bytes, pieces));
    std::ranges::sort(seconds);
    return 2 * static_cast<double>(fewest) * static_cast<double>(bytes) / seconds[kRepeats / 2];
  };
  std::int64_t bytes = 4 * kPieceBytes;
  while (bytes < kMost &&
         swap(group, channel, peers, bytes, static_cast<int>(bytes / kPieceBytes)) < kLongEnough) {
    bytes *= 2;
  }
  costs.bytes_per_s = rate(bytes, static_cast<int>(bytes / kPieceBytes));
  costs.long_bytes_per_s = rate(bytes, 1);
  return costs;
}
}  // namespace switchyard::comm
