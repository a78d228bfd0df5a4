// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "comm/exchange/bare_alltoallv.hpp"
#include "comm/group/collective.hpp"
#include "experts/index.hpp"
#include "experts/sum.hpp"
#include "runtime/bench/exchange_work.hpp"

namespace switchyard::runtime::bench {
namespace {
/// One batch: which rows go where, and the calls that take them there and back.
class AlltoallvBatch {
 public:
  AlltoallvBatch(comm::Group& group, const ExchangeWork& work, std::int64_t first_token)
      : first_(first_token), row_bytes_(work.hidden * std::int64_t{sizeof(float)}) {
    sort_slots(work);
    const auto ranks = at(group.size());
    std::vector<std::int64_t> send(ranks);
    for (const std::int64_t slot : order_) ++send[at(host(work, slot))];
    // Who sends how many rows for which expert: told once, before anything is timed.
    std::vector<std::int64_t> mine(at(work.placement.experts()));
    for (const std::int64_t slot : order_) ++mine[at(work.routing.experts[at(slot)])];
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
    rows_out_ = std::ssize(order_) - send[at(work.rank)];
    wire_bytes_ = (rows_out_ + row - receive[at(work.rank)]) * row_bytes_;
    alltoallv_.emplace(group, send, receive, row_bytes_);
    away_rows_ = row;
    for (const auto& [expert, place] : from) {
      if (experts_.empty() || experts_.back().logical != expert) {
        experts_.push_back({.logical = expert, .first = places_.size(), .count = 0});
      }
      ++experts_.back().count;
      places_.push_back(place);
    }
  }

  [[nodiscard]] std::int64_t rows_home() const { return std::ssize(order_); }
  [[nodiscard]] std::int64_t rows_away() const { return away_rows_; }
  [[nodiscard]] std::int64_t rows_out() const { return rows_out_; }
  [[nodiscard]] std::int64_t wire_bytes() const { return wire_bytes_; }

  /// Where rows and results lie, once: home and away have room for rows_home() and rows_away().
  void settle(const ExchangeWork& work, float* home, float* away) {
    home_ = home;
    away_ = away;
    for (const std::int64_t place : places_) results_away_.push_back(away + place * work.hidden);
    rows_.assign(results_away_.begin(), results_away_.end());
    results_.resize(order_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) {
      results_[at(order_[i] - first_slot_)] = home + static_cast<std::int64_t>(i) * work.hidden;
    }
  }

  void run(ExchangeWork& work, experts::AlignedBuffer& panel) const {
    auto* const home = reinterpret_cast<std::byte*>(home_);
    auto* const away = reinterpret_cast<std::byte*>(away_);
    for (std::size_t i = 0; i < order_.size(); ++i) {
      std::memcpy(home + i * at(row_bytes_), work.tokens.row(tokens_[i]).data(), at(row_bytes_));
    }
    alltoallv_->out(home, away);
    for (const Expert& expert : experts_) {
      compute(expert.logical, std::span(rows_).subspan(expert.first, expert.count),
              std::span(results_away_).subspan(expert.first, expert.count), work, panel);
    }
    if (work.inject && first_ == 0) spoil(results_away_, work);
    alltoallv_->back(away, home);
    for (std::int64_t t = first_; t < first_ + work.batch; ++t) {
      const std::size_t first = at(work.routing.offsets[at(t)]);
      const std::size_t count = at(work.routing.offsets[at(t + 1)]) - first;
      experts::weighted_sum(work.isa, std::span(results_).subspan(first - at(first_slot_), count),
                            std::span(work.routing.weights).subspan(first, count),
                            work.sums.row(t));
    }
  }

