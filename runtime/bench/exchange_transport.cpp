// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <numeric>

#include "runtime/bench/exchange_work.hpp"

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
  TransportSide(comm::Exchange& exchange, const ExchangeWork& work)
      : exchange_(exchange),
        plan_(
            make_plan(work.routing, work.placement, work.rank, 0, work.routing.tokens(), 0, false)),
        local_(local_numbers(work.placement, work.rank)),
        next_(work.placement.experts_of(work.rank).size() + 1) {
    plan_.offer.row_bytes = work.hidden * std::int64_t{sizeof(float)};
    results_.resize(at(work.routing.slots()));
  }

  void run(ExchangeWork& work) override {
    const std::int64_t before = exchange_.traffic().wire_bytes;
    plan_.offer.base = reinterpret_cast<const std::byte*>(work.tokens.data());
    const comm::Delivery& delivery = exchange_.dispatch(plan_.offer);
    sort_arrivals(delivery, exchange_.open_returns(plan_.offer.row_bytes));
    compute(arrivals_, work, panel_);
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
    for (std::size_t from = 0; from < delivery.notes.size(); ++from) {
      const auto& note = delivery.notes[from];
      std::byte* result = returns[from];
      const std::int64_t count = static_cast<std::int64_t>(note.size() / sizeof(Entry));
      for (std::int64_t i = 0; i < count; ++i) {
        const Entry one = entry(note, i);
        const std::byte* const row = delivery.rows[at(delivery.row_offsets[from] + one.row)];
        arrivals_[at(next_[at(local_[at(one.expert)])]++)] = {
            .row = reinterpret_cast<const float*>(row),
            .result = reinterpret_cast<float*>(result),
            .expert = one.expert};
        result += plan_.offer.row_bytes;
      }
    }
  }

  static Entry entry(std::span<const std::byte> note, std::int64_t i) {
    Entry one;
    std::memcpy(&one, note.data() + at(i) * sizeof one, sizeof one);
    return one;
  }

  comm::Exchange& exchange_;
  DispatchPlan plan_;
  std::vector<std::int64_t> local_;
  std::vector<std::int64_t> next_;  ///< [local experts + 1]
  std::vector<RowToCompute> arrivals_;
  experts::AlignedBuffer panel_;
  std::int64_t wire_bytes_ = 0;
};
}  // namespace

std::unique_ptr<ExchangeSide> transport_side(comm::Exchange& exchange, const ExchangeWork& work) {
  return std::make_unique<TransportSide>(exchange, work);
}
}  // namespace switchyard::runtime::bench
