// SPDX-License-Identifier: Apache-2.0
// The oracle's error bounds against honest float32 evaluations of random blocks and routers,
// written here in several orders of addition: never exceeded, and not vacuous.
#include <algorithm>
#include <array>
#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "experts/reference.hpp"
#include "tests/experts/given_weights.hpp"

namespace switchyard::experts {
namespace {
using given::block_of;
using given::Given;
using given::Network;
using given::routing_of;
using given::Stored;
using given::stored;
using reference::Bounded;

enum class Order { kForward, kBackward, kPairwise, kFused };
constexpr std::array kOrders = {Order::kForward, Order::kBackward, Order::kPairwise, Order::kFused};

/// sum_i a_i b_i in float32.
float dot(Order order, std::span<const float> a, std::span<const float> b) {
  const std::size_t n = a.size();
  if (order == Order::kPairwise && n > 1) {
    const std::size_t half = n / 2;
    return dot(order, a.first(half), b.first(half)) + dot(order, a.subspan(half), b.subspan(half));
  }
  float sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t j = order == Order::kBackward ? n - 1 - i : i;
    sum = order == Order::kFused ? std::fma(a[j], b[j], sum) : sum + a[j] * b[j];
  }
  return sum;
}

float sum(Order order, std::span<const float> terms) {
  return dot(order, terms, std::vector<float>(terms.size(), 1.0F));
}

std::vector<float> apply(Order order, const WeightView& weight, const std::vector<float>& bias,
                         std::span<const float> x) {
  std::vector<float> y;
  for (std::int64_t o = 0; o < weight.out; ++o) {
    std::vector<float> row;
    for (std::int64_t i = 0; i < weight.in; ++i) row.push_back(weight.at(o, i));
    const float product = dot(order, row, x);
    y.push_back(bias.empty() ? product : product + bias[static_cast<std::size_t>(o)]);
  }
  return y;
}

float sigmoid(float z) {
  return 1.0F / (1.0F + std::exp(-z));
}

float activate(const ExpertSpec& spec, float z) {
  switch (spec.activation) {
    case Activation::kSilu:
      return z * sigmoid(z);
    case Activation::kGeluErf:
      return 0.5F * z * (1.0F + std::erf(z * 0.70710678F));
    case Activation::kGeluTanh:
      return 0.5F * z * (1.0F + std::tanh(0.79788456F * (z + 0.044715F * z * z * z)));
    case Activation::kRelu:
      return std::max(z, 0.0F);
    case Activation::kClampedSwiglu:
      z = std::min(z, spec.swiglu_limit);
      return z * sigmoid(spec.swiglu_alpha * z);
  }
  return 0;
}

std::vector<float> run(Order order, const Network& network, std::span<const float> x) {
  const ExpertTensors tensors = network.tensors();
  const ExpertSpec& spec = network.spec;
  std::vector<float> h = apply(order, tensors.up, tensors.up_bias, x);
  const std::vector<float> gate = apply(order, tensors.gate, tensors.gate_bias, x);
  const std::vector<float> linear = apply(order, tensors.linear, {}, x);
  for (std::size_t i = 0; i < h.size(); ++i) {
    if (spec.unit == Unit::kPlain) {
      h[i] = activate(spec, h[i]);
      continue;
    }
    if (spec.activation == Activation::kClampedSwiglu) {
      h[i] = std::clamp(h[i], -spec.swiglu_limit, spec.swiglu_limit) + 1.0F;
    }
    h[i] = activate(spec, gate[i]) * h[i];
    if (spec.unit == Unit::kTrilinear) h[i] *= linear[i];
  }
  return apply(order, tensors.down, tensors.down_bias, h);
}

std::vector<float> run_block(Order order, const BlockSpec& spec, const Given& source,
                             std::span<const float> x, const Routing& routing, std::size_t token) {
  std::vector<std::vector<float>> terms;
  for (auto s = routing.offsets[token]; s < routing.offsets[token + 1]; ++s) {
    const std::int32_t e = routing.experts[static_cast<std::size_t>(s)];
    const float weight = routing.weights[static_cast<std::size_t>(s)];
    std::vector<float> row(x.begin(), x.end());
    if (e == kDropped) continue;
    const bool on_input = spec.router.gate_on == GateOn::kInput;
    for (float& value : row) value *= on_input ? weight : 1.0F;
    if (e < spec.router.experts) row = run(order, source.experts[static_cast<std::size_t>(e)], row);
    for (float& value : row) value *= on_input ? 1.0F : weight;
    terms.push_back(row);
  }
  if (spec.shared) {
    std::vector<float> row = run(order, source.shared_network, x);
    if (spec.shared_gate == SharedGate::kSigmoid) {
      const float gate = sigmoid(apply(order, source.gate_of_shared.view(), {}, x)[0]);
      for (float& value : row) value *= gate;
    }
    terms.push_back(row);
  }
  if (spec.output_bias) terms.push_back(source.bias);

  std::vector<float> y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::vector<float> column;
    column.reserve(terms.size());
    for (const std::vector<float>& term : terms) column.push_back(term[i]);
    y.push_back(sum(order, column));
  }
  if (spec.dense) {
    std::vector<float> reads(x.begin(), x.end());
    if (spec.dense_mode == DenseMode::kSequential) {
      for (std::size_t i = 0; i < x.size(); ++i) reads[i] += y[i];
      const float mean = dot(order, reads, reads) / static_cast<float>(x.size());
      for (float& value : reads) value *= 1.0F / std::sqrt(mean + 1e-6F);
    }
    const std::vector<float> row = run(order, source.dense_network, reads);
    for (std::size_t i = 0; i < x.size(); ++i) y[i] += row[i];
  }
  return y;
}

