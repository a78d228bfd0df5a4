// SPDX-License-Identifier: Apache-2.0
#include "runtime/verify/law_case.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace switchyard::runtime {
namespace {
using experts::BlockSpec;
using experts::CapacityRule;

/// Draws that are the same on every rank and with every standard library.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : words_(seed) {}
  /// In [low, high].
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(words_() % static_cast<std::uint64_t>(high - low + 1));
  }
  /// In [low, high], every order of magnitude as likely.
  std::int64_t logarithmic(std::int64_t low, std::int64_t high) {
    const double u = static_cast<double>(words_() >> 11U) * 0x1p-53;
    const double span = std::log(static_cast<double>(high + 1) / static_cast<double>(low));
    return std::min(high, static_cast<std::int64_t>(static_cast<double>(low) * std::exp(u * span)));
  }
  bool one_in(std::int64_t n) { return between(1, n) == 1; }
  template <class T>
  T of(std::initializer_list<T> choices) {
    return choices.begin()[between(0, static_cast<std::int64_t>(choices.size()) - 1)];
  }

 private:
  std::mt19937_64 words_;
};

void draw_router(experts::RouterSpec& router, LawCase& law, Dice& dice) {
  using experts::Logits;
  using experts::LogitTransform;
  using experts::Normalize;
  using experts::Scoring;
  router.logits = dice.of({Logits::kLinear, Logits::kLinear, Logits::kLinear, Logits::kLinear,
                           Logits::kMlpTanh, Logits::kAttention});
  router.transform = dice.one_in(6)
                         ? dice.of({LogitTransform::kStandardise, LogitTransform::kTanhCap})
                         : LogitTransform::kNone;
  router.transform_value = router.transform == LogitTransform::kTanhCap ? 3.0F : 1.0F;
  router.scoring = dice.of({Scoring::kSoftmax, Scoring::kSoftmax, Scoring::kSigmoid});
  if (dice.one_in(5)) {
    router.scoring = Scoring::kNone;
    router.weighting = experts::Weighting::kSoftmaxOfChosen;
  }
  if (dice.one_in(3) && router.scoring != Scoring::kNone) {
    router.normalize = dice.of({Normalize::kSum, Normalize::kClampedSum, Normalize::kPNorm});
    router.norm_eps = router.normalize == Normalize::kClampedSum ? 1.19e-7F : 1e-20F;
    router.norm_p = router.normalize == Normalize::kPNorm ? dice.of({1.0F, 2.0F}) : 1.0F;
  }
  router.scale = dice.of({1.0F, 1.0F, 2.5F, 16.0F});
  router.gate_on = dice.one_in(4) ? experts::GateOn::kInput : experts::GateOn::kOutput;
  if (dice.one_in(8)) {
    router.choice = dice.of({experts::Choice::kSparseMixer, experts::Choice::kExpertChoice});
  }
  router.sparsemixer_jitter = dice.of({0.01F, 0.12F});
  router.groups = dice.one_in(4) ? dice.between(2, 8) : 1;
  router.groups_kept = dice.between(1, router.groups);
  router.group_score = dice.of({experts::GroupScore::kMax, experts::GroupScore::kSumTop2});
  router.identity = dice.one_in(6) ? dice.logarithmic(1, 32) : 0;
  law.router_bias = dice.one_in(3);
  law.selection_bias = dice.one_in(3);
  law.hidden_experts = dice.one_in(6) ? dice.logarithmic(1, 64) : 0;
  router.capacity.rule =
      dice.one_in(2)
          ? CapacityRule::kNone
          : dice.of({CapacityRule::kDeepspeedTop2, CapacityRule::kDeepspeedProbs,
                     CapacityRule::kDeepspeedPosition, CapacityRule::kFlaxformer,
                     CapacityRule::kColossal, CapacityRule::kDeviceBudget, CapacityRule::kRecycle});
  router.capacity.factor = dice.of({0.5, 1.0, 1.25, 2.0});
  router.capacity.min_capacity = dice.of({0, 0, 4});
  router.capacity.devices = dice.between(1, 8);
  router.capacity.group_tokens = dice.one_in(3) ? dice.logarithmic(1, 300) : 0;
  router.capacity.seed = law.seed;
}

