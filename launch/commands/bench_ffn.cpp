// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/dispatch.hpp"
#include "launch/commands/all.hpp"
#include "launch/commands/bench_report.hpp"
#include "launch/commands/run_options.hpp"
#include "runtime/bench/ffn.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
using runtime::bench::FfnReport;
using runtime::bench::FfnResult;
using runtime::bench::FfnSettings;

constexpr double kPoorFraction = 0.6;   // below this some compiler or machine has let us down
constexpr std::int64_t kManyRows = 64;  // where arithmetic and not memory is the limit

FfnSettings settings_of(const Options& options) {
  FfnSettings settings;
  settings.expert = bench_model(options).block().expert;
  for (const auto& word : words_of(options, "weights", stored_types())) {
    settings.weights.push_back(experts::dtype_from(word));
  }
  for (const auto& word : words_of(options, "math", maths())) {
    settings.maths.push_back(math_from(word));
  }
  settings.rows = counts_of(options, "rows");
  settings.isa = experts::isa_from(options.text("isa"));
  for (const auto& word : words_of(options, "backend", {"ours", "openblas"})) {
    settings.openblas = settings.openblas || word == "openblas";
  }
  for (const auto& word : words_of(options, "pages", {"private", "shared"})) {
    settings.shared_pages = settings.shared_pages || word == "shared";
  }
  settings.free_order = options.flag("free-order");
  settings.cold_bytes = static_cast<std::int64_t>(1e6 * options.real("cold"));
  settings.seed = static_cast<std::uint64_t>(options.integer("seed"));
  settings.budget = bench_budget(options);
  settings.inject = options.text("inject") != "none";
  return settings;
}

/// "float32, native"
std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::vector<comm::Field> prepare(const Options& options) {
  static_cast<void>(settings_of(options));
  return prepare_bench(options, {"rows"});
}

void print(const FfnReport& report, const FfnSettings& settings, const std::string& model,
           std::ostream& out) {
  out << "# one expert of " << model << ", " << settings.expert.hidden << " x "
      << settings.expert.width << ", kernels " << experts::name_of(settings.isa)
      << ", one thread a rank, cold weights; slowest rank\n"
      << "# roofline: the longer of what the probes beside a row allow for its bytes and its "
         "operations, over its time\n";
  if (!report.openblas.empty()) out << "# " << report.openblas << "\n";
  std::vector<std::string> heads{"weights",   "math",         "rows",      "min us",
                                 "median us", "p99 us",       "max us",    "cpu us",
                                 "GFLOP/s",   "weights GB/s", "read GB/s", "peak GFLOP/s",
                                 "roofline",  "cpu roofline"};
  if (settings.shared_pages) heads.insert(heads.end(), {"shared us", "shared/private"});
  if (settings.free_order) heads.insert(heads.end(), {"free order us", "order costs"});
  if (settings.openblas) heads.insert(heads.end(), {"openblas us", "openblas/ours"});
  heads.insert(heads.end(), {"error", "#wrong"});
  Table table(std::move(heads));
  for (const FfnResult& r : report.results) {
    std::vector<std::string> cells{std::string(experts::name_of(r.weights)),
                                   std::string(experts::name_of(r.math)),
                                   std::to_string(r.rows),
                                   figure(r.us.min),
                                   figure(r.us.median),
                                   figure(r.us.p99),
                                   figure(r.us.max),
                                   figure(r.cpu_us_median),
                                   figure(r.gflops),
                                   figure(r.weights_gb_per_s),
                                   figure(r.read_gb_per_s),
                                   figure(r.peak_gflops),
                                   decimal(100 * r.roofline_fraction, 1) + " %",
                                   decimal(100 * r.cpu_roofline_fraction, 1) + " %"};
    if (settings.shared_pages) {
      cells.insert(cells.end(),
                   {figure(r.shared_pages_us_median), decimal(r.shared_pages_ratio, 2)});
    }
    if (settings.free_order) {
      cells.insert(cells.end(),
                   {figure(r.free_order_us_median), decimal(100 * r.order_cost, 1) + " %"});
    }
    if (settings.openblas) {
      cells.insert(cells.end(), {figure(r.openblas_us_median), decimal(r.openblas_ratio, 2)});
    }
    cells.insert(cells.end(), {figure(r.error_of_rms), std::to_string(r.wrong)});
    table.row(std::move(cells));
  }
  table.print(out);
}