std::vector<float> random_values(std::mt19937& engine, std::int64_t count, float amplitude) {
  std::uniform_real_distribution<float> uniform(-amplitude, amplitude);
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(uniform(engine));
  return values;
}

Stored random_matrix(std::mt19937& engine, std::int64_t out, std::int64_t in, DType type) {
  const float amplitude = std::sqrt(3.0F / static_cast<float>(in));  // unit gain
  return stored(out, in, random_values(engine, out * in, amplitude), type);
}

Network random_network(std::mt19937& engine, ExpertSpec spec, DType type) {
  Network network{spec, {}, {}, {}, {}, {}, {}, {}};
  network.up = random_matrix(engine, spec.width, spec.hidden, type);
  network.down = random_matrix(engine, spec.hidden, spec.width, type);
  if (spec.unit != Unit::kPlain)
    network.gate = random_matrix(engine, spec.width, spec.hidden, type);
  if (spec.unit == Unit::kTrilinear)
    network.linear = random_matrix(engine, spec.width, spec.hidden, type);
  if (spec.biases) {
    if (spec.unit != Unit::kPlain) network.gate_bias = random_values(engine, spec.width, 1);
    network.up_bias = random_values(engine, spec.width, 1);
    network.down_bias = random_values(engine, spec.hidden, 1);
  }
  return network;
}

/// A block of random weights, tokens and shape; `seed` also picks which parts it has.
struct RandomBlock {
  BlockSpec spec;
  Given source;
  Matrix tokens;
  Routing routing;
};