void draw_experts(BlockSpec& block, Dice& dice) {
  using enum experts::Activation;
  experts::ExpertSpec& expert = block.expert;
  expert.unit = dice.of({experts::Unit::kGated, experts::Unit::kGated, experts::Unit::kGated,
                         experts::Unit::kPlain, experts::Unit::kTrilinear});
  expert.activation = dice.of({kSilu, kSilu, kGeluErf, kGeluTanh, kRelu, kClampedSwiglu});
  expert.biases = dice.one_in(3);
  if (dice.one_in(3)) {
    block.shared = expert;
    block.shared->width = dice.logarithmic(1, 64);
    block.shared_gate = dice.of({experts::SharedGate::kNone, experts::SharedGate::kSigmoid});
  }
  if (dice.one_in(6)) {
    block.dense = expert;
    block.dense->width = dice.logarithmic(1, 64);
    block.dense_mode = dice.of({experts::DenseMode::kParallel, experts::DenseMode::kSequential});
  }
  block.output_bias = dice.one_in(6);
}

/// The next smaller number of groups that divides n.
std::int64_t divisor_at_most(std::int64_t n, std::int64_t groups) {
  while (n % groups != 0) --groups;
  return groups;
}

/// Makes a case consistent again after sizes changed: rules that need a certain k get it, groups
/// divide, enough experts stay visible.
void repair(LawCase& law) {
  auto& router = law.block.router;
  law.block.expert.hidden = router.hidden;
  if (law.block.shared) law.block.shared->hidden = router.hidden;
  if (law.block.dense) law.block.dense->hidden = router.hidden;
  if (law.block.expert.unit != experts::Unit::kGated &&
      law.block.expert.activation == experts::Activation::kClampedSwiglu) {
    law.block.expert.activation = experts::Activation::kSilu;
    if (law.block.shared) law.block.shared->activation = experts::Activation::kSilu;
    if (law.block.dense) law.block.dense->activation = experts::Activation::kSilu;
  }
  if (router.choice == experts::Choice::kExpertChoice) {
    router.capacity.rule = CapacityRule::kNone;
    router.scoring = experts::Scoring::kSoftmax;
    router.weighting = experts::Weighting::kScores;
    router.normalize = experts::Normalize::kNone;
    router.groups = router.groups_kept = 1;
    router.identity = 0;
    law.selection_bias = false;
  }
  if (router.choice == experts::Choice::kSparseMixer) {
    router.scoring = experts::Scoring::kSoftmax;
    router.weighting = experts::Weighting::kScores;
    router.normalize = experts::Normalize::kNone;
    router.groups = router.groups_kept = 1;
    law.selection_bias = false;
  }
  const auto& rule = router.capacity.rule;
  if (rule != CapacityRule::kNone) {
    router.scoring = experts::Scoring::kSoftmax;
    router.weighting = experts::Weighting::kScores;
  }
  if (rule == CapacityRule::kDeepspeedTop2 && router.all_experts() < 2) router.identity = 1;
  if (rule == CapacityRule::kDeepspeedTop2) router.top_k = 2;
  if (rule == CapacityRule::kRecycle) router.top_k = 1;
  if (rule == CapacityRule::kDeviceBudget) {
    router.capacity.devices =
        divisor_at_most(router.experts, std::min(router.experts, router.capacity.devices));
  }
  router.top_k = std::clamp<std::int64_t>(router.top_k, 1, router.all_experts());
  router.groups =
      divisor_at_most(router.all_experts(), std::min(router.all_experts(), router.groups));
  router.groups_kept = std::clamp<std::int64_t>(router.groups_kept, 1, router.groups);
  while (router.groups_kept * (router.all_experts() / router.groups) < router.top_k) {
    ++router.groups_kept;
  }
  if (router.logits != experts::Logits::kLinear || router.groups > 1) law.hidden_experts = 0;
  law.hidden_experts = std::min(law.hidden_experts, router.all_experts() - router.top_k);
  if (law.hidden_experts > 0) {
    law.router_bias = true;
    router.transform = experts::LogitTransform::kNone;
  }
}

