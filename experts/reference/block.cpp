// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "experts/reference/running.hpp"

namespace switchyard::experts::reference {
namespace {
void check(const std::string& name, const ExpertSpec& spec, const ExpertTensors& tensors,
           std::int64_t hidden) {
  if (spec.hidden != hidden) {
    refuse(name + " has hidden " + std::to_string(spec.hidden) + ", want " +
           std::to_string(hidden));
  }
  require_shape(name + " up", tensors.up, spec.width, spec.hidden);
  require_shape(name + " down", tensors.down, spec.hidden, spec.width);
  if (spec.unit != Unit::kPlain) {
    require_shape(name + " gate", tensors.gate, spec.width, spec.hidden);
  }
  if (spec.unit == Unit::kTrilinear) {
    require_shape(name + " linear", tensors.linear, spec.width, spec.hidden);
  }
  require_length(name + " gate bias", tensors.gate_bias, spec.width);
  require_length(name + " up bias", tensors.up_bias, spec.width);
  require_length(name + " down bias", tensors.down_bias, spec.hidden);
}

/// F(x) of one gated network.
Row network(const ExpertSpec& spec, const ExpertTensors& tensors, const Row& x) {
  const bool has_gate = spec.unit != Unit::kPlain;
  const Row up = apply(tensors.up, tensors.up_bias, x);
  const Row gate = has_gate ? apply(tensors.gate, tensors.gate_bias, x) : Row{};
  const Row linear = spec.unit == Unit::kTrilinear ? apply(tensors.linear, {}, x) : Row{};

  Row between;
  for (std::size_t i = 0; i < up.size(); ++i) {
    Running h;
    if (!has_gate) {
      h = activate(spec.activation, up[i]);
    } else if (spec.activation == Activation::kClampedSwiglu) {
      h = clamped_swiglu(spec, gate[i], up[i]);
    } else {
      h = rounded(product(activate(spec.activation, gate[i]), up[i]));
    }
    if (spec.unit == Unit::kTrilinear) h = rounded(product(h, linear[i]));
    between.push_back(h);
  }
  return apply(tensors.down, tensors.down_bias, between);
}

/// What every slot gives to its token's sum; a product with the weight is not rounded yet.
std::vector<Row> slot_terms(const BlockSpec& spec, WeightSource& weights,
                            const std::vector<Row>& inputs, const Routing& routing) {
  const RouterSpec& router = spec.router;
  std::vector<Row> terms(routing.experts.size());
  for (std::int64_t e = 0; e < router.all_experts(); ++e) {
    std::optional<ExpertTensors> tensors;  // asked for once, and only if a token comes
    for (std::size_t t = 0; t < inputs.size(); ++t) {
      for (std::int64_t s = routing.offsets[t]; s < routing.offsets[t + 1]; ++s) {
        const auto slot = static_cast<std::size_t>(s);
        if (routing.experts[slot] != e) continue;
        const Running weight{static_cast<double>(routing.weights[slot]), 0};
        Row weighted = inputs[t];
        for (Running& number : weighted) number = product(number, weight);
        if (e >= router.experts) {
          terms[slot] = weighted;  // an identity expert gives back its input
          continue;
        }
        if (!tensors) {
          tensors = weights.expert(e);
          check("expert " + std::to_string(e), spec.expert, *tensors, spec.expert.hidden);
        }
        if (router.gate_on == GateOn::kInput) {
          for (Running& number : weighted) number = rounded(number);
          terms[slot] = network(spec.expert, *tensors, weighted);
        } else {
          terms[slot] = network(spec.expert, *tensors, inputs[t]);
          for (Running& number : terms[slot]) number = product(number, weight);
        }
      }
    }
  }
  return terms;
}

void check(const BlockSpec& spec, MatrixView<const float> tokens, const Routing& routing) {
  const auto count = [](std::int64_t n) { return std::to_string(n); };
  if (tokens.cols != spec.expert.hidden) {
    refuse("tokens have " + count(tokens.cols) + " elements, want " + count(spec.expert.hidden));
  }
  if (routing.tokens() != tokens.rows) {
    refuse("routing has " + count(routing.tokens()) + " tokens, want " + count(tokens.rows));
  }
  if (routing.slots() != static_cast<std::int64_t>(routing.experts.size()) ||
      routing.experts.size() != routing.weights.size()) {
    refuse("routing has " + count(routing.slots()) + " slots, " +
           std::to_string(routing.experts.size()) + " experts and " +
           std::to_string(routing.weights.size()) + " weights, want as many of each");
  }
  for (const std::int32_t e : routing.experts) {
    if (e == kDropped || (e >= 0 && e < spec.router.all_experts())) continue;
    refuse("routing names expert " + count(e) + ", want 0 to " +
           count(spec.router.all_experts() - 1));
  }
}
}  // namespace

Bounded block(const BlockSpec& spec, WeightSource& weights, MatrixView<const float> tokens,
              const Routing& routing) {
  check(spec, tokens, routing);
  const ExpertTensors shared = spec.shared ? weights.shared() : ExpertTensors{};
  if (spec.shared) check("shared", *spec.shared, shared, tokens.cols);
  const bool has_gate = spec.shared && spec.shared_gate == SharedGate::kSigmoid;
  const WeightView shared_gate = has_gate ? weights.shared_gate() : WeightView{};
  if (has_gate) require_shape("shared gate", shared_gate, 1, tokens.cols);
  const bool has_dense = spec.dense && spec.dense_mode != DenseMode::kNone;
  const ExpertTensors dense = has_dense ? weights.dense() : ExpertTensors{};
  if (has_dense) check("dense", *spec.dense, dense, tokens.cols);
  const std::vector<float> bias = spec.output_bias ? weights.output_bias() : std::vector<float>{};
  require_length("output bias", bias, tokens.cols);

  std::vector<Row> inputs;
  for (std::int64_t t = 0; t < tokens.rows; ++t) inputs.push_back(exact(tokens.row(t)));
  const std::vector<Row> terms = slot_terms(spec, weights, inputs, routing);

  std::vector<Row> outputs;
  for (std::size_t t = 0; t < inputs.size(); ++t) {
    const Row& x = inputs[t];
    std::vector<Sum> sums(x.size());
    for (std::int64_t s = routing.offsets[t]; s < routing.offsets[t + 1]; ++s) {
      const Row& term = terms[static_cast<std::size_t>(s)];
      for (std::size_t i = 0; i < term.size(); ++i) sums[i].add(term[i]);  // a dropped one is empty
    }
    if (spec.shared) {
      const Row always = network(*spec.shared, shared, x);
      const Running gate = has_gate ? sigmoid(apply(shared_gate, {}, x)[0]) : Running{1, 0};
      for (std::size_t i = 0; i < x.size(); ++i) sums[i].add(product(gate, always[i]));
    }
    for (std::size_t i = 0; i < bias.size(); ++i) sums[i].add({static_cast<double>(bias[i]), 0});
    if (has_dense) {
      Row reads = x;
      if (spec.dense_mode == DenseMode::kSequential) {
        for (std::size_t i = 0; i < x.size(); ++i) {
          Sum residual;
          residual.add(x[i]);
          residual.add(sums[i].total());
          reads[i] = residual.total();
        }
        reads = rms_norm(reads);
      }
      const Row always = network(*spec.dense, dense, reads);
      for (std::size_t i = 0; i < x.size(); ++i) sums[i].add(always[i]);
    }
    Row y;
    for (const Sum& sum : sums) y.push_back(sum.total());
    outputs.push_back(y);
  }
  return bounded(outputs, tokens.cols);
}
}  // namespace switchyard::experts::reference
