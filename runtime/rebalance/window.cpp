// SPDX-License-Identifier: Apache-2.0
#include "runtime/rebalance/window.hpp"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "comm/base/error.hpp"
#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
/// Layers summed up: of each the largest rank's, and the mean.
std::pair<double, double> largest_and_mean(const Window& window) {
  double largest = 0;
  double sum = 0;
  const std::size_t layers = window.load.size();
  for (std::size_t layer = 0; layer < layers; ++layer) {
    std::int64_t most = 0;
    for (const auto& rank : window.rows) {
      most = std::max(most, rank[layer]);
      sum += static_cast<double>(rank[layer]);
    }
    largest += static_cast<double>(most);
  }
  return {largest, window.rows.empty() ? 0 : sum / static_cast<double>(window.rows.size())};
}
}  // namespace

double Window::busiest_rows() const {
  return row_steps > 0 ? largest_and_mean(*this).first / static_cast<double>(row_steps) : 0;
}

double Window::balancedness() const {
  const auto [largest, mean] = largest_and_mean(*this);
  return largest > 0 ? mean / largest : 1;
}

std::vector<LayerLoad> Window::loads() const {
  std::vector<LayerLoad> loads;
  for (const auto& layer : load) {
    loads.push_back({.rows = std::vector<double>(layer.begin(), layer.end()), .tokens = {}});
  }
  return loads;
}

double Window::row_s() const {
  std::int64_t all = 0;
  for (const auto& rank : rows) {
    for (const std::int64_t layer : rank) all += layer;
  }
  return all > 0 ? task_s / static_cast<double>(all) : 0;
}

WindowCounter::WindowCounter(const Coordinator& layers, std::int64_t steps, int threads)
    : layers_(static_cast<std::int64_t>(layers.layers())),
      experts_(layers.layer(0).spec().router.experts),
      most_(at(steps)),
      threads_(threads),
      load_(layers_, experts_, steps) {
  begin(layers);
}

void WindowCounter::begin(const Coordinator& layers) {
  before_.clear();
  for (std::size_t i = 0; i < layers.layers(); ++i) before_.push_back(layers.layer(i).stats());
}

void WindowCounter::add(const Coordinator& layers) {
  std::vector<std::vector<std::int64_t>> load(at(layers_));
  Step step;
  for (std::size_t i = 0; i < load.size(); ++i) {
    const LayerStats& now = layers.layer(i).stats();
    const LayerStats& had = before_[i];
    for (std::size_t e = 0; e < at(experts_); ++e) load[i].push_back(now.load[e] - had.load[e]);
    step.rows.push_back(now.arrived - had.arrived);
    step.task_s += now.task_seconds - had.task_seconds;
  }
  load_.add(std::move(load));
  steps_.push_back(std::move(step));
  if (steps_.size() > most_) steps_.pop_front();
  begin(layers);
}

std::size_t WindowCounter::words() const {
  return 3 + at(layers_) * (1 + at(experts_));
}

void WindowCounter::write(std::vector<std::int64_t>& words) const {
  std::vector<std::int64_t> rows(at(layers_), 0);
  double task_s = 0;
  for (const Step& step : steps_) {
    task_s += step.task_s;
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] += step.rows[i];
  }
  words.push_back(load_.steps());
  words.push_back(std::ssize(steps_));
  words.push_back(std::bit_cast<std::int64_t>(task_s / threads_));
  words.insert(words.end(), rows.begin(), rows.end());
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    for (const double slots : load_.of(layer).rows) {
      words.push_back(static_cast<std::int64_t>(slots));
    }
  }
}

Window WindowCounter::read(std::span<const std::vector<std::int64_t>> ranks) const {
  Window all;
  all.load.assign(at(layers_), std::vector<std::int64_t>(at(experts_), 0));
  for (const auto& words : ranks) {
    if (words.size() != this->words()) {
      throw comm::ProtocolError("rebalance: a load of " + std::to_string(words.size()) +
                                " words, want " + std::to_string(this->words()));
    }
    auto next = words.begin();
    all.steps = *next++;
    all.row_steps = *next++;
    all.task_s += std::bit_cast<double>(*next++);
    all.rows.emplace_back(next, next + layers_);
    next += layers_;
    for (auto& layer : all.load) {
      for (std::int64_t& slots : layer) slots += *next++;
    }
  }
  return all;
}
}  // namespace switchyard::runtime
