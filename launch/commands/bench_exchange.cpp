// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "launch/commands/all.hpp"
#include "launch/commands/bench_report.hpp"
#include "runtime/bench/exchange.hpp"
#include "runtime/run/settings.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
using runtime::bench::CountsResult;
using runtime::bench::ExchangeReport;
using runtime::bench::ExchangeResult;

runtime::bench::ExchangeSettings settings_of(const Options& options) {
  runtime::bench::ExchangeSettings settings;
  settings.router = bench_model(options).block().router;
  settings.transports = words_of(options, "transport", {});
  settings.tokens_per_rank = counts_of(options, "tokens-per-rank");
  settings.zipf = runtime::routing_exponent(options.text("routing"));
  if (settings.zipf < 0) {
    throw std::invalid_argument(
        "--routing: got 'model', want uniform or zipf:S: there are no weights");
  }
  settings.seed = static_cast<std::uint64_t>(options.integer("seed"));
  settings.chunk_tokens = options.integer("chunk-tokens");
  settings.budget = bench_budget(options);
  settings.inject = options.text("inject") != "none";
  return settings;
}

std::vector<comm::Field> prepare(const Options& options) {
  static_cast<void>(settings_of(options));
  return prepare_bench(options, {"tokens-per-rank"});
}

std::string count(std::int64_t value) {
  return std::to_string(value);
}

void print(const ExchangeReport& report, const std::string& model, int ranks, std::ostream& out) {
  out << "# " << model << " over " << ranks << " ranks, float32 rows of "
      << report.results.front().row_bytes << " bytes; us a dispatch and combine, slowest rank; "
      << "bytes of all ranks\n"
      << "# alltoallv: the same (token, slot) rows packed for MPI_Alltoallv, out and back; ratio: "
      << "median of its time over the transport's\n"
      << "# copies: what each rank must at least copy, alone; limit: alltoallv's time over that\n";
  Table table({"tokens/rank", "at once", "rows", "logical B", "wire B", "type", "transport",
               "min us", "median us", "p99 us", "max us", "algbw GB/s", "busbw GB/s",
               "alltoallv us", "its wire B", "ratio", "copies us", "limit", "#wrong"});
  for (const ExchangeResult& r : report.results) {
    table.row({count(r.tokens_per_rank), count(r.chunk_tokens), count(r.rows),
               count(r.logical_bytes), count(r.wire_bytes), "float32",
               r.transport + (r.combine == "exact" ? "" : ", " + r.combine), figure(r.us.min),
               figure(r.us.median), figure(r.us.p99), figure(r.us.max), figure(r.algbw_gb_per_s),
               figure(r.busbw_gb_per_s), figure(r.pack_alltoallv_us.median),
               count(r.pack_alltoallv_wire_bytes), decimal(r.ratio, 2), figure(r.copies_us.median),
               decimal(r.limit, 2), count(r.wrong + r.pack_alltoallv_wrong)});
  }
  table.print(out);
  if (report.counts.empty()) return;
  out << "\n# counts alone: until every rank knows what comes\n";
  Table counts(
      {"transport", "min us", "median us", "p99 us", "max us", "MPI_Allgather us", "ratio"});
  for (const CountsResult& c : report.counts) {
    counts.row({c.transport, figure(c.us.min), figure(c.us.median), figure(c.us.p99),
                figure(c.us.max), figure(c.mpi_allgather_us.median), decimal(c.ratio, 2)});
  }
  counts.print(out);
}

nlohmann::ordered_json to_json(const ExchangeReport& report) {
  nlohmann::ordered_json json;
  json["results"] = nlohmann::ordered_json::array();
  json["presum_results"] = nlohmann::ordered_json::array();  // apart: their bits are not law 1's
  for (const ExchangeResult& r : report.results) {
    nlohmann::ordered_json row{{"transport", r.transport},
                               {"combine", r.combine},
                               {"type", "float32"},
                               {"tokens_per_rank", r.tokens_per_rank},
                               {"chunk_tokens", r.chunk_tokens},
                               {"rows", r.rows},
                               {"rows_crossed", r.rows_crossed},
                               {"row_bytes", r.row_bytes},
                               {"logical_bytes", r.logical_bytes},
                               {"wire_bytes", r.wire_bytes},
                               {"batches", r.batches},
                               {"repetitions", r.repetitions}};
    put(row, "us", r.us);
    row["algbw_gb_per_s"] = r.algbw_gb_per_s;
    row["busbw_gb_per_s"] = r.busbw_gb_per_s;
    put(row, "pack_alltoallv_us", r.pack_alltoallv_us);
    row["pack_alltoallv_wire_bytes"] = r.pack_alltoallv_wire_bytes;
    row["ratio"] = r.ratio;
    put(row, "copies_us", r.copies_us);
    row["limit"] = r.limit;
    row["wrong"] = r.wrong;
    row["pack_alltoallv_wrong"] = r.pack_alltoallv_wrong;
    json[r.combine == "exact" ? "results" : "presum_results"].push_back(std::move(row));
  }
  json["counts"] = nlohmann::ordered_json::array();
  for (const CountsResult& c : report.counts) {
    nlohmann::ordered_json row{{"transport", c.transport}};
    put(row, "counts_us", c.us);
    put(row, "mpi_allgather_us", c.mpi_allgather_us);
    row["ratio"] = c.ratio;
    json["counts"].push_back(std::move(row));
  }
  return json;
}

int run(Context& context) {
  const auto settings = settings_of(context.options);
  const ExchangeReport report = runtime::bench::bench_exchange(context.group(), settings);
  print(report, bench_model(context.options).name(), context.group().size(), context.out);
  print_machine(report.steadiness, context.out);
  if (context.json.wanted()) {
    nlohmann::ordered_json json = bench_header(context, "bench exchange", report.steadiness);
    json.update(to_json(report));
    context.json.write(json);
  }
  std::int64_t wrong = 0;
  for (const ExchangeResult& r : report.results) wrong += r.wrong + r.pack_alltoallv_wrong;
  return wrong > 0 ? runtime::kCheckFailed : runtime::kDone;
}
}  // namespace

Command bench_exchange_command() {
  auto options = bench_options(1);
  options.push_back(text_option("tokens-per-rank", "COUNT,...", "tokens of each rank", "1,16,128"));
  options.push_back(
      text_option("transport", "NAME,...", "how rows cross ranks; several take turns", "auto"));
  options.push_back(integer_option(
      "chunk-tokens", "COUNT",
      "most tokens a rank sends at once over a transport; 0: what stays in the second cache", 0,
      {.least = 0}));
  options.push_back(text_option("routing", "uniform|zipf:S", "where tokens go", "uniform"));
  options.push_back(bench_inject_option());
  return {
      .name = "bench exchange",
      .summary = "dispatch and combine beside MPI_Alltoallv of the same rows, checked and timed",
      .needs_mpi = true,
      .options = std::move(options),
      .prepare = prepare,
      .run = run};
}
}  // namespace switchyard::launch