RandomBlock random_block(Unit unit, Activation activation, std::uint32_t seed) {
  std::mt19937 engine(seed);
  const std::array<std::int64_t, 5> sizes = {1, 7, 24, 64, 130};
  const DType type = seed % 2 == 0 ? DType::kFloat32 : DType::kBfloat16;
  const ExpertSpec expert{.unit = unit,
                          .activation = activation,
                          .hidden = sizes[seed % 5],
                          .width = sizes[(seed / 5) % 5],
                          .biases = seed % 3 == 0};
  RandomBlock made;
  made.spec = block_of(3, expert);
  made.spec.router.identity = 1;
  made.spec.router.gate_on = seed % 4 == 1 ? GateOn::kInput : GateOn::kOutput;
  for (int e = 0; e < 3; ++e) {
    made.source.experts.push_back(random_network(engine, expert, type));
  }
  if (seed % 4 > 1) {
    made.spec.shared = expert;
    made.spec.shared_gate = seed % 4 == 2 ? SharedGate::kSigmoid : SharedGate::kNone;
    made.source.shared_network = random_network(engine, expert, type);
    made.source.gate_of_shared = random_matrix(engine, 1, expert.hidden, type);
  }
  if (seed % 3 > 0) {
    made.spec.dense = expert;
    made.spec.dense_mode = seed % 3 == 1 ? DenseMode::kParallel : DenseMode::kSequential;
    made.source.dense_network = random_network(engine, expert, type);
  }
  made.spec.output_bias = seed % 5 == 0;
  made.source.bias = random_values(engine, expert.hidden, 1);
  made.tokens = Matrix(4, expert.hidden);
  const float amplitude = seed % 7 == 0 ? 20.0F : 1.7F;  // at times far into the activations' tails
  const std::vector<float> values = random_values(engine, 4 * expert.hidden, amplitude);
  std::copy(values.begin(), values.end(), made.tokens.data());
  made.routing = routing_of(4, {2, 0, kDropped, 3}, random_values(engine, 4, 1));
  return made;
}

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values.at(static_cast<std::size_t>(share * static_cast<double>(values.size())));
}

constexpr std::array kActivations = {Activation::kSilu, Activation::kGeluErf, Activation::kGeluTanh,
                                     Activation::kRelu, Activation::kClampedSwiglu};
constexpr std::array kUnits = {Unit::kGated, Unit::kPlain, Unit::kTrilinear};

