// SPDX-License-Identifier: Apache-2.0
#include "experts/router/router.hpp"

#include <cmath>
#include <stdexcept>
#include <utility>

#include "experts/index.hpp"
#include "experts/router/choice.hpp"
#include "experts/router/logits.hpp"
#include "experts/router/scoring.hpp"
#include "experts/router/weighting.hpp"

namespace switchyard::experts {
namespace {

std::string shape(std::int64_t rows, std::int64_t cols) {
  return "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
}

void require_shape(const std::string& name, std::int64_t rows, std::int64_t cols,
                   std::int64_t want_rows, std::int64_t want_cols) {
  if (rows == want_rows && cols == want_cols) return;
  throw std::invalid_argument("router: " + name + " is " + shape(rows, cols) + ", want " +
                              shape(want_rows, want_cols));
}

PackedLinear pack(const std::string& name, const WeightView& weight, std::int64_t out,
                  std::int64_t in, Isa isa) {
  require_shape(name, weight.empty() ? 0 : weight.out, weight.empty() ? 0 : weight.in, out, in);
  return PackedLinear(weight, isa);
}

void require_bias(const std::string& name, const std::vector<float>& bias, std::int64_t experts) {
  if (bias.empty() || bias.size() == at(experts)) return;
  throw std::invalid_argument("router: " + name + " has " + std::to_string(bias.size()) +
                              " values, want none or " + std::to_string(experts));
}

void require_selection_bias(const RouterSpec& spec, const std::vector<float>& bias) {
  require_bias("selection_bias", bias, spec.all_experts());
  if (!bias.empty() && spec.choice != Choice::kTopK) {
    throw std::invalid_argument("router: selection_bias without a top-k choice, want none");
  }
  for (std::size_t e = 0; e < bias.size(); ++e) {
    if (std::isfinite(bias[e])) continue;
    throw std::invalid_argument("router: selection_bias of expert " + std::to_string(e) + " is " +
                                std::to_string(bias[e]) + ", want a finite number");
  }
}

void product(const PackedLinear& weight, MatrixView<const float> x, Matrix& y,
             RouterScratch& scratch) {
  y.reshape(x.rows, weight.out());
  weight.apply(x, y.view(), scratch.packed);
}

// Choice and raw weights of one token, from its scores.
void choose(const RouterSpec& spec, std::span<const float> bias, std::int64_t token,
            const Routing& routing, std::span<std::int32_t> chosen, RouterScratch& space) {
  if (spec.choice == Choice::kSparseMixer) {
    return choose_sparsemixer(double{spec.sparsemixer_jitter}, space.transformed, chosen,
                              space.weights);
  }
  choice_scores(routing.logits.row(token), routing.scores.row(token), bias, space.choice);
  keep_groups(spec, space.choice, space.keys);
  if (spec.groups_kept < spec.groups) check_kept(token, space.choice, spec.top_k);
  choose_top_k(space.choice, chosen, space.keys);
  if (spec.weighting == Weighting::kSoftmaxOfChosen) {
    weights_from_logits(space.transformed, chosen, space.weights);
  } else {
    weights_from_scores(routing.scores.row(token), chosen, space.weights);
  }
}
}  // namespace

Router::Router(const RouterSpec& spec, const RouterTensors& tensors, Isa isa)
    : spec_(spec),
      bias_(tensors.bias),
      selection_bias_(tensors.selection_bias),
      exp_each_(portable::exp_each_of(isa)) {
  validate(spec_);
  const std::int64_t experts = spec_.all_experts();
  require_bias("bias", bias_, experts);
  require_selection_bias(spec_, selection_bias_);
  first_ = pack("weight", tensors.weight, experts, spec_.hidden, isa);
  if (spec_.logits == Logits::kMlpTanh) {
    second_ = pack("second weight", tensors.second, experts, experts, isa);
  }
  if (spec_.logits == Logits::kAttention) {
    second_ = pack("second weight", tensors.second, experts, spec_.hidden, isa);
    third_ = pack("third weight", tensors.third, experts, spec_.hidden, isa);
  }
}

Routing Router::route(MatrixView<const float> tokens) const {
  Routing routing;
  RouterScratch scratch;
  route(tokens, routing, scratch);
  return routing;
}

Routing Router::route_logits(Matrix logits) const {
  if (logits.rows() > 0) {
    require_shape("logits", logits.rows(), logits.cols(), logits.rows(), spec_.all_experts());
  }
  Routing routing;
  RouterScratch scratch;
  routing.logits = std::move(logits);
  route_logits(routing, scratch);
  return routing;
}

void Router::route(MatrixView<const float> tokens, Routing& routing, RouterScratch& scratch) const {
  Matrix& logits = routing.logits;
  if (tokens.rows == 0) {
    logits.reshape(0, spec_.all_experts());
    return route_logits(routing, scratch);
  }
  require_shape("tokens", tokens.rows, tokens.cols, tokens.rows, spec_.hidden);
  if (spec_.logits == Logits::kMlpTanh) {
    product(first_, tokens, scratch.inner, scratch);
    for (std::int64_t t = 0; t < tokens.rows; ++t) tanh_layer(scratch.inner.row(t));
    product(second_, scratch.inner.view(), logits, scratch);
  } else if (spec_.logits == Logits::kAttention) {
    product(first_, tokens, scratch.inner, scratch);
    product(second_, tokens, scratch.key, scratch);
    product(third_, tokens, scratch.value, scratch);
    logits.reshape(tokens.rows, scratch.inner.cols());
    for (std::int64_t t = 0; t < tokens.rows; ++t) {
      attention_logits(scratch.inner.row(t), scratch.key.row(t), scratch.value.row(t),
                       logits.row(t));
    }
  } else {
    product(first_, tokens, logits, scratch);
  }
  for (std::int64_t t = 0; !bias_.empty() && t < tokens.rows; ++t) {
    const std::span<float> row = logits.row(t);
    for (std::size_t e = 0; e < row.size(); ++e) row[e] += bias_[e];
  }
  route_logits(routing, scratch);
}

void Router::route_logits(Routing& routing, RouterScratch& space) const {
  const std::int64_t tokens = routing.logits.rows();
  const bool slots_later = spec_.choice == Choice::kExpertChoice;
  const std::int64_t k = slots_later ? 0 : spec_.top_k;
  const std::size_t experts = at(spec_.all_experts());
  routing.scores.reshape(tokens, spec_.all_experts());
  routing.offsets.resize(at(tokens + 1));
  for (std::int64_t t = 0; t <= tokens; ++t) routing.offsets[at(t)] = t * k;
  routing.experts.resize(at(tokens * k));
  routing.weights.resize(at(tokens * k));
  space.transformed.resize(experts);
  space.work.resize(experts);
  space.choice.resize(experts);
  space.weights.resize(at(k));
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::span<const float> row = std::as_const(routing.logits).row(t);
    check_logits(t, row, k);
    transform_logits(spec_, row, space.transformed);
    score_logits(spec_, space.transformed, exp_each_, space.work, routing.scores.row(t));
    if (slots_later) continue;
    choose(spec_, selection_bias_, t, routing, std::span(routing.experts).subspan(at(t * k), at(k)),
           space);
    normalise(spec_, space.weights);
    scale_weights(spec_, space.weights, std::span(routing.weights).subspan(at(t * k), at(k)));
  }
}
}  // namespace switchyard::experts
