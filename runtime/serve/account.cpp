// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/account.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <span>
#include <utility>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
using Words = std::vector<std::int64_t>;

/// splitmix64's finish: a bit of the input changes half of the output.
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

/// fingerprint, slots, loading, then for each layer: layer, slots, tokens, experts, (expert,
/// slots)...
Words encoded(const StepPart& part) {
  Words words{static_cast<std::int64_t>(part.fingerprint), part.slots, part.loading};
  for (const DegradedLayer& layer : part.layers) {
    words.insert(words.end(), {layer.layer, layer.slots, layer.tokens, std::ssize(layer.experts)});
    for (const auto& [expert, slots] : layer.experts) words.insert(words.end(), {expert, slots});
  }
  return words;
}

StepPart decoded(const Words& words) {
  constexpr std::size_t kFixed = 3;
  constexpr std::size_t kLayer = 4;
  if (words.size() < kFixed) throw comm::ProtocolError("serve: part of a step without its words");
  StepPart part{.fingerprint = static_cast<std::uint64_t>(words[0]),
                .slots = words[1],
                .loading = static_cast<int>(words[2]),
                .layers = {}};
  std::size_t i = kFixed;
  while (i + kLayer <= words.size()) {
    DegradedLayer layer{.layer = words[i], .slots = words[i + 1], .tokens = words[i + 2]};
    const std::int64_t experts = words[i + 3];
    i += kLayer;
    for (std::int64_t e = 0; e < experts && i + 1 < words.size(); ++e, i += 2) {
      layer.experts[words[i]] += words[i + 1];
    }
    part.layers.push_back(std::move(layer));
  }
  return part;
}

void add(DegradedLayer& sum, const DegradedLayer& more) {
  sum.layer = more.layer;
  sum.slots += more.slots;
  sum.tokens += more.tokens;
  for (const auto& [expert, slots] : more.experts) sum.experts[expert] += slots;
}
}  // namespace

std::uint64_t fingerprint(experts::MatrixView<const float> rows, std::int64_t first) {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15U;
  std::uint64_t sum = 0;
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    std::uint64_t hash = mixed(static_cast<std::uint64_t>(first + r));
    for (const float value : rows.row(r)) {
      hash = (std::rotl(hash, 7) ^ std::bit_cast<std::uint32_t>(value)) * kOdd;
    }
    sum += mixed(hash);
  }
  return sum;
}

void StepMark::set() {
  counts_.resize(layers_.size());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerStats& now = layers_[i]->stats();
    counts_[i].slots = now.planned.slots;
    counts_[i].tokens = now.masked_tokens;
    counts_[i].masked = now.masked;
  }
}

StepPart StepMark::since() const {
  StepPart part;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerStats& now = layers_[i]->stats();
    const Counts& before = counts_[i];
    part.slots += now.planned.slots - before.slots;
    DegradedLayer layer{.layer = layers_[i]->number(), .tokens = now.masked_tokens - before.tokens};
    for (std::size_t e = 0; e < now.masked.size(); ++e) {
      const std::int64_t slots = now.masked[e] - (e < before.masked.size() ? before.masked[e] : 0);
      if (slots > 0) layer.experts[static_cast<std::int64_t>(e)] = slots;
      layer.slots += slots;
    }
    if (layer.slots > 0) part.layers.push_back(std::move(layer));
  }
  return part;
}

std::vector<int> ServeAccount::close(comm::Group& group, std::int64_t step, const StepPart& mine,
                                     double ms) {
  Step sum{.ms = ms};
  std::vector<int> loading;
  std::map<std::int64_t, DegradedLayer> layers;
  const Words words = encoded(mine);
  for (const Words& of_rank : comm::allgather_values<std::int64_t>(group, std::span(words))) {
    const StepPart part = decoded(of_rank);
    sum.fingerprint += part.fingerprint;
    sum.slots += part.slots;
    loading.push_back(part.loading);
    for (const DegradedLayer& layer : part.layers) runtime::add(layers[layer.layer], layer);
  }
  for (auto& [number, layer] : layers) sum.layers.push_back(std::move(layer));
  if (first_ < 0) first_ = step;
  // One that some other rank had not finished is done again: it takes the place of the last.
  steps_.resize(at(step - first_));
  steps_.push_back(std::move(sum));
  return loading;
}

void ServeAccount::go_on(std::int64_t step) {
  for (; settled_ < events_.size(); ++settled_) events_[settled_].step = step;
}

void ServeAccount::add(const Step& step, ServeReport& to,
                       std::map<std::int64_t, DegradedLayer>& layers) const {
  to.slots += step.slots;
  to.fingerprints.push_back(step.fingerprint);
  if (!step.layers.empty()) ++to.degraded_steps;
  for (const DegradedLayer& layer : step.layers) {
    to.degraded_slots += layer.slots;
    runtime::add(layers[layer.layer], layer);
  }
}

ServeReport ServeAccount::report() const {
  ServeReport report;
  report.first_step = std::max<std::int64_t>(first_, 0);
  report.steps = std::ssize(steps_);
  report.attempts = attempts_;
  report.events = events_;
  std::map<std::int64_t, DegradedLayer> layers;
  std::vector<double> times;
  for (const Step& step : steps_) {
    add(step, report, layers);
    times.push_back(step.ms);
  }
  for (auto& [number, layer] : layers) report.layers.push_back(std::move(layer));
  for (ServeEvent& event : report.events) {
    const std::int64_t i = event.step - report.first_step;
    if (i >= 0 && i < report.steps) event.step_ms = steps_[at(i)].ms;
  }
  if (times.empty()) return report;
  std::ranges::sort(times);
  const auto rank_of = [&times](double share) {
    return times[static_cast<std::size_t>(std::ceil(share * static_cast<double>(times.size()))) -
                 1];
  };
  report.step_ms_median = rank_of(0.5);
  report.step_ms_p99 = rank_of(0.99);
  report.step_ms_longest = times.back();
  return report;
}

std::string describe_degraded(const ServeReport& report) {
  if (report.degraded_slots == 0) return {};
  char share[32];
  std::snprintf(share, sizeof share, "%.3f",
                100.0 * static_cast<double>(report.degraded_slots) /
                    static_cast<double>(std::max<std::int64_t>(report.slots, 1)));
  std::string words = std::to_string(report.degraded_slots) + " of " +
                      std::to_string(report.slots) + " slots (" + share + " %) in " +
                      std::to_string(report.degraded_steps) + " of " +
                      std::to_string(report.steps) + " steps had no expert and gave nothing";
  for (const DegradedLayer& layer : report.layers) {
    words += "; layer " + std::to_string(layer.layer) + ": " + std::to_string(layer.tokens) +
             " tokens, experts";
    const char* before = " ";
    for (const auto& [expert, slots] : layer.experts) {
      words += before + std::to_string(expert);
      before = ", ";
    }
  }
  return words;
}
}  // namespace switchyard::runtime
