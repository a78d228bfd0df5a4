// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "comm/bare_alltoallv.hpp"
#include "comm/collective.hpp"
#include "experts/index.hpp"
#include "experts/sum.hpp"
#include "runtime/bench/exchange_work.hpp"

namespace switchyard::runtime::bench {
namespace {
class AlltoallvSide final : public ExchangeSide {
 public:
  AlltoallvSide(comm::Group& group, const ExchangeWork& work)
      : row_bytes_(work.hidden * std::int64_t{sizeof(float)}) {
    sort_slots(work);
    const auto ranks = at(group.size());
    std::vector<std::int64_t> send(ranks);
    for (const std::int64_t slot : order_) ++send[at(host(work, slot))];
    // Who sends how many rows for which expert: told once, before anything is timed.
    std::vector<std::int64_t> mine(at(work.placement.experts()));
    for (const std::int32_t expert : work.routing.experts) ++mine[at(expert)];
    const auto all = comm::allgather_values<std::int64_t>(group, mine);
    std::vector<std::int64_t> receive;
    std::vector<std::pair<std::int32_t, std::int64_t>> from;  // expert and place of each arrival
    std::int64_t row = 0;
    for (const auto& theirs : all) {
      const std::int64_t first = row;
      for (const std::int32_t expert : work.placement.experts_of(work.rank)) {
        for (std::int64_t i = 0; i < theirs[at(expert)]; ++i) from.emplace_back(expert, row++);
      }
      receive.push_back(row - first);
    }
    std::sort(from.begin(), from.end());
    const std::int64_t crossing =
        work.routing.slots() - send[at(work.rank)] + row - receive[at(work.rank)];
    wire_bytes_ = crossing * row_bytes_;
    rows_out_ = work.routing.slots() - send[at(work.rank)];
    alltoallv_.emplace(group, send, receive, row_bytes_);
    home_ = experts::AlignedBuffer(order_.size() * at(row_bytes_));
    away_ = experts::AlignedBuffer(at(row * row_bytes_));
    for (const auto& [expert, place] : from) {
      if (experts_.empty() || experts_.back().logical != expert) {
        experts_.push_back({.logical = expert, .first = rows_.size(), .count = 0});
      }
      ++experts_.back().count;
      rows_.push_back(away_.as<float>() + place * work.hidden);
      results_away_.push_back(away_.as<float>() + place * work.hidden);
    }
    results_.resize(order_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) {
      results_[at(order_[i])] = home_.as<float>() + static_cast<std::int64_t>(i) * work.hidden;
    }
  }

  void run(ExchangeWork& work) override {
    for (std::size_t i = 0; i < order_.size(); ++i) {
      std::memcpy(home_.as<std::byte>() + i * at(row_bytes_), work.tokens.row(tokens_[i]).data(),
                  at(row_bytes_));
    }
    alltoallv_->out(home_.as<std::byte>(), away_.as<std::byte>());
    for (const Expert& expert : experts_) {
      compute(expert.logical, std::span(rows_).subspan(expert.first, expert.count),
              std::span(results_away_).subspan(expert.first, expert.count), work, panel_);
    }
    if (work.inject) spoil(results_away_, work);
    alltoallv_->back(away_.as<std::byte>(), home_.as<std::byte>());
    for (std::int64_t t = 0; t < work.sums.rows(); ++t) {
      const std::size_t first = at(work.routing.offsets[at(t)]);
      const std::size_t count = at(work.routing.offsets[at(t + 1)]) - first;
      experts::weighted_sum(work.isa, std::span(results_).subspan(first, count),
                            std::span(work.routing.weights).subspan(first, count),
                            work.sums.row(t));
    }
  }

  [[nodiscard]] std::int64_t rows_out() const override { return rows_out_; }
  [[nodiscard]] std::int64_t wire_bytes() const override { return wire_bytes_; }

 private:
  struct Expert {
    std::int32_t logical;
    std::size_t first;  ///< of its rows
    std::size_t count;
  };

  static std::int32_t host(const ExchangeWork& work, std::int64_t slot) {
    return work.placement.hosts_of(work.routing.experts[at(slot)]).front();
  }

  /// By destination, then by expert, then by token.
  void sort_slots(const ExchangeWork& work) {
    order_.resize(at(work.routing.slots()));
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](std::int64_t a, std::int64_t b) {
      return std::pair(host(work, a), work.routing.experts[at(a)]) <
             std::pair(host(work, b), work.routing.experts[at(b)]);
    });
    std::vector<std::int64_t> token_of(order_.size());
    for (std::int64_t t = 0; t < work.routing.tokens(); ++t) {
      for (std::int64_t s = work.routing.offsets[at(t)]; s < work.routing.offsets[at(t + 1)]; ++s) {
        token_of[at(s)] = t;
      }
    }
    for (const std::int64_t slot : order_) tokens_.push_back(token_of[at(slot)]);
  }

  std::int64_t row_bytes_;
  std::vector<std::int64_t> order_;   ///< [slots], slots as they are packed
  std::vector<std::int64_t> tokens_;  ///< [slots], the token of each of these
  std::vector<Expert> experts_;       ///< of this rank, those that rows come for
  std::vector<const float*> rows_;    ///< that come, by expert, then by source
  std::vector<float*> results_away_;  ///< in the same place
  std::optional<comm::BareAlltoallv> alltoallv_;
  experts::AlignedBuffer home_;  ///< rows that leave, then results that came back
  experts::AlignedBuffer away_;  ///< rows that came, then their results
  experts::AlignedBuffer panel_;
  std::int64_t rows_out_ = 0;
  std::int64_t wire_bytes_ = 0;
};
}  // namespace

std::unique_ptr<ExchangeSide> alltoallv_side(comm::Group& group, const ExchangeWork& work) {
  return std::make_unique<AlltoallvSide>(group, work);
}
}  // namespace switchyard::runtime::bench
