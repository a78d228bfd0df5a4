// SPDX-License-Identifier: Apache-2.0
#include "runtime/bench/exchange.hpp"

#include <algorithm>
#include <memory>

#include "comm/exchange/bare_alltoallv.hpp"
#include "comm/group/collective.hpp"
#include "runtime/bench/exchange_work.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime::bench {
namespace {
/// A side that takes turns, with what it got wrong so far on this rank.
struct Turn {
  std::unique_ptr<ExchangeSide> side;
  std::int64_t wrong = 0;
};

/// How many ranks each processor of the rank's node has, if all work.
std::int64_t sharers_of_a_processor(comm::Group& group) {
  const auto mates = static_cast<std::int64_t>(group.nodes().mates_of(group.rank()).size());
  const std::int64_t processors = group.processors();
  return (mates + processors - 1) / processors;
}

/// @param sharers  0: by the clock; else by processor time, which so many ranks take in turn
Candidate candidate(std::string name, Turn& turn, ExchangeWork& work, std::int64_t sharers = 0) {
  const auto run = [&turn, &work, sharers] {
    const double began = thread_seconds();
    const Stopwatch watch;
    turn.side->run(work);
    const double seconds =
        sharers > 0 ? static_cast<double>(sharers) * (thread_seconds() - began) : watch.seconds();
    turn.wrong += work.wrong(turn.side->results());
    return seconds / static_cast<double>(work.batches);
  };
  return {.name = std::move(name), .run = run, .prepare = [&work](std::int64_t repetition) {
            work.renew(repetition);
          }};
}

Summary in_us(const std::vector<double>& seconds) {
  const Summary s = summary(seconds);
  return {.min = s.min * 1e6, .median = s.median * 1e6, .p99 = s.p99 * 1e6, .max = s.max * 1e6};
}

using Engines = std::vector<std::unique_ptr<Engine>>;

/// As many tokens a rank as keep the results that ranks on one processor wait for at a time within
/// a second cache or little more, for they are written and read again. Where ranks share
/// processors, twice as much, for every round takes them all through the scheduler.
std::int64_t tokens_in_cache(comm::Group& group, const ExchangeSettings& settings) {
  constexpr std::int64_t kCacheBytes = std::int64_t{1} << 20;
  const std::int64_t sharers = sharers_of_a_processor(group);
  const std::int64_t bytes = sharers == 1 ? kCacheBytes : 2 * kCacheBytes;
  const std::int64_t token_bytes =
      settings.router.hidden * std::int64_t{sizeof(float)} * settings.router.top_k;
  return std::max(bytes / (sharers * token_bytes), std::int64_t{1});
}

void measure_rows(comm::Group& group, const ExchangeSettings& settings, const Engines& engines,
                  std::int64_t tokens_per_rank, std::vector<ExchangeResult>& results) {
  std::unique_ptr<ExchangeWork> work;
  together(group, [&] { work = std::make_unique<ExchangeWork>(group, settings, tokens_per_rank); });
  const bool mpi = comm::has_bare_collectives(group);
  const std::int64_t chunk =
      std::min(tokens_per_rank, settings.chunk_tokens > 0 ? settings.chunk_tokens
                                                          : tokens_in_cache(group, settings));
  std::vector<Turn> turns;
  std::vector<ExchangeResult> kinds;
  for (const bool presum : {false, true}) {
    for (const auto& engine : engines) {
      if (presum && engine->exchange->stages() > 1) continue;
      turns.push_back({.side = transport_side(*engine, *work, presum, chunk)});
      kinds.emplace_back();
      kinds.back().transport = engine->exchange->name();
      kinds.back().chunk_tokens = chunk;
      kinds.back().combine = presum ? "presum" : "exact";
    }
  }
  const std::size_t copies = turns.size();
  turns.push_back({.side = copies_side(*work, chunk)});
  if (mpi) turns.push_back({.side = alltoallv_side(group, *work)});
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const std::string name = i < kinds.size() ? kinds[i].transport + ", " + kinds[i].combine
                             : i == copies    ? "copies alone"
                                              : "pack + MPI_Alltoallv";
    candidates.push_back(
        candidate(name, turns[i], *work, i == copies ? sharers_of_a_processor(group) : 0));
  }
  alternate(group, candidates, settings.budget);