/// Multiply-adds of the oracle for the busiest rank, and weights of all experts.
std::int64_t work_of(const LawCase& law) {
  const auto& router = law.block.router;
  const std::int64_t tokens = *std::max_element(law.tokens.begin(), law.tokens.end());
  std::int64_t slots = router.top_k;
  if (router.choice == experts::Choice::kExpertChoice) slots = 2 + router.top_k;
  return tokens * slots * 3 * router.hidden * law.block.expert.width;
}

void hold_to_budget(LawCase& law) {
  constexpr std::int64_t kWork = 6'000'000;
  constexpr std::int64_t kWeights = 600'000;
  auto& block = law.block;
  const auto weights = [&] {
    return 3 * block.router.experts * block.router.hidden * block.expert.width;
  };
  while ((work_of(law) > kWork || weights() > kWeights) && block.expert.width > 1) {
    block.expert.width = (block.expert.width + 1) / 2;
  }
  while (work_of(law) > kWork) {
    for (auto& count : law.tokens) count /= 2;
  }
}
}  // namespace

LawCase draw_case(std::uint64_t seed, int ranks) {
  Dice dice(seed);
  LawCase law;
  law.seed = seed;
  auto& router = law.block.router;
  router.hidden = dice.logarithmic(1, 512);
  router.experts = dice.logarithmic(1, 300);
  law.block.expert.width = dice.logarithmic(1, 256);
  draw_router(router, law, dice);
  router.top_k = dice.one_in(10)
                     ? router.all_experts()
                     : dice.logarithmic(1, std::min<std::int64_t>(300, router.all_experts()));
  draw_experts(law.block, dice);
  const bool ragged = !dice.one_in(4);
  const std::int64_t even = dice.logarithmic(1, 301) - 1;
  for (int r = 0; r < ranks; ++r) {
    law.tokens.push_back(!ragged ? even : dice.one_in(5) ? 0 : dice.logarithmic(1, 301) - 1);
  }
  if (dice.one_in(40)) std::fill(law.tokens.begin(), law.tokens.end(), 0);
  law.token_kind = dice.one_in(3)
                       ? dice.of({TokenKind::kZero, TokenKind::kEqual, TokenKind::kSkewed})
                       : TokenKind::kRandom;
  law.placement = dice.of({PlacementKind::kLinear, PlacementKind::kRoundRobin,
                           PlacementKind::kRandom, PlacementKind::kReplicated});
  law.transport = dice.of<const char*>({"p2p", "alltoallv", "node", "two-level"});
  law.node_queue = dice.one_in(2);
  law.local_ranks = dice.one_in(3) ? static_cast<int>(dice.between(1, 6)) : 0;
  law.chunk_tokens = dice.one_in(2) ? dice.logarithmic(1, 300) : 0;
  law.threads = dice.one_in(3) ? static_cast<int>(dice.between(2, 3)) : 1;
  law.isa = dice.of({experts::Isa::kPortable, experts::Isa::kAvx2, experts::Isa::kAvx512});
  if (law.isa > experts::best_isa()) law.isa = experts::best_isa();
  law.stored =
      dice.of({experts::DType::kFloat32, experts::DType::kBfloat16, experts::DType::kFloat16,
               experts::DType::kInt8, experts::DType::kFp8, experts::DType::kMxfp4});
  law.native = dice.one_in(2);
  law.native_stored = dice.of({experts::DType::kBfloat16, experts::DType::kInt8});
  law.wire = dice.of({comm::WireType::kFloat32, comm::WireType::kBfloat16, comm::WireType::kInt8,
                      comm::WireType::kFp8});
  law.ranks_per_node = static_cast<int>(dice.between(1, 2));
  repair(law);
  hold_to_budget(law);
  return law;
}

