// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A machine to simulate on: nodes, what lies between ranks, and how fast they compute. Plain data;
/// machine.proto says what each figure means. Both engines read this and nothing else.
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "experts/dtype.hpp"

namespace switchyard::runtime {

/// What two ranks have in common, the nearest first; kFabric: nothing but the fabric.
enum class Tier { kCore, kSocket, kNode, kRack, kFabric };
inline constexpr std::array kAllTiers = {Tier::kCore, Tier::kSocket, Tier::kNode, Tier::kRack,
                                         Tier::kFabric};
[[nodiscard]] std::string_view name_of(Tier tier);

/// From this size of a message on: a protocol of the library below.
struct SizeStep {
  std::int64_t from_bytes = 0;
  double latency_factor = 1;
  double bandwidth_factor = 1;
};

/// Of a tier that a machine does not have.
inline constexpr double kFreeBytesPerS = 1e18;

struct TierCost {
  double latency_s = 0;
  double bytes_per_s = 0;        ///< each way; both together if half_duplex
  double message_s = 0;          ///< of the sender's processor, and of the receiver's
  double total_bytes_per_s = 0;  ///< of all ranks that have it in common; 0: no limit
  bool half_duplex = false;
  std::vector<SizeStep> steps = {};  ///< ascending
  double burst_bytes = 0;     ///< that pass at once after a pause; it explains single messages
  double exchange_ratio = 1;  ///< of two ranks, an exchange over one way; of kRack

  /// Of a message of so many bytes, its step counted.
  [[nodiscard]] double latency_of(std::int64_t bytes) const;
  [[nodiscard]] double bandwidth_of(std::int64_t bytes) const;
  /// Of both directions of a card together, where exchange_ratio leaves less than twice
  /// bytes_per_s; 0: no limit of its own.
  /// @param pairs  of ranks whose messages go through it
  [[nodiscard]] double both_bytes_per_s(double pairs) const;
};

/// The links between nodes. Counts are those of SimGrid's zones of the same names.
struct Fabric {
  enum class Shape { kStar, kFatTree, kDragonfly, kTorus };
  Shape shape = Shape::kStar;
  std::vector<int> down;  ///< fat tree: links down of a switch, the lowest level first
  std::vector<int> up;    ///< fat tree: links up of what lies below each level; up[0] is 1
  int groups = 0;         ///< dragonfly, from here
  int chassis_per_group = 0;
  int routers_per_chassis = 0;
  int nodes_per_router = 0;
  int global_links = 1;
  int chassis_links = 1;
  int router_links = 1;
  std::vector<int> torus;  ///< size of each dimension

  /// Nodes that it has room for; a star has no limit (the largest int).
  [[nodiscard]] int capacity() const;
  /// Consecutive nodes that hang on one switch; all of a star, 1 in a torus.
  [[nodiscard]] int nodes_per_switch() const;
};
[[nodiscard]] std::string_view name_of(Fabric::Shape shape);

/// Time of one expert's network on one rank.
struct KernelRate {
  struct Point {
    std::int64_t rows = 0;
    double seconds = 0;
  };
  experts::DType type = experts::DType::kFloat32;
  std::int64_t hidden = 0;  ///< 0: any shape, and then no points
  std::int64_t width = 0;
  std::vector<Point> points = {};  ///< ascending rows
  double flops_per_s = 0;          ///< of any shape, from here; 0: no limit
  double bytes_per_s = 0;          ///< of weights that are read; 0: no limit
  double call_s = 0;
};

struct Machine {
  std::string name;
  std::string source;
  int nodes = 1;
  int ranks_per_node = 1;
  int sockets_per_node = 1;
  int cores_per_node = 1;
  int nics_per_node = 1;
  int processors = 0;  ///< that all nodes share; 0: each has its own
  std::array<TierCost, kAllTiers.size()> tiers;
  Fabric fabric;
  double dispatch_s = 0;
  double combine_s = 0;
  std::vector<KernelRate> rates;

  [[nodiscard]] int ranks() const { return nodes * ranks_per_node; }
  [[nodiscard]] const TierCost& cost(Tier tier) const {
    return tiers[static_cast<std::size_t>(tier)];
  }
  [[nodiscard]] int node_of(int rank) const { return rank / ranks_per_node; }
  [[nodiscard]] int socket_of(int rank) const;  ///< within the node
  [[nodiscard]] int core_of(int rank) const;    ///< within the node
  [[nodiscard]] int nic_of(int rank) const;     ///< within the node
  /// Of a card both ways, with all ranks of the machine exchanging; 0: no limit of its own.
  [[nodiscard]] double card_both_bytes_per_s() const;
  /// Of two different ranks. kRack: their nodes hang on one switch.
  [[nodiscard]] Tier tier_of(int a, int b) const;
  /// Ranks that compute at the same time on one processor, at least 1.
  [[nodiscard]] double crowding() const;

  /// Seconds that a rank, alone on its processor, needs for `rows` rows of one expert: by measured
  /// points of that type and shape, between them in a straight line and beyond them in proportion;
  /// else by the rate of the type for any shape. 0 rows take 0.
  /// @throws std::invalid_argument  "machine NAME: no rate of bfloat16 for experts of 7168 x 2048,
  ///         ..."
  [[nodiscard]] double expert_seconds(experts::DType type, std::int64_t hidden, std::int64_t width,
                                      std::int64_t rows) const;

  /// That its fabric has room for; of one node without `rack` those of the node.
  [[nodiscard]] std::int64_t most_ranks() const;
  /// The same with as many nodes as `ranks` need; where ranks share cores, with no more of them on
  /// a node than there are.
  /// @throws std::invalid_argument  "--ranks: got 4097, want at most 4096: what the fat tree of
  ///         NAME has room for"; several nodes of a machine that is one
  [[nodiscard]] Machine with_ranks(int ranks) const;
};

/// Parses and checks a machine.proto in text format.
/// @param where  what to call the text in messages: a file's path
/// @throws std::invalid_argument  "FILE:3:7: ..." of the format, "FILE: dragonfly.groups: got 16,
/// want
///         at most 8: ..." of the machine; an impossible shape names the nearest possible one
[[nodiscard]] Machine machine_from_text(std::string_view text, const std::string& where);
/// A preset by any unique beginning, or a file that exists.
/// @throws std::invalid_argument  naming the presets
/// @throws std::system_error      the file cannot be read
[[nodiscard]] Machine machine_from(const std::string& name_or_file);
/// What machine_from_text reads back as the same machine.
[[nodiscard]] std::string to_text(const Machine& machine);
/// Names of the presets, sorted.
[[nodiscard]] std::vector<std::string> machine_names();
/// All presets in text format, by file name, each ended by a form feed. Made by presets.cmake.
[[nodiscard]] std::string_view machine_texts();
}  // namespace switchyard::runtime
