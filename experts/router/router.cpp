// SPDX-License-Identifier: Apache-2.0
#include "experts/router/router.hpp"

#include <cmath>
#include <stdexcept>
#include <utility>

#include "experts/router/choice.hpp"
#include "experts/router/logits.hpp"
#include "experts/router/scoring.hpp"
#include "experts/router/weighting.hpp"

namespace switchyard::experts {
namespace {

std::size_t at(std::int64_t index) {
  return static_cast<std::size_t>(index);
}

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

Matrix product(const PackedLinear& weight, MatrixView<const float> x) {
  Matrix y(x.rows, weight.out());
  weight.apply(x, y.view());
  return y;
}

Matrix second_layer(const PackedLinear& second, Matrix inner) {
  for (std::int64_t t = 0; t < inner.rows(); ++t) tanh_layer(inner.row(t));
  return product(second, inner.view());
}

Matrix attend(const Matrix& query, const Matrix& key, const Matrix& value) {
  Matrix logits(query.rows(), query.cols());
  for (std::int64_t t = 0; t < query.rows(); ++t) {
    attention_logits(query.row(t), key.row(t), value.row(t), logits.row(t));
  }
  return logits;
}

// What one token needs while it is routed; made once a batch.
struct Workspace {
  explicit Workspace(const RouterSpec& spec)
      : transformed(at(spec.all_experts())),
        work(at(spec.all_experts())),
        choice(at(spec.all_experts())),
        weights(at(spec.choice == Choice::kExpertChoice ? 0 : spec.top_k)) {}

  std::vector<double> transformed;  // [experts]
  std::vector<double> work;         // [experts]
  std::vector<float> choice;        // [experts]
  std::vector<double> weights;      // [k]
  std::vector<std::uint64_t> keys;
};

// Choice and raw weights of one token, from its scores.
void choose(const RouterSpec& spec, std::span<const float> bias, std::int64_t token,
            const Routing& routing, std::span<std::int32_t> chosen, Workspace& space) {
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
    : spec_(spec), bias_(tensors.bias), selection_bias_(tensors.selection_bias) {
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
  if (tokens.rows == 0) return route_logits(Matrix(0, spec_.all_experts()));
  require_shape("tokens", tokens.rows, tokens.cols, tokens.rows, spec_.hidden);
  Matrix logits = product(first_, tokens);
  if (spec_.logits == Logits::kMlpTanh) logits = second_layer(second_, std::move(logits));
  if (spec_.logits == Logits::kAttention) {
    logits = attend(logits, product(second_, tokens), product(third_, tokens));
  }
  for (std::int64_t t = 0; !bias_.empty() && t < tokens.rows; ++t) {
    const std::span<float> row = logits.row(t);
    for (std::size_t e = 0; e < row.size(); ++e) row[e] += bias_[e];
  }
  return route_logits(std::move(logits));
}

Routing Router::route_logits(Matrix logits) const {
  const std::int64_t tokens = logits.rows();
  if (tokens > 0) {
    require_shape("logits", tokens, logits.cols(), tokens, spec_.all_experts());
  }
  const bool slots_later = spec_.choice == Choice::kExpertChoice;
  const std::int64_t k = slots_later ? 0 : spec_.top_k;
  Routing routing;
  routing.logits = std::move(logits);
  routing.scores = Matrix(tokens, spec_.all_experts());
  routing.offsets.resize(at(tokens + 1));
  for (std::int64_t t = 0; t <= tokens; ++t) routing.offsets[at(t)] = t * k;
  routing.experts.resize(at(tokens * k));
  routing.weights.resize(at(tokens * k));

  Workspace space(spec_);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::span<const float> row = std::as_const(routing.logits).row(t);
    check_logits(t, row, k);
    transform_logits(spec_, row, space.transformed);
    score_logits(spec_, space.transformed, space.work, routing.scores.row(t));
    if (slots_later) continue;
    choose(spec_, selection_bias_, t, routing, std::span(routing.experts).subspan(at(t * k), at(k)),
           space);
    normalise(spec_, space.weights);
    scale_weights(spec_, space.weights, std::span(routing.weights).subspan(at(t * k), at(k)));
  }
  return routing;
}
}  // namespace switchyard::experts
