// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The router: tokens in, experts and weights out, by the steps of a RouterSpec.
#include <span>
#include <string>
#include <vector>

#include "experts/kernels/exp.hpp"
#include "experts/kernels/isa.hpp"
#include "experts/kernels/linear.hpp"
#include "experts/router/routing.hpp"
#include "experts/router/spec.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts {

/// Checks that a spec can be carried out at all.
/// @throws std::invalid_argument  "router: top_k is 9, want 1 to 8"
void validate(const RouterSpec& spec);

/// The spec as a sentence: "softmax > top-8 of 64 > weights raw". For reports and `models show`.
[[nodiscard]] std::string describe(const RouterSpec& spec);

/// What a router needs while it works, kept from batch to batch so that nothing is allocated.
struct RouterScratch {
  std::vector<double> transformed;  ///< [experts]
  std::vector<double> work;         ///< [experts]
  std::vector<float> choice;        ///< [experts]
  std::vector<double> weights;      ///< [k]
  std::vector<std::uint64_t> keys;
  Matrix inner;  ///< kMlpTanh, kAttention: what the logits are made of
  Matrix key;
  Matrix value;
  AlignedBuffer packed;
};

class Router {
 public:
  /// Copies (packs) the weights; the source may go.
  /// @throws std::invalid_argument  a spec that cannot be, or a weight of another shape
  Router(const RouterSpec& spec, const RouterTensors& tensors, Isa isa);

  /// Every step that looks at one token at a time. Bits of a token do not depend on the others.
  /// With kExpertChoice there are no slots yet, and with a capacity rule none is dropped yet: see
  /// needs_whole_batch and apply_batch_rule.
  /// @param tokens  [tokens, hidden]
  /// @throws std::invalid_argument  "token 17: logit of expert 3 is nan, want a finite number or
  /// -inf"
  /// @throws std::invalid_argument  "token 17: 1 of 8 logits are finite, want at least 2"
  void route(MatrixView<const float> tokens, Routing& routing, RouterScratch& scratch) const;
  [[nodiscard]] Routing route(MatrixView<const float> tokens) const;

  /// The same from given logits [tokens, all experts], for tests and for callers with their own.
  [[nodiscard]] Routing route_logits(Matrix logits) const;

  [[nodiscard]] const RouterSpec& spec() const { return spec_; }

 private:
  void route_logits(Routing& routing, RouterScratch& scratch) const;

  RouterSpec spec_;
  std::vector<float> bias_;
  std::vector<float> selection_bias_;
  portable::ExpEach exp_each_;
  PackedLinear first_;
  PackedLinear second_;
  PackedLinear third_;
};

/// True for expert choice and for every capacity rule: the decision looks at other tokens, so it is
/// taken over the global batch.
[[nodiscard]] bool needs_whole_batch(const RouterSpec& spec);

/// Takes that decision. A pure function of the whole batch.
/// @param whole  the routing of all tokens of all ranks, in global token order
/// Capacity rules change slots in place; expert choice makes them. Reads the scores (flaxformer and
/// colossal do not), and for expert choice and recycle the logits too, which say who is hidden.
/// @throws std::invalid_argument  a rule that does not fit (deepspeed-top2 with k = 3), or a matrix
///         that the rule needs and that is not there
void apply_batch_rule(const RouterSpec& spec, Routing& whole);

/// Capacity of one expert (kDeviceBudget: of one device) for a routing group of `tokens`; all of
/// them where nothing is dropped.
[[nodiscard]] std::int64_t capacity_of(const RouterSpec& spec, std::int64_t tokens);
}  // namespace switchyard::experts
