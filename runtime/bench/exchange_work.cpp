// SPDX-License-Identifier: Apache-2.0
#include "runtime/bench/exchange_work.hpp"

#include <algorithm>
#include <cmath>

#include "experts/index.hpp"
#include "experts/sum.hpp"
#include "experts/synthetic.hpp"

namespace switchyard::runtime::bench {
namespace {
/// Few tokens come in batches of about so many together, as benches of messages send many in a row.
constexpr std::int64_t kTokensInARow = 128;
constexpr std::int64_t kMostBatches = 20;

std::int64_t batches_of(std::int64_t tokens_per_rank) {
  return std::clamp(kTokensInARow / tokens_per_rank, std::int64_t{1}, kMostBatches);
}

/// What sum_slots must come to, from the definition.
experts::Matrix expected_sums(const experts::Routing& routing, const experts::Matrix& tokens) {
  experts::Matrix sums(tokens.rows(), tokens.cols());
  for (std::int64_t t = 0; t < tokens.rows(); ++t) {
    for (std::int64_t c = 0; c < tokens.cols(); ++c) {
      float sum = 0;
      for (std::int64_t s = routing.offsets[at(t)]; s < routing.offsets[at(t + 1)]; ++s) {
        const auto number = static_cast<float>(routing.experts[at(s)] + 1);
        sum += routing.weights[at(s)] * (tokens(t, c) * number);
      }
      sums(t, c) = sum;
    }
  }
  return sums;
}
}  // namespace

ExchangeWork::ExchangeWork(comm::Group& group, const ExchangeSettings& settings,
                           std::int64_t tokens_per_rank)
    : hidden(settings.router.hidden),
      batch(tokens_per_rank),
      batches(batches_of(tokens_per_rank)),
      rank(group.rank()),
      placement(Placement::linear(settings.router.experts, group.size())),
      tokens(batches * batch, settings.router.hidden),
      sums(batches * batch, settings.router.hidden),
      inject(settings.inject),
      base_(batches * batch, settings.router.hidden) {
  experts::RouterSpec router = settings.router;
  router.identity = 0;  // they never travel
  const std::int64_t first = rank * tokens.rows();
  routing =
      experts::synthetic_routing(router, settings.zipf, settings.seed, 0, 0, first, tokens.rows());
  experts::fill_tokens(settings.seed, 0, first, base_.view());
  base_sums_ = expected_sums(routing, base_);
}

void ExchangeWork::renew(std::int64_t repetition) {
  factor_ = static_cast<float>(1 << repetition % 8);
  const std::int64_t count = tokens.rows() * hidden;
  for (std::int64_t i = 0; i < count; ++i) tokens.data()[i] = factor_ * base_.data()[i];
  std::fill_n(sums.data(), count, 0.0F);
}

std::int64_t ExchangeWork::wrong(const std::vector<const float*>& results) const {
  std::int64_t count = 0;
  const bool presummed = results.empty();
  // Terms of a sum have one sign, and each of k additions rounds once: 2^-24 a time.
  const std::int64_t k = tokens.rows() > 0 ? routing.slots() / tokens.rows() : 0;
  const float close = presummed ? 0x1p-22F * static_cast<float>(k + 1) : 0.0F;
  for (std::int64_t t = 0; t < tokens.rows(); ++t) {
    const float* const row = tokens.row(t).data();
    for (std::int64_t s = routing.offsets[at(t)]; !presummed && s < routing.offsets[at(t + 1)];
         ++s) {
      const auto number = static_cast<float>(routing.experts[at(s)] + 1);
      const float* const result = results[at(s)];
      if (result == nullptr) continue;
      bool equal = true;
      for (std::int64_t c = 0; c < hidden; ++c) equal = equal && result[c] == row[c] * number;
      count += equal ? 0 : 1;
    }
    const float* const expected = base_sums_.row(t).data();
    bool equal = true;
    for (std::int64_t c = 0; c < hidden; ++c) {
      const float want = factor_ * expected[c];
      equal = equal && std::abs(sums(t, c) - want) <= close * std::abs(want);
    }
    count += equal ? 0 : 1;
  }
  return count;
}

void compute(std::int32_t expert, std::span<const float* const> rows,
             std::span<float* const> results, const ExchangeWork& work,
             experts::AlignedBuffer& panel) {
  constexpr std::size_t kPanelRows = 192;  // as the kernels take them
  constexpr float kAsItIs = 1;
  const std::size_t hidden = at(work.hidden);
  const auto number = static_cast<float>(expert + 1);
  panel.ensure(kPanelRows * hidden * sizeof(float));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    float* const copy = panel.as<float>() + i % kPanelRows * hidden;
    const float* const one = copy;
    experts::weighted_sum(work.isa, {&rows[i], 1}, {&kAsItIs, 1}, {copy, hidden});
    experts::weighted_sum(work.isa, {&one, 1}, {&number, 1}, {results[i], hidden});
  }
}

void spoil(std::span<float* const> results, const ExchangeWork& work) {
  if (!results.empty()) results.front()[work.hidden / 2] += 1;
}
}  // namespace switchyard::runtime::bench