  const auto total = [&](std::int64_t mine) {
    return static_cast<std::int64_t>(sum_over_ranks(group, static_cast<double>(mine)));
  };
  const auto of_a_batch = [&](std::int64_t mine) { return total(mine) / work->batches; };
  const double ranks = group.size();
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    ExchangeResult& result = kinds[i];
    result.tokens_per_rank = tokens_per_rank;
    result.row_bytes = work->hidden * std::int64_t{sizeof(float)};
    result.batches = work->batches;
    result.rows = of_a_batch(work->routing.slots());
    result.logical_bytes = 2 * result.rows * result.row_bytes;
    result.wire_bytes = of_a_batch(turns[i].side->wire_bytes());
    result.repetitions = static_cast<std::int64_t>(candidates[i].seconds.size());
    result.rows_crossed = of_a_batch(turns[i].side->rows_out());
    result.us = in_us(candidates[i].seconds);
    result.copies_us = in_us(candidates[copies].seconds);
    result.wrong = total(turns[i].wrong + turns[copies].wrong);
    result.algbw_gb_per_s =
        1e-3 * static_cast<double>(result.logical_bytes) / ranks / result.us.median;
    result.busbw_gb_per_s = result.algbw_gb_per_s * (ranks - 1) / ranks;
    if (mpi) {
      result.pack_alltoallv_us = in_us(candidates.back().seconds);
      result.pack_alltoallv_wire_bytes = of_a_batch(turns.back().side->wire_bytes());
      result.pack_alltoallv_wrong = total(turns.back().wrong);
      result.ratio = median_ratio(candidates.back().seconds, candidates[i].seconds);
      result.limit = median_ratio(candidates.back().seconds, candidates[copies].seconds);
    }
    results.push_back(std::move(result));
  }
}

/// Rounds of counts that are timed together: how far apart ranks leave what makes them begin
/// together, on fewer processors than ranks, is much longer than one.
constexpr int kCountRounds = 20;

/// Seconds of one of many rounds, one after the other with nothing between them.
template <class Round>
double each_of_rounds(const Round& round) {
  const Stopwatch watch;
  for (int i = 0; i < kCountRounds; ++i) round();
  return watch.seconds() / kCountRounds;
}

/// A round of nothing, in which every rank hears from every other how much comes.
void exchange_nothing(comm::Exchange& exchange, const comm::Offer& offer) {
  static_cast<void>(exchange.dispatch(offer));
  static_cast<void>(exchange.open_returns(offer.row_bytes));
  static_cast<void>(exchange.collect());
}

std::vector<CountsResult> measure_counts(comm::Group& group, const ExchangeSettings& settings,
                                         const Engines& engines) {
  if (!comm::has_bare_collectives(group)) return {};
  const auto ranks = static_cast<std::size_t>(group.size());
  comm::Offer nothing;
  nothing.row_bytes = settings.router.hidden * std::int64_t{sizeof(float)};
  nothing.row_offsets.assign(ranks + 1, 0);
  nothing.note_offsets.assign(ranks + 1, 0);
  nothing.results.assign(ranks, 0);
  const std::vector<std::int64_t> mine(ranks, group.rank());
  std::vector<std::int64_t> all(ranks * ranks);
  std::vector<Candidate> candidates;
  for (const auto& engine : engines) {
    comm::Exchange& exchange = *engine->exchange;
    candidates.push_back({.name = std::string(exchange.name()), .run = [&exchange, &nothing] {
                            return each_of_rounds([&] { exchange_nothing(exchange, nothing); });
                          }});
  }
  candidates.push_back({.name = "MPI_Allgather", .run = [&] {
                          return each_of_rounds([&] { comm::bare_allgather(group, mine, all); });
                        }});
  alternate(group, candidates, settings.budget);
  std::vector<CountsResult> results;
  for (std::size_t i = 0; i < engines.size(); ++i) {
    results.push_back({.transport = candidates[i].name,
                       .us = in_us(candidates[i].seconds),
                       .mpi_allgather_us = in_us(candidates.back().seconds),
                       .ratio = median_ratio(candidates.back().seconds, candidates[i].seconds)});
  }
  return results;
}
}  // namespace

ExchangeReport bench_exchange(comm::Group& group, const ExchangeSettings& settings) {
  Engines engines;
  for (const std::string& transport : settings.transports) {
    engines.push_back(std::make_unique<Engine>(
        group, EngineOptions{.exchange = {.transport = transport}, .node_queue = false}));
  }
  ExchangeReport report;
  Steadiness steadiness;
  steadiness.probe();
  report.counts = measure_counts(group, settings, engines);
  for (const std::int64_t tokens : settings.tokens_per_rank) {
    steadiness.probe();
    measure_rows(group, settings, engines, tokens, report.results);
  }
  steadiness.probe();
  report.steadiness = steadiness.result(group);
  return report;
}
}  // namespace switchyard::runtime::bench
