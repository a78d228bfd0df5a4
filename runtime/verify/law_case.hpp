// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A random MoE block with random settings to run it in: what `verify laws` draws and shrinks.
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "experts/weights.hpp"
#include "runtime/layer/moe_layer.hpp"

namespace switchyard::runtime {

enum class PlacementKind { kLinear, kRoundRobin, kRandom, kReplicated };
/// What the tokens look like. kZero rows give equal logits, so every choice is a tie; kEqual rows
/// all go to the same experts; kSkewed rows lean towards the first experts.
enum class TokenKind { kRandom, kZero, kEqual, kSkewed };

struct LawCase {
  std::uint64_t seed = 0;
  experts::BlockSpec block;
  bool router_bias = false;
  bool selection_bias = false;
  std::int64_t hidden_experts = 0;   ///< experts whose logit is -inf for every token
  std::vector<std::int64_t> tokens;  ///< [ranks]
  TokenKind token_kind = TokenKind::kRandom;
  PlacementKind placement = PlacementKind::kLinear;
  std::string transport = "p2p";
  bool node_queue = false;  ///< ranks of a node take each other's tasks
  int local_ranks = 0;      ///< also run as this many threads of rank 0; 0: not
  std::int64_t chunk_tokens = 0;
  int threads = 1;
  experts::Isa isa = experts::Isa::kPortable;
  experts::DType stored = experts::DType::kFloat32;
  bool native = false;  ///< also with native math, where law 1 holds within `isa`
  experts::DType native_stored = experts::DType::kBfloat16;
  comm::WireType wire = comm::WireType::kFloat32;  ///< between the nodes of the local ranks
  int ranks_per_node = 1;                          ///< of the local ranks
};

/// The case of a seed; the same on every rank. Sizes are drawn on a logarithmic scale over their
/// whole ranges (hidden 1 to 512, experts 1 to 300, k 1 to all, 0 to 300 tokens a rank) and then
/// the product is held to what the oracle can compute in milliseconds.
[[nodiscard]] LawCase draw_case(std::uint64_t seed, int ranks);

/// Placement of the case for a number of ranks.
[[nodiscard]] Placement placement_of(const LawCase& law, int ranks);

/// One line that says everything about a case.
[[nodiscard]] std::string describe(const LawCase& law);

/// Adds what this case exercises to the counters ("transport p2p", "rule deepspeed-top2", ...).
void count_case(const LawCase& law, std::map<std::string, std::int64_t>& drawn);

/// The smallest case that still fails that greedy steps can find.
/// @param fails  collective: every rank must get the same answer
[[nodiscard]] LawCase shrink(LawCase law, const std::function<bool(const LawCase&)>& fails);
}  // namespace switchyard::runtime
