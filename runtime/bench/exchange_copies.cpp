// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "experts/index.hpp"
#include "experts/sum.hpp"
#include "runtime/bench/exchange_work.hpp"

namespace switchyard::runtime::bench {
namespace {
/// As if the results that this rank owes were those of its own tokens: as many, were all ranks to
/// get alike, and what comes out can be checked like any other.
class CopiesSide final : public ExchangeSide {
 public:
  CopiesSide(const ExchangeWork& work, std::int64_t chunk_tokens)
      : hidden_(work.hidden), chunk_tokens_(std::min(chunk_tokens, work.batch)) {
    std::int64_t slots = 0;
    for (std::int64_t first = 0; first < work.routing.tokens(); first += chunks_.back().count) {
      Chunk& chunk = chunks_.emplace_back();
      chunk.first = first;
      chunk.count = std::min(chunk_tokens_, work.batch - first % work.batch);
      sort_slots(work, chunk);
      slots = std::max(slots, std::ssize(chunk.order));
    }
    segment_ = experts::AlignedBuffer(at(chunk_tokens_ * hidden_) * sizeof(float));
    answers_ = experts::AlignedBuffer(at(slots * hidden_) * sizeof(float));
    for (Chunk& chunk : chunks_) settle(work, chunk);
    results_.resize(at(work.routing.slots()));
    const auto& last = chunks_.back().by_slot;
    std::ranges::copy(last, results_.end() - std::ssize(last));
  }

  void run(ExchangeWork& work) override {
    for (const Chunk& chunk : chunks_) {
      std::memcpy(segment_.as<float>(), work.tokens.row(chunk.first).data(),
                  at(chunk.count * hidden_) * sizeof(float));
      for (std::size_t i = 0, end = 0; i < chunk.order.size(); i = end) {
        const std::int32_t expert = work.routing.experts[at(chunk.order[i])];
        while (end < chunk.order.size() && work.routing.experts[at(chunk.order[end])] == expert) {
          ++end;
        }
        compute(expert, std::span(chunk.rows).subspan(i, end - i),
                std::span(chunk.answers).subspan(i, end - i), work, panel_);
      }
      const auto first_slot = work.routing.offsets[at(chunk.first)];
      for (std::int64_t t = chunk.first; t < chunk.first + chunk.count; ++t) {
        const std::size_t first = at(work.routing.offsets[at(t)]);
        const std::size_t count = at(work.routing.offsets[at(t + 1)]) - first;
        experts::weighted_sum(
            work.isa, std::span(chunk.by_slot).subspan(first - at(first_slot), count),
            std::span(work.routing.weights).subspan(first, count), work.sums.row(t));
      }
    }
  }

  [[nodiscard]] std::int64_t rows_out() const override { return 0; }
  [[nodiscard]] std::int64_t wire_bytes() const override { return 0; }

 private:
  struct Chunk {
    std::int64_t first = 0;  ///< token
    std::int64_t count = 0;
    std::vector<std::int64_t> order;     ///< slots, by expert, then by token
    std::vector<std::int64_t> token_of;  ///< of each of these, from the chunk's first on
    std::vector<const float*> rows;      ///< of each of these, where it is read
    std::vector<float*> answers;         ///< and where its result lies
    std::vector<const float*> by_slot;   ///< the results by slot of the chunk
  };

  static void sort_slots(const ExchangeWork& work, Chunk& chunk) {
    std::vector<std::pair<std::int64_t, std::int64_t>> slots;  // with their tokens
    for (std::int64_t t = chunk.first; t < chunk.first + chunk.count; ++t) {
      for (std::int64_t s = work.routing.offsets[at(t)]; s < work.routing.offsets[at(t + 1)]; ++s) {
        slots.emplace_back(s, t - chunk.first);
      }
    }
    std::ranges::stable_sort(
        slots, {}, [&](const auto& slot) { return work.routing.experts[at(slot.first)]; });
    for (const auto& [slot, token] : slots) {
      chunk.order.push_back(slot);
      chunk.token_of.push_back(token);
    }
  }

  /// Results lie as a home has them: by slot.
  void settle(const ExchangeWork& work, Chunk& chunk) {
    const std::int64_t first_slot = work.routing.offsets[at(chunk.first)];
    chunk.by_slot.resize(chunk.order.size());
    for (std::size_t i = 0; i < chunk.order.size(); ++i) {
      chunk.rows.push_back(segment_.as<float>() + chunk.token_of[i] * hidden_);
      const std::int64_t slot = chunk.order[i] - first_slot;
      chunk.answers.push_back(answers_.as<float>() + slot * hidden_);
      chunk.by_slot[at(slot)] = chunk.answers.back();
    }
  }

  std::int64_t hidden_;
  std::int64_t chunk_tokens_;
  std::vector<Chunk> chunks_;
  experts::AlignedBuffer segment_;  ///< the rows of a chunk
  experts::AlignedBuffer answers_;  ///< its results
  experts::AlignedBuffer panel_;
};
}  // namespace

std::unique_ptr<ExchangeSide> copies_side(const ExchangeWork& work, std::int64_t chunk_tokens) {
  return std::make_unique<CopiesSide>(work, chunk_tokens);
}
}  // namespace switchyard::runtime::bench
