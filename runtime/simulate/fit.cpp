// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/fit.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace switchyard::runtime {
namespace {
/// Whether the fit is made from time `index` of `count`.
bool is_used(std::size_t index, std::size_t count) {
  return index % 2 == 0 || index + 1 == count;
}

double one_way(const TierCost& cost, std::int64_t bytes) {
  const double paid = std::max(0.0, static_cast<double>(bytes) - cost.burst_bytes);
  return cost.latency_of(bytes) + paid / cost.bandwidth_of(bytes);
}

/// Again and again, when no burst is left.
double exchanged(const TierCost& cost, std::int64_t bytes) {
  const double both = cost.half_duplex ? 2 : cost.exchange_ratio;
  return cost.latency_of(bytes) + both * static_cast<double>(bytes) / cost.bandwidth_of(bytes);
}

/// What a link with a token bucket lets pass at once: single messages are faster than a stream by
/// it.
double burst_of(const std::vector<MessageTime>& times, const TierCost& cost) {
  double burst = 0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto bytes = static_cast<double>(times[i].bytes);
    if (!is_used(i, times.size()) || times[i].one_way_s > 0.95 * bytes / cost.bytes_per_s) continue;
    const double paid = std::max(0.0, times[i].one_way_s - cost.latency_s) * cost.bytes_per_s;
    burst = std::max(burst, bytes - paid);
  }
  return burst;
}

void fit_exchange(const std::vector<MessageTime>& times, TierCost& cost) {
  double least = 2;
  double sum = 0;
  int count = 0;
  for (const MessageTime& time : times) {
    const double wire = static_cast<double>(time.bytes) / cost.bytes_per_s;
    if (time.exchange_s <= 0 || wire < cost.latency_of(time.bytes)) continue;
    const double ratio = time.exchange_s / (cost.latency_of(time.bytes) + wire);
    least = std::min(least, ratio);
    sum += ratio;
    ++count;
  }
  if (count == 0) return;
  cost.half_duplex = least > kHalfDuplexRatio;
  if (!cost.half_duplex) cost.exchange_ratio = std::clamp(sum / count, 1.0, 2.0);
}

/// The step that makes this one size exact: what exceeds the bytes' time is latency, and where
/// nothing does, the bytes are faster or slower than the longest messages'.
SizeStep step_at(const MessageTime& time, const TierCost& cost) {
  const double wire =
      std::max(0.0, static_cast<double>(time.bytes) - cost.burst_bytes) / cost.bytes_per_s;
  SizeStep step{.from_bytes = time.bytes};
  if (time.one_way_s > wire + cost.latency_s) {
    step.latency_factor = (time.one_way_s - wire) / std::max(cost.latency_s, 1e-9);
  } else {
    const double left = std::max(time.one_way_s - cost.latency_s, 0.05 * time.one_way_s);
    step.latency_factor = std::max((time.one_way_s - left) / std::max(cost.latency_s, 1e-9), 1e-6);
    step.bandwidth_factor = wire / left;
  }
  return step;
}
}  // namespace

TierCost fit_tier(const std::vector<MessageTime>& times) {
  if (times.size() < 3) {
    throw std::invalid_argument("fit: got " + std::to_string(times.size()) +
                                " sizes, want at least 3");
  }
  const MessageTime& longest = times.back();
  std::size_t before = times.size() - 2;
  while (before > 0 && !is_used(before, times.size())) --before;
  const double span = static_cast<double>(longest.bytes - times[before].bytes);
  const double more_s = longest.one_way_s - times[before].one_way_s;
  const double alone = static_cast<double>(longest.bytes) / longest.one_way_s;
  TierCost cost;
  // Noise can make the longer message as fast as the shorter one, or much slower.
  cost.bytes_per_s = more_s > 0 ? std::clamp(span / more_s, alone, 2 * alone) : alone;
  if (longest.stream_s > 0) {
    cost.bytes_per_s =
        std::min(cost.bytes_per_s, static_cast<double>(longest.bytes) / longest.stream_s);
  }
  const MessageTime& first = times.front();
  cost.latency_s = first.one_way_s - static_cast<double>(first.bytes) / cost.bytes_per_s;
  if (cost.latency_s <= 0) cost.latency_s = std::max(first.one_way_s, 1e-9);  // within the burst
  if (longest.stream_s > 0) cost.burst_bytes = burst_of(times, cost);
  for (std::size_t i = 1; i < times.size(); ++i) {
    if (!is_used(i, times.size())) continue;
    if (std::abs(one_way(cost, times[i].bytes) / times[i].one_way_s - 1) <= kStepError) continue;
    cost.steps.push_back(step_at(times[i], cost));
  }
  fit_exchange(times, cost);
  return cost;
}

std::vector<Residual> residuals_of(const std::vector<MessageTime>& times, const TierCost& cost,
                                   const std::string& tier) {
  std::vector<Residual> residuals;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto& [bytes, one_way_s, exchange_s, stream_s] = times[i];
    const std::string what = tier + ", " + std::to_string(bytes) + " bytes ";
    const bool used = is_used(i, times.size());
    residuals.push_back({what + "one way", one_way_s, one_way(cost, bytes), used});
    if (exchange_s > 0) {
      residuals.push_back({what + "exchanged", exchange_s, exchanged(cost, bytes), false});
    }
    if (stream_s > 0) {
      const double fitted = static_cast<double>(bytes) / cost.bytes_per_s;
      residuals.push_back({what + "in a stream", stream_s, fitted, i + 1 == times.size()});
    }
  }
  return residuals;
}
}  // namespace switchyard::runtime