  /// By slot of the batch.
  [[nodiscard]] const std::vector<const float*>& results() const { return results_; }

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
    first_slot_ = work.routing.offsets[at(first_)];
    const std::int64_t end = work.routing.offsets[at(first_ + work.batch)];
    order_.resize(at(end - first_slot_));
    std::iota(order_.begin(), order_.end(), first_slot_);
    std::stable_sort(order_.begin(), order_.end(), [&](std::int64_t a, std::int64_t b) {
      return std::pair(host(work, a), work.routing.experts[at(a)]) <
             std::pair(host(work, b), work.routing.experts[at(b)]);
    });
    std::vector<std::int64_t> token_of(order_.size());
    for (std::int64_t t = first_; t < first_ + work.batch; ++t) {
      for (std::int64_t s = work.routing.offsets[at(t)]; s < work.routing.offsets[at(t + 1)]; ++s) {
        token_of[at(s - first_slot_)] = t;
      }
    }
    for (const std::int64_t slot : order_) tokens_.push_back(token_of[at(slot - first_slot_)]);
  }

  std::int64_t first_;  ///< token
  std::int64_t first_slot_ = 0;
  std::int64_t row_bytes_;
  std::vector<std::int64_t> order_;    ///< slots as they are packed
  std::vector<std::int64_t> tokens_;   ///< the token of each of these
  std::vector<Expert> experts_;        ///< of this rank, those that rows come for
  std::vector<std::int64_t> places_;   ///< of the rows that come, by expert, then by source
  std::vector<const float*> rows_;     ///< the same as addresses
  std::vector<float*> results_away_;   ///< in the same place
  std::vector<const float*> results_;  ///< [slots of the batch]
  std::optional<comm::BareAlltoallv> alltoallv_;
  float* home_ = nullptr;  ///< rows that leave, then results that came back
  float* away_ = nullptr;  ///< rows that came, then their results
  std::int64_t away_rows_ = 0;
  std::int64_t rows_out_ = 0;
  std::int64_t wire_bytes_ = 0;
};

class AlltoallvSide final : public ExchangeSide {
 public:
  AlltoallvSide(comm::Group& group, const ExchangeWork& work) {
    std::int64_t home = 0;
    std::int64_t away = 0;
    for (std::int64_t b = 0; b < work.batches; ++b) {
      const AlltoallvBatch& batch = batches_.emplace_back(group, work, b * work.batch);
      home = std::max(home, batch.rows_home());
      away = std::max(away, batch.rows_away());
    }
    home_ = experts::AlignedBuffer(at(home * work.hidden) * sizeof(float));
    away_ = experts::AlignedBuffer(at(away * work.hidden) * sizeof(float));
    for (AlltoallvBatch& batch : batches_) {
      batch.settle(work, home_.as<float>(), away_.as<float>());
    }
    // A batch's results lie where those of the one before lay: the last ones are there to see.
    results_.resize(at(work.routing.slots()));
    const auto& last = batches_.back().results();
    std::ranges::copy(last, results_.end() - std::ssize(last));
  }

  void run(ExchangeWork& work) override {
    for (const AlltoallvBatch& batch : batches_) batch.run(work, panel_);
  }

  [[nodiscard]] std::int64_t rows_out() const override { return total(&AlltoallvBatch::rows_out); }
  [[nodiscard]] std::int64_t wire_bytes() const override {
    return total(&AlltoallvBatch::wire_bytes);
  }

 private:
  [[nodiscard]] std::int64_t total(std::int64_t (AlltoallvBatch::*of)() const) const {
    std::int64_t sum = 0;
    for (const AlltoallvBatch& batch : batches_) sum += (batch.*of)();
    return sum;
  }

  std::vector<AlltoallvBatch> batches_;
  experts::AlignedBuffer home_;
  experts::AlignedBuffer away_;
  experts::AlignedBuffer panel_;
};
}  // namespace

std::unique_ptr<ExchangeSide> alltoallv_side(comm::Group& group, const ExchangeWork& work) {
  return std::make_unique<AlltoallvSide>(group, work);
}
}  // namespace switchyard::runtime::bench