nlohmann::ordered_json to_json(const FfnReport& report, const FfnSettings& settings) {
  auto results = nlohmann::ordered_json::array();
  for (const FfnResult& r : report.results) {
    nlohmann::ordered_json row{{"weights", experts::name_of(r.weights)},
                               {"math", experts::name_of(r.math)},
                               {"math_name", r.math_name},
                               {"rows", r.rows},
                               {"repetitions", r.repetitions},
                               {"experts", r.experts},
                               {"weight_bytes", r.weight_bytes}};
    put(row, "us", r.us);
    row["cpu_us_median"] = r.cpu_us_median;
    row["gflops"] = r.gflops;
    row["weights_gb_per_s"] = r.weights_gb_per_s;
    row["read_gb_per_s"] = r.read_gb_per_s;
    row["peak_gflops"] = r.peak_gflops;
    row["peak_of"] = r.peak_of;
    row["roofline_fraction"] = r.roofline_fraction;
    row["cpu_roofline_fraction"] = r.cpu_roofline_fraction;
    row["peak_fraction"] = r.peak_fraction;
    row["error_of_rms"] = r.error_of_rms;
    row["error_limit"] = r.error_limit;
    row["wrong"] = r.wrong;
    if (settings.shared_pages) {
      row["shared_pages_us_median"] = r.shared_pages_us_median;
      row["shared_pages_ratio"] = r.shared_pages_ratio;
    }
    if (r.free_order_us_median > 0) {
      row["free_order_us_median"] = r.free_order_us_median;
      row["order_cost"] = r.order_cost;
    }
    if (r.openblas_us_median > 0) {
      row["openblas_us_median"] = r.openblas_us_median;
      row["openblas_ratio"] = r.openblas_ratio;
      row["openblas_error_of_rms"] = r.openblas_error_of_rms;
    }
    results.push_back(std::move(row));
  }
  return results;
}

/// "kernel avx512 float32: 93 % of the peak at 256 rows", and a warning where it is poor.
void self_test(const Context& context, const FfnReport& report, const FfnSettings& settings) {
  std::vector<const FfnResult*> best;
  for (const FfnResult& r : report.results) {
    if (r.rows < kManyRows) continue;
    const bool same =
        !best.empty() && best.back()->weights == r.weights && best.back()->math == r.math;
    if (!same) best.push_back(&r);
    if (r.peak_fraction > best.back()->peak_fraction) best.back() = &r;
  }
  for (const FfnResult* r : best) {
    const std::string text = "kernel " + std::string(experts::name_of(settings.isa)) + " " +
                             std::string(experts::name_of(r->weights)) + ", math " + r->math_name +
                             ": " + decimal(100 * r->peak_fraction, 0) +
                             " % of what this processor does in " + r->peak_of + " products at " +
                             std::to_string(r->rows) + " rows";
    context.out << text << "\n";
    if (context.first() && r->peak_fraction < kPoorFraction) context.reporter.warning(text);
  }
}

int run(Context& context) {
  const FfnSettings settings = settings_of(context.options);
  const FfnReport report = runtime::bench::bench_ffn(context.group(), settings);
  print(report, settings, bench_model(context.options).name(), context.out);
  print_machine(report.steadiness, context.out);
  self_test(context, report, settings);
  if (context.json.wanted()) {
    nlohmann::ordered_json json = bench_header(context, "bench ffn", report.steadiness);
    json["isa"] = experts::name_of(settings.isa);
    json["threads_per_rank"] = 1;
    json["hidden"] = settings.expert.hidden;
    json["width"] = settings.expert.width;
    if (settings.openblas) json["openblas"] = report.openblas;
    json["results"] = to_json(report, settings);
    context.json.write(json);
  }
  std::int64_t wrong = 0;
  for (const FfnResult& r : report.results) wrong += r.wrong;
  return wrong > 0 ? runtime::kCheckFailed : runtime::kDone;
}
}  // namespace

Command bench_ffn_command() {
  auto options = bench_options(1);
  options.push_back(text_option("rows", "COUNT,...", "of an expert", "1,2,4,8,16,64,256"));
  options.push_back(text_option("weights", "TYPE,...", "stored types: " + listed(stored_types()),
                                "float32,bfloat16"));
  options.push_back(text_option(
      "math", "TYPE,...",
      "what products are computed in, native where there is any: " + listed(maths()), "float32"));
  options.push_back(isa_option("instructions of the kernels"));
  options.push_back(
      text_option("backend", "NAME,...", "ours; openblas: beside it sgemm, for float32", "ours"));
  options.push_back(text_option(
      "pages", "NAME,...", "private; shared: beside it weights as a node shares them", "private"));
  options.push_back(real_option("cold", "MEGABYTES",
                                "of weights that take turns; 0: 400, or four times the last cache",
                                0, {.least = 0, .most = 1e6}));
  options.push_back(
      flag_option("free-order", "beside float32 products: the same with additions in any order"));
  options.push_back(bench_inject_option());
  return {
      .name = "bench ffn",
      .summary = "one expert on one thread against the limits of the processor, checked and timed",
      .needs_mpi = true,
      .options = std::move(options),
      .prepare = prepare,
      .run = run};
}
}  // namespace switchyard::launch
