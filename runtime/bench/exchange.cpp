// SPDX-License-Identifier: Apache-2.0
#include "runtime/bench/exchange.hpp"

#include <algorithm>
#include <memory>

#include "comm/bare_alltoallv.hpp"
#include "comm/collective.hpp"
#include "comm/exchange.hpp"
#include "runtime/bench/exchange_work.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime::bench {
namespace {
/// A side that takes turns, with what it got wrong so far on this rank.
struct Turn {
  std::unique_ptr<ExchangeSide> side;
  std::int64_t wrong = 0;
};

Candidate candidate(std::string name, Turn& turn, ExchangeWork& work) {
  const auto run = [&turn, &work] {
    const Stopwatch watch;
    turn.side->run(work);
    const double seconds = watch.seconds();
    turn.wrong += work.wrong(turn.side->results());
    return seconds;
  };
  return {.name = std::move(name), .run = run, .prepare = [&work](std::int64_t repetition) {
            work.renew(repetition);
          }};
}

Summary in_us(const std::vector<double>& seconds) {
  const Summary s = summary(seconds);
  return {.min = s.min * 1e6, .median = s.median * 1e6, .p99 = s.p99 * 1e6, .max = s.max * 1e6};
}

using Exchanges = std::vector<std::unique_ptr<comm::Exchange>>;

void measure_rows(comm::Group& group, const ExchangeSettings& settings, const Exchanges& exchanges,
                  std::int64_t tokens_per_rank, std::vector<ExchangeResult>& results) {
  std::unique_ptr<ExchangeWork> work;
  together(group, [&] { work = std::make_unique<ExchangeWork>(group, settings, tokens_per_rank); });
  const bool mpi = comm::has_bare_collectives(group);
  std::vector<Turn> turns;
  std::vector<ExchangeResult> kinds;
  for (const bool presum : {false, true}) {
    for (const auto& exchange : exchanges) {
      if (presum && exchange->stages() > 1) continue;
      turns.push_back({.side = transport_side(*exchange, *work, presum)});
      kinds.emplace_back();
      kinds.back().transport = exchange->name();
      kinds.back().combine = presum ? "presum" : "exact";
    }
  }
  if (mpi) turns.push_back({.side = alltoallv_side(group, *work)});
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const std::string name =
        i < kinds.size() ? kinds[i].transport + ", " + kinds[i].combine : "pack + MPI_Alltoallv";
    candidates.push_back(candidate(name, turns[i], *work));
  }
  alternate(group, candidates, settings.budget);

  const auto total = [&](std::int64_t mine) {
    return static_cast<std::int64_t>(sum_over_ranks(group, static_cast<double>(mine)));
  };
  const double ranks = group.size();
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    ExchangeResult& result = kinds[i];
    result.tokens_per_rank = tokens_per_rank;
    result.row_bytes = work->hidden * std::int64_t{sizeof(float)};
    result.rows = total(work->routing.slots());
    result.logical_bytes = 2 * result.rows * result.row_bytes;
    result.wire_bytes = total(turns[i].side->wire_bytes());
    result.repetitions = static_cast<std::int64_t>(candidates[i].seconds.size());
    result.rows_crossed = total(turns[i].side->rows_out());
    result.us = in_us(candidates[i].seconds);
    result.wrong = total(turns[i].wrong);
    result.algbw_gb_per_s =
        1e-3 * static_cast<double>(result.logical_bytes) / ranks / result.us.median;
    result.busbw_gb_per_s = result.algbw_gb_per_s * (ranks - 1) / ranks;
    if (mpi) {
      result.pack_alltoallv_us = in_us(candidates.back().seconds);
      result.pack_alltoallv_wire_bytes = total(turns.back().side->wire_bytes());
      result.pack_alltoallv_wrong = total(turns.back().wrong);
      result.ratio = median_ratio(candidates.back().seconds, candidates[i].seconds);
    }
    results.push_back(std::move(result));
  }
}

/// A dispatch of nothing, to the end of its round; timed until everybody's counts are here.
double dispatch_nothing(comm::Exchange& exchange, comm::Offer& offer) {
  const Stopwatch watch;
  static_cast<void>(exchange.dispatch(offer));
  const double seconds = watch.seconds();
  static_cast<void>(exchange.open_returns(offer.row_bytes));
  static_cast<void>(exchange.collect());
  return seconds;
}

std::vector<CountsResult> measure_counts(comm::Group& group, const ExchangeSettings& settings,
                                         const Exchanges& exchanges) {
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
  for (const auto& exchange : exchanges) {
    candidates.push_back({.name = std::string(exchange->name()),
                          .run = [&] { return dispatch_nothing(*exchange, nothing); }});
  }
  candidates.push_back({.name = "MPI_Allgather", .run = [&] {
                          const Stopwatch watch;
                          comm::bare_allgather(group, mine, all);
                          return watch.seconds();
                        }});
  alternate(group, candidates, settings.budget);
  std::vector<CountsResult> results;
  for (std::size_t i = 0; i < exchanges.size(); ++i) {
    results.push_back({.transport = candidates[i].name,
                       .us = in_us(candidates[i].seconds),
                       .mpi_allgather_us = in_us(candidates.back().seconds),
                       .ratio = median_ratio(candidates.back().seconds, candidates[i].seconds)});
  }
  return results;
}
}  // namespace

ExchangeReport bench_exchange(comm::Group& group, const ExchangeSettings& settings) {
  Exchanges exchanges;
  for (const std::string& transport : settings.transports) {
    exchanges.push_back(comm::make_exchange(group, transport));
  }
  ExchangeReport report;
  Steadiness steadiness;
  steadiness.probe();
  report.counts = measure_counts(group, settings, exchanges);
  for (const std::int64_t tokens : settings.tokens_per_rank) {
    steadiness.probe();
    measure_rows(group, settings, exchanges, tokens, report.results);
  }
  steadiness.probe();
  report.steadiness = steadiness.result(group);
  return report;
}
}  // namespace switchyard::runtime::bench