Placement placement_of(const LawCase& law, int ranks) {
  const std::int64_t experts = law.block.router.experts;
  if (law.placement == PlacementKind::kLinear) return Placement::linear(experts, ranks);
  if (law.placement == PlacementKind::kRoundRobin) return Placement::round_robin(experts, ranks);
  Dice dice(law.seed ^ 0x9e3779b97f4a7c15U);
  std::vector<std::vector<std::int32_t>> lists(static_cast<std::size_t>(ranks));
  for (std::int64_t e = 0; e < experts; ++e) {
    const std::int64_t copies =
        law.placement == PlacementKind::kReplicated ? dice.between(1, std::min(ranks, 3)) : 1;
    std::vector<std::int64_t> hosts(static_cast<std::size_t>(ranks));
    std::iota(hosts.begin(), hosts.end(), 0);
    for (std::int64_t c = 0; c < copies; ++c) {
      const auto pick = static_cast<std::size_t>(dice.between(c, ranks - 1));
      std::swap(hosts[static_cast<std::size_t>(c)], hosts[pick]);
      lists[static_cast<std::size_t>(hosts[static_cast<std::size_t>(c)])].push_back(
          static_cast<std::int32_t>(e));
    }
  }
  return Placement::from_lists(std::move(lists), experts);
}

LawCase shrink(LawCase law, const std::function<bool(const LawCase&)>& fails) {
  const std::vector<std::function<void(LawCase&)>> steps{
      [](LawCase& c) {
        for (auto& n : c.tokens) n /= 2;
      },
      [](LawCase& c) { std::fill(c.tokens.begin(), c.tokens.end() - 1, 0); },
      [](LawCase& c) { std::fill(c.tokens.begin() + 1, c.tokens.end(), 0); },
      [](LawCase& c) { c.block.router.experts = (c.block.router.experts + 1) / 2; },
      [](LawCase& c) { c.block.router.top_k = (c.block.router.top_k + 1) / 2; },
      [](LawCase& c) { c.block.router.hidden = (c.block.router.hidden + 1) / 2; },
      [](LawCase& c) { c.block.expert.width = (c.block.expert.width + 1) / 2; },
      [](LawCase& c) { c.block.router.identity = 0; },
      [](LawCase& c) { c.block.router.capacity.rule = CapacityRule::kNone; },
      [](LawCase& c) { c.block.router.groups = c.block.router.groups_kept = 1; },
      [](LawCase& c) { c.block.shared.reset(); },
      [](LawCase& c) { c.block.dense.reset(), c.block.dense_mode = experts::DenseMode::kNone; },
      [](LawCase& c) { c.block.output_bias = false; },
      [](LawCase& c) { c.block.expert.biases = false; },
      [](LawCase& c) { c.router_bias = c.selection_bias = false, c.hidden_experts = 0; },
      [](LawCase& c) { c.local_ranks = 0; },
      [](LawCase& c) { c.chunk_tokens = 0; },
      [](LawCase& c) { c.threads = 1; },
      [](LawCase& c) { c.native = false; },
      [](LawCase& c) { c.wire = comm::WireType::kFloat32; },
      [](LawCase& c) { c.placement = PlacementKind::kLinear; },
      [](LawCase& c) { c.transport = "p2p"; },
      [](LawCase& c) { c.node_queue = false; },
      [](LawCase& c) { c.token_kind = TokenKind::kRandom; },
  };
  for (bool smaller = true; smaller;) {
    smaller = false;
    for (const auto& step : steps) {
      LawCase candidate = law;
      step(candidate);
      repair(candidate);
      if (describe(candidate) == describe(law) || !fails(candidate)) continue;
      law = std::move(candidate);
      smaller = true;
    }
  }
  return law;
}
}  // namespace switchyard::runtime
