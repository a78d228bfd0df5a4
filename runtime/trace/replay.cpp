// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace/replay.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "experts/index.hpp"
#include "experts/urn.hpp"

namespace switchyard::runtime {

TraceReplay::TraceReplay(const std::string& file) : reader_(file) {
  if (reader_.steps() == 0) {
    throw std::invalid_argument(file + ": got a trace of 0 steps, want at least 1 to replay");
  }
  for (std::int64_t step = 0; step < reader_.steps(); ++step) {
    most_tokens_ = std::max(most_tokens_, reader_.tokens(step));
  }
}

void TraceReplay::require_fit(const experts::RouterSpec& spec, std::int64_t layers) const {
  const TraceInfo& info = reader_.info();
  const bool chosen = spec.choice == experts::Choice::kExpertChoice;
  const std::int64_t slots = chosen ? spec.all_experts() : spec.top_k;
  if (info.experts != spec.all_experts() || info.top_k != slots) {
    throw std::invalid_argument(reader_.file() + ": trace of " + std::to_string(info.experts) +
                                " experts and " + std::to_string(info.top_k) +
                                " slots a token, want " + std::to_string(spec.all_experts()) +
                                " and " + std::to_string(slots) + " as the model has");
  }
  if (info.layers < layers) {
    throw std::invalid_argument(reader_.file() + ": trace of " + std::to_string(info.layers) +
                                " layers, want at least the " + std::to_string(layers) +
                                " that are run");
  }
}

std::int64_t TraceReplay::tokens(std::int64_t step) const {
  return reader_.tokens(step % reader_.steps(), 0);
}

experts::Routing TraceReplay::routing(std::int64_t step, std::int64_t layer, std::int64_t first,
                                      std::int64_t count, bool ragged) {
  const TraceInfo& info = reader_.info();
  const std::int64_t place = step % reader_.steps();
  const TraceLayer& all = look_at(place, layer);
  if (first < 0 || count < 0 || first > all.tokens - count) {
    throw std::invalid_argument(reader_.file() + ": tokens " + std::to_string(first) + " to " +
                                std::to_string(first + count - 1) + " of step " +
                                std::to_string(reader_.number(place)) + ", want within its " +
                                std::to_string(all.tokens));
  }
  experts::Routing routing;
  const float equal = 1.0F / static_cast<float>(info.top_k);
  for (std::int64_t token = first; token < first + count; ++token) {
    for (std::int64_t slot = token * info.top_k; slot < (token + 1) * info.top_k; ++slot) {
      const std::int32_t expert = all.chosen[at(slot)];
      if (ragged && expert == kNoExpert) continue;
      routing.experts.push_back(expert == kNoExpert ? experts::kDropped : expert);
      routing.weights.push_back(expert == kNoExpert   ? 0
                                : all.weights.empty() ? equal
                                                      : all.weights[at(slot)]);
    }
    routing.offsets.push_back(std::ssize(routing.experts));
  }
  return routing;
}

const TraceLayer& TraceReplay::look_at(std::int64_t step, std::int64_t layer) {
  if (step == step_ && layer == layer_) return seen_;
  step_ = -1;  // until it is whole
  seen_ = reader_.layer(step, layer);
  if (seen_.chosen.empty()) {
    seen_.chosen = choice_with_counts(seen_.counts, seen_.tokens, reader_.info().top_k,
                                      reader_.number(step), layer);
  }
  step_ = step;
  layer_ = layer;
  return seen_;
}

std::vector<std::int32_t> choice_with_counts(const std::vector<std::int64_t>& counts,
                                             std::int64_t tokens, std::int64_t top_k,
                                             std::int64_t step, std::int64_t layer) {
  std::vector<std::int64_t> order(at(tokens));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const experts::DrawNumbers numbers(0, step, static_cast<std::uint32_t>(layer));
  for (std::int64_t i = tokens - 1; i > 0; --i) {
    const auto j = experts::multiply_high(numbers.of_layer(static_cast<std::uint32_t>(i)),
                                          static_cast<std::uint64_t>(i + 1));
    std::swap(order[at(i)], order[j]);
  }
  // An expert of at most `tokens` slots takes neighbours, round and round: never a token twice.
  std::vector<std::int32_t> chosen(at(tokens * top_k), kNoExpert);
  std::int64_t next = 0;
  for (std::size_t expert = 0; expert < counts.size(); ++expert) {
    for (std::int64_t i = 0; i < counts[expert]; ++i, ++next) {
      const std::int64_t token = order[at(next % tokens)];
      chosen[at(token * top_k + next / tokens)] = static_cast<std::int32_t>(expert);
    }
  }
  return chosen;
}
}  // namespace switchyard::runtime
