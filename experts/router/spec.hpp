// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A router as data: which small steps it is made of, in the order in which they run. A model
/// family is a composition of these and never a branch on its name.
#include <cstdint>

namespace switchyard::experts {

/// Where logits z come from. kLinear: W x (+ bias). kMlpTanh (LLaMA-MoE): W2 tanh(W1 x).
/// kAttention (Yuan): q, k, v = Wq x, Wk x, Wv x; z_i = sum_j softmax_j(q_i k_j) v_j.
enum class Logits { kLinear, kMlpTanh, kAttention };
/// kStandardise (Skywork): (z - mean) / (unbiased std) * transform_value; all-equal logits give 0.
/// kTanhCap: transform_value * tanh(z / transform_value).
enum class LogitTransform { kNone, kStandardise, kTanhCap };
enum class Scoring { kNone, kSoftmax, kSigmoid };
/// kSumTop2 is the sum of a group's two best choice scores (of one, where a group has one expert).
enum class GroupScore { kNone, kMax, kSumTop2 };
/// kTopK: k best, ties to the lower id. kSparseMixer: one after the other, each with its own masked
/// softmax (evaluation). kExpertChoice: each expert takes its best tokens of the whole batch.
enum class Choice { kTopK, kSparseMixer, kExpertChoice };
/// The weight of a chosen expert before it is normalised: its unbiased score, or a softmax over the
/// chosen logits. kSparseMixer sets its own.
enum class Weighting { kScores, kSoftmaxOfChosen };
/// kSum: w / (sum + norm_eps). kClampedSum: w / max(sum, norm_eps). kPNorm: w / (sum |w|^p)^(1/p).
enum class Normalize { kNone, kSum, kClampedSum, kPNorm };
enum class GateOn { kOutput, kInput };

/// What happens when an expert is offered more rows than it takes. `models.md` section 4 has the
/// source of each. All are defined over the whole batch in global token order, or over consecutive
/// groups of `group_tokens`.
enum class CapacityRule {
  kNone,            ///< dropless
  kDeepspeedTop2,   ///< C = max(min, ceil(T/E cf k)); first choices first; survivors renormalised
  kDeepspeedProbs,  ///< same C; each expert keeps its C largest gates; survivors renormalised
  kDeepspeedPosition,  ///< same C; token order; survivors renormalised
  kFlaxformer,         ///< C = max(4, round-half-even(cf T/E)); first choices first; raw weights
  kColossal,           ///< C = floor(k cf T/E), + 1 if odd, at least 4; first choices first; raw
  kDeviceBudget,  ///< budget a group of experts = ceil(cf T k / devices); lowest scores dropped
  kRecycle,  ///< same C; top-1; a token whose expert is full goes to a random one with free slots
};

struct CapacitySpec {
  CapacityRule rule = CapacityRule::kNone;
  /// Rows over the fair share; 0: dropless, whatever the rule (kExpertChoice needs one, and no
  /// rule). It means its shortest decimal: 1.1 * 10 is 11.
  double factor = 0;
  std::int64_t min_capacity = 0;  ///< of the deepspeed rules and kRecycle
  std::int64_t devices = 0;       ///< kDeviceBudget: groups of consecutive experts
  std::int64_t group_tokens = 0;  ///< 0: the whole batch is one group
  std::uint64_t seed = 0;         ///< kRecycle: the shuffle
};

struct RouterSpec {
  std::int64_t hidden = 0;
  std::int64_t experts = 0;   ///< routed experts with weights: ids [0, experts)
  std::int64_t identity = 0;  ///< zero-computation experts: ids [experts, experts + identity)
  std::int64_t top_k = 0;
  Logits logits = Logits::kLinear;
  LogitTransform transform = LogitTransform::kNone;
  float transform_value = 1;
  Scoring scoring = Scoring::kSoftmax;
  std::int64_t groups = 1;  ///< consecutive, equal groups of experts; 1: no group filter
  std::int64_t groups_kept = 1;
  GroupScore group_score = GroupScore::kNone;
  Choice choice = Choice::kTopK;
  float sparsemixer_jitter = 0.01F;
  Weighting weighting = Weighting::kScores;
  Normalize normalize = Normalize::kNone;
  float norm_eps = 0;
  float norm_p = 1;
  float scale = 1;
  GateOn gate_on = GateOn::kOutput;
  CapacitySpec capacity;

  [[nodiscard]] std::int64_t all_experts() const { return experts + identity; }
};
}  // namespace switchyard::experts
