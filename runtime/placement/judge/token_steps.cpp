// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/judge/token_steps.hpp"

#include <utility>

#include "experts/index.hpp"
#include "experts/synthetic.hpp"
#include "runtime/trace/reader.hpp"

namespace switchyard::runtime {
namespace {
class TraceSteps final : public TokenSteps {
 public:
  TraceSteps(const std::string& file, const DrawSettings& draw) : reader_(file), draw_(draw) {}

  std::int64_t steps() const override { return reader_.steps(); }
  std::int64_t layers() const override { return reader_.info().layers; }
  std::int64_t experts() const override { return reader_.info().experts; }
  std::int64_t layer_number(std::int64_t layer) const override {
    const auto& numbers = reader_.info().layer_numbers;
    return numbers.empty() ? layer : numbers[at(layer)];
  }
  experts::Routing routing(std::int64_t step, std::int64_t layer) override {
    TraceLayer chosen = reader_.layer(step, layer);
    const std::int64_t top_k = reader_.info().top_k;
    if (drawn()) {
      const std::vector<double> loads(chosen.counts.begin(), chosen.counts.end());
      const auto number = static_cast<std::uint64_t>(step * layers() + layer);
      return draw_tokens(loads, top_k, chosen.tokens, draw_.seed, number, reader_.file());
    }
    experts::Routing routing;
    for (std::int64_t t = 1; t <= chosen.tokens; ++t) routing.offsets.push_back(t * top_k);
    routing.experts = std::move(chosen.chosen);
    return routing;
  }
  std::string origin() const override {
    return reader_.file() + (drawn() ? ", tokens drawn from its counts" : "");
  }

 private:
  [[nodiscard]] bool drawn() const { return reader_.info().detail == TraceDetail::kCounts; }
  TraceReader reader_;
  DrawSettings draw_;
};
static_assert(kNoExpert == experts::kDropped);

class ZipfSteps final : public TokenSteps {
 public:
  ZipfSteps(std::int64_t layers, experts::RouterSpec spec, double exponent, std::int64_t steps,
            const DrawSettings& draw)
      : layers_(layers), spec_(std::move(spec)), exponent_(exponent), steps_(steps), draw_(draw) {}

  std::int64_t steps() const override { return steps_; }
  std::int64_t layers() const override { return layers_; }
  std::int64_t experts() const override { return spec_.experts; }
  std::int64_t layer_number(std::int64_t layer) const override { return layer; }
  experts::Routing routing(std::int64_t step, std::int64_t layer) override {
    auto routing = experts::synthetic_routing(spec_, exponent_, draw_.seed, step,
                                              static_cast<std::uint32_t>(layer), 0, draw_.tokens);
    routing.weights.clear();
    return routing;
  }
  std::string origin() const override { return "seeded choices"; }

 private:
  std::int64_t layers_;
  experts::RouterSpec spec_;
  double exponent_;
  std::int64_t steps_;
  DrawSettings draw_;
};
}  // namespace

std::unique_ptr<TokenSteps> trace_steps(const std::string& file, const DrawSettings& draw) {
  return std::make_unique<TraceSteps>(file, draw);
}

std::unique_ptr<TokenSteps> zipf_steps(std::int64_t layers, std::int64_t experts, int top_k,
                                       double exponent, std::int64_t steps,
                                       const DrawSettings& draw) {
  experts::RouterSpec spec;
  spec.experts = experts;
  spec.top_k = top_k;
  return std::make_unique<ZipfSteps>(layers, std::move(spec), exponent, steps, draw);
}
}  // namespace switchyard::runtime