TEST(ReferenceBounds, AnHonestFloat32BlockStaysWithinThemInAnyOrderOfAddition) {
  std::vector<double> slack;       // bound over error, where there is an error
  std::vector<double> deep_slack;  // the same where one network feeds another
  for (const Unit unit : kUnits) {
    for (const Activation activation : kActivations) {
      if (unit == Unit::kPlain && activation == Activation::kClampedSwiglu) continue;
      for (std::uint32_t seed = 0; seed < 30; ++seed) {
        RandomBlock made = random_block(unit, activation, seed);
        const bool deep = made.spec.dense_mode == DenseMode::kSequential;
        const Bounded y =
            reference::block(made.spec, made.source, made.tokens.view(), made.routing);
        for (std::size_t t = 0; t < 4; ++t) {
          const std::span<const float> x = made.tokens.row(static_cast<std::int64_t>(t));
          for (const Order order : kOrders) {
            const auto got = run_block(order, made.spec, made.source, x, made.routing, t);
            for (std::size_t i = 0; i < got.size(); ++i) {
              const std::size_t at = t * got.size() + i;
              const double error = std::abs(static_cast<double>(got[i]) - y.values[at]);
              ASSERT_LE(error, y.bounds[at])
                  << "unit " << int(unit) << ", activation " << int(activation) << ", seed " << seed
                  << ", order " << int(order) << ", token " << t << ", element " << i;
              if (error > 0) (deep ? deep_slack : slack).push_back(y.bounds[at] / error);
            }
          }
        }
      }
    }
  }
  // Worst cases add up along hidden, then along width; errors partly cancel. Hence the distance.
  EXPECT_LT(quantile(slack, 0), 10) << "no error ever comes near its bound";
  EXPECT_LT(quantile(slack, 0.5), 1000) << "the bounds are vacuous";
  EXPECT_LT(quantile(slack, 0.9), 10'000) << "the bounds are vacuous";
  EXPECT_LT(quantile(deep_slack, 0.5), 10'000) << "the bounds are vacuous";
}

TEST(ReferenceBounds, AnOutputWrongByAThousandthIsOutside) {
  for (const Unit unit : kUnits) {
    for (const Activation activation : kActivations) {
      if (unit == Unit::kPlain && activation == Activation::kClampedSwiglu) continue;
      SCOPED_TRACE("unit " + std::to_string(int(unit)) + ", activation " +
                   std::to_string(int(activation)));
      RandomBlock made = random_block(unit, activation, 18);
      ASSERT_EQ(made.spec.expert.hidden, 64);
      ASSERT_EQ(made.spec.expert.width, 64);
      const Bounded y = reference::block(made.spec, made.source, made.tokens.view(), made.routing);
      double squares = 0;
      for (const double value : y.values) squares += value * value;
      const double rms = std::sqrt(squares / static_cast<double>(y.values.size()));
      std::vector<double> over;
      for (const double bound : y.bounds) over.push_back(1e-3 * rms / bound);
      EXPECT_GT(quantile(over, 0), 1);
      EXPECT_GT(quantile(over, 0.5), 4);
    }
  }
}

TEST(ReferenceBounds, HonestFloat32LogitsStayWithinThemInAnyOrderOfAddition) {
  std::vector<double> slack;
  for (const Logits kind : {Logits::kLinear, Logits::kMlpTanh, Logits::kAttention}) {
    for (std::uint32_t seed = 0; seed < 40; ++seed) {
      std::mt19937 engine(seed);
      RouterSpec spec;
      spec.hidden = 1 + seed * 5 % 130;
      spec.experts = 16;
      spec.logits = kind;
      const bool mlp = kind == Logits::kMlpTanh;
      const Stored first = random_matrix(engine, 16, spec.hidden, DType::kFloat32);
      const Stored second = random_matrix(engine, 16, mlp ? 16 : spec.hidden, DType::kBfloat16);
      const Stored third = random_matrix(engine, 16, spec.hidden, DType::kFloat32);
      RouterTensors tensors{first.view(), second.view(), third.view(), {}, {}, {}};
      if (seed % 2 == 0) tensors.bias = random_values(engine, 16, 1);
      Matrix x(1, spec.hidden);
      const std::vector<float> values = random_values(engine, spec.hidden, 1.7F);
      std::copy(values.begin(), values.end(), x.data());
      const Bounded z = reference::logits(spec, tensors, x.view());
      for (const Order order : kOrders) {
        std::vector<float> got = apply(order, tensors.weight, {}, x.row(0));
        if (kind == Logits::kLinear) got = apply(order, tensors.weight, tensors.bias, x.row(0));
        if (mlp) {
          for (float& value : got) value = std::tanh(value);
          got = apply(order, tensors.second, tensors.bias, got);
        }
        if (kind == Logits::kAttention) {
          const std::vector<float> k = apply(order, tensors.second, {}, x.row(0));
          const std::vector<float> v = apply(order, tensors.third, {}, x.row(0));
          for (std::size_t i = 0; i < got.size(); ++i) {
            std::vector<float> p;
            p.reserve(k.size());
            for (const float key : k) p.push_back(got[i] * key);
            const float largest = *std::max_element(p.begin(), p.end());
            for (float& value : p) value = std::exp(value - largest);
            const float total = sum(order, p);
            for (float& value : p) value /= total;
            got[i] = dot(order, p, v) + (tensors.bias.empty() ? 0.0F : tensors.bias[i]);
          }
        }
        for (std::size_t i = 0; i < got.size(); ++i) {
          const double error = std::abs(static_cast<double>(got[i]) - z.values[i]);
          ASSERT_LE(error, z.bounds[i]) << "kind " << int(kind) << ", seed " << seed;
          if (error > 0) slack.push_back(z.bounds[i] / error);
        }
      }
    }
  }
  EXPECT_LT(quantile(slack, 0), 10) << "no error ever comes near its bound";
  EXPECT_LT(quantile(slack, 0.5), 300) << "the bounds are vacuous";
}
}  // namespace
}  // namespace switchyard::experts
