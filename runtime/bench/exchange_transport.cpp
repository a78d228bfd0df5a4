// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "experts/index.hpp"
#include "runtime/bench/exchange_work.hpp"
#include "runtime/layer/dispatch.hpp"
#include "runtime/layer/presum.hpp"

namespace switchyard::runtime::bench {
namespace {
class TransportSide final : public ExchangeSide {
 public:
  TransportSide(Engine& engine, const ExchangeWork& work, bool presum, std::int64_t chunk_tokens)
      : engine_(engine), presum_(presum), local_(work.placement, work.rank) {
    const std::int64_t tokens = work.routing.tokens();
    const int stages = engine.exchange->stages();
    for (std::int64_t first = 0; first < tokens; first += chunks_.back().count) {
      const std::int64_t left_of_batch = work.batch - first % work.batch;
      Chunk& chunk = chunks_.emplace_back();
      chunk.first = first;
      chunk.count = std::min(chunk_tokens, left_of_batch);
      chunk.plan =
          make_plan(work.routing, work.placement, work.rank, first, chunk.count, 0, presum);
      if (presum) plan_presum(chunk.plan);
      if (stages > 1) engine.cutter.cut(chunk.plan, work.placement, stages);
      rows_out_ += chunk.plan.counts.rows_out;
    }
    if (!presum) results_.resize(at(work.routing.slots()));
  }

  void run(ExchangeWork& work) override {
    const std::int64_t before = engine_.exchange->traffic().wire_bytes;
    for (Chunk& chunk : chunks_) {
      std::swap(engine_.plan, chunk.plan);
      run_chunk(chunk, work);
      std::swap(engine_.plan, chunk.plan);
    }
    wire_bytes_ = engine_.exchange->traffic().wire_bytes - before;
    if (presum_) return;
    // A chunk's results lie where those of the one before lay: the last ones are there to see.
    std::ranges::copy(engine_.result_of, results_.end() - std::ssize(engine_.result_of));
  }

  [[nodiscard]] std::int64_t rows_out() const override { return rows_out_; }
  [[nodiscard]] std::int64_t wire_bytes() const override { return wire_bytes_; }

 private:
  struct Chunk {
    std::int64_t first = 0;  ///< token
    std::int64_t count = 0;
    DispatchPlan plan;
  };

  /// As MoeLayer::forward_chunk, but for the experts.
  void run_chunk(const Chunk& chunk, ExchangeWork& work) {
    const auto tokens = std::as_const(work.tokens).view().slice(chunk.first, chunk.count);
    const auto sums = work.sums.view().slice(chunk.first, chunk.count);
    const bool more = &chunk != &chunks_.back();
    const Arrivals arrivals = dispatch(engine_, local_, tokens, false, presum_, more);
    const int stages = engine_.exchange->stages();
    for (int stage = 0; stage < stages; ++stage) engine_.exchange->await_stage(stage);
    for (std::int64_t e = 0; e < local_.size(); ++e) {
      const auto first = at(arrivals.offsets[at(e)]);
      const auto count = at(arrivals.offsets[at(e + 1)]) - first;
      compute(local_.logical()[at(e)], arrivals.rows.subspan(first, count),
              arrivals.results.subspan(first, count), work, panel_);
    }
    if (work.inject && chunk.first == 0) spoil(arrivals.results, work);
    for (int stage = 0; stage < stages; ++stage) engine_.exchange->release_stage(stage);
    if (presum_) {
      presum(engine_, false, work.hidden, work.isa);
      combine_presummed(engine_, work.routing, chunk.first, tokens, work.placement.experts(),
                        work.isa, sums);
    } else {
      combine(engine_, work.routing, chunk.first, tokens, false, work.isa, sums);
    }
  }

  Engine& engine_;
  bool presum_;
  LocalExperts local_;
  std::vector<Chunk> chunks_;
  experts::AlignedBuffer panel_;
  std::int64_t rows_out_ = 0;
  std::int64_t wire_bytes_ = 0;
};
}  // namespace

std::unique_ptr<ExchangeSide> transport_side(Engine& engine, const ExchangeWork& work, bool presum,
                                             std::int64_t chunk_tokens) {
  return std::make_unique<TransportSide>(engine, work, presum, chunk_tokens);
}
}  // namespace switchyard::runtime::bench
