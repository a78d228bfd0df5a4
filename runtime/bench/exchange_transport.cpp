// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <numeric>

#include "experts/sum.hpp"
#include "runtime/bench/exchange_work.hpp"
#include "runtime/layer/presum.hpp"

namespace switchyard::runtime::bench {
namespace {
std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

/// The number of each expert among those of its rank.
std::vector<std::int64_t> local_numbers(const Placement& placement, int rank) {
  std::vector<std::int64_t> local(at(placement.experts()), -1);
  const auto mine = placement.experts_of(rank);
  for (std::size_t i = 0; i < mine.size(); ++i) local[at(mine[i])] = static_cast<std::int64_t>(i);
  return local;
}

class TransportSide final : public ExchangeSide {
 public:
  TransportSide(comm::Exchange& exchange, const ExchangeWork& work, bool presum)
      : exchange_(exchange),
        presum_(presum),
        plan_(make_plan(work.routing, work.placement, work.rank, 0, work.routing.tokens(), 0,
                        presum)),
        local_(local_numbers(work.placement, work.rank)),
        next_(work.placement.experts_of(work.rank).size() + 1) {
    plan_.offer.row_bytes = work.hidden * std::int64_t{sizeof(float)};
    if (presum) {
      plan_presum(plan_);
    } else {
      results_.resize(at(work.routing.slots()));
    }
  }

  void run(ExchangeWork& work) override {
    const std::int64_t before = exchange_.traffic().wire_bytes;
    plan_.offer.base = reinterpret_cast<const std::byte*>(work.tokens.data());
    const comm::Delivery& delivery = exchange_.dispatch(plan_.offer);
    const auto returns = exchange_.open_returns(plan_.offer.row_bytes);
    sort_arrivals(delivery, returns);
    compute(arrivals_, work, panel_);
    if (presum_) {
      add_up(delivery, returns, work.hidden);
      sum_rows(exchange_.collect(), work);
      wire_bytes_ = exchange_.traffic().wire_bytes - before;
      return;
    }
    const auto homes = exchange_.collect();
    for (std::size_t r = 0; r < homes.size(); ++r) {
      const std::byte* result = homes[r];
      for (std::int64_t j = plan_.result_offsets[r]; j < plan_.result_offsets[r + 1]; ++j) {
        results_[at(plan_.result_slots[at(j)])] = reinterpret_cast<const float*>(result);
        result += plan_.offer.row_bytes;
      }
    }
    sum_slots(work.routing, results_, work.sums);
    wire_bytes_ = exchange_.traffic().wire_bytes - before;
  }

  [[nodiscard]] std::int64_t rows_out() const override { return plan_.counts.rows_out; }
  [[nodiscard]] std::int64_t wire_bytes() const override { return wire_bytes_; }

 private:
  /// By local expert, then by rank and token, as the layer takes them.
  void sort_arrivals(const comm::Delivery& delivery, std::span<std::byte* const> returns) {
    std::fill(next_.begin(), next_.end(), 0);
    std::int64_t total = 0;
    for (const auto& note : delivery.notes) {
      const std::int64_t count = static_cast<std::int64_t>(note.size() / sizeof(Entry));
      for (std::int64_t i = 0; i < count; ++i) ++next_[at(local_[at(entry(note, i).expert)] + 1)];
      total += count;
    }
    std::partial_sum(next_.begin(), next_.end(), next_.begin());
    arrivals_.resize(at(total));
    partials_.clear();
    partial_rows_.ensure(presum_ ? at(total * plan_.offer.row_bytes) : 0);
    auto* partial = partial_rows_.as<std::byte>();
    for (std::size_t from = 0; from < delivery.notes.size(); ++from) {
      const auto& note = delivery.notes[from];
      std::byte* result = presum_ ? partial : returns[from];
      const std::int64_t count = static_cast<std::int64_t>(note.size() / sizeof(Entry));
      for (std::int64_t i = 0; i < count; ++i) {
        const Entry one = entry(note, i);
        const std::byte* const row = delivery.rows[at(delivery.row_offsets[from] + one.row)];
        arrivals_[at(next_[at(local_[at(one.expert)])]++)] = {
            .row = reinterpret_cast<const float*>(row),
            .result = reinterpret_cast<float*>(result),
            .expert = one.expert};
        if (presum_) partials_.push_back(reinterpret_cast<const float*>(result));
        result += plan_.offer.row_bytes;
      }
      if (presum_) partial = result;
    }
  }

  /// One sum for each row that came, to where its home wants it.
  void add_up(const comm::Delivery& delivery, std::span<std::byte* const> returns,
              std::int64_t hidden) {
    std::size_t next = 0;
    for (std::size_t from = 0; from < delivery.notes.size(); ++from) {
      const auto& note = delivery.notes[from];
      const auto count = static_cast<std::int64_t>(note.size() / sizeof(Entry));
      for (std::int64_t i = 0, row = 0; row < delivery.results[from]; ++row) {
        const std::size_t first = next;
        weights_.clear();
        for (; i < count && entry(note, i).row == row; ++i, ++next) {
          weights_.push_back(entry(note, i).gate);
        }
        auto* const sum = reinterpret_cast<float*>(returns[from]) + row * hidden;
        experts::weighted_sum(experts::best_isa(),
                              std::span(partials_).subspan(first, next - first), weights_,
                              {sum, at(hidden)});
      }
    }
  }

  /// What the ranks added up, added up.
  void sum_rows(std::span<const std::byte* const> homes, ExchangeWork& work) {
    const auto& offsets = plan_.offer.row_offsets;
    rank_rows_.assign(offsets.begin(), offsets.end() - 1);
    for (std::int64_t t = 0; t < work.tokens.rows(); ++t) {
      partials_.clear();
      for (std::size_t r = 0; r < homes.size(); ++r) {
        if (rank_rows_[r] == offsets[r + 1] || plan_.offer.rows[at(rank_rows_[r])] != t) continue;
        const std::int64_t row = rank_rows_[r]++ - offsets[r];
        partials_.push_back(reinterpret_cast<const float*>(homes[r]) + row * work.hidden);
      }
      weights_.assign(partials_.size(), 1.0F);
      experts::weighted_sum(experts::best_isa(), partials_, weights_, work.sums.row(t));
    }
  }

  static Entry entry(std::span<const std::byte> note, std::int64_t i) {
    Entry one;
    std::memcpy(&one, note.data() + at(i) * sizeof one, sizeof one);
    return one;
  }

  comm::Exchange& exchange_;
  bool presum_;
  DispatchPlan plan_;
  std::vector<std::int64_t> local_;
  std::vector<std::int64_t> next_;  ///< [local experts + 1]
  std::vector<RowToCompute> arrivals_;
  experts::AlignedBuffer panel_;
  experts::AlignedBuffer partial_rows_;  ///< presum: results that stay here
  std::vector<const float*> partials_;   ///< presum: in the order of the notes' entries
  std::vector<float> weights_;           ///< presum: of one row
  std::vector<std::int64_t> rank_rows_;  ///< presum: [ranks], the next row of each
  std::int64_t wire_bytes_ = 0;
};
}  // namespace

std::unique_ptr<ExchangeSide> transport_side(comm::Exchange& exchange, const ExchangeWork& work,
                                             bool presum) {
  return std::make_unique<TransportSide>(exchange, work, presum);
}
}  // namespace switchyard::runtime::bench
