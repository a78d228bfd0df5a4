// SPDX-License-Identifier: Apache-2.0
// calibrate: measures the machine that it runs on, and writes it down as one to simulate on.
#include "runtime/simulate/calibrate.hpp"

#include <cmath>
#include <ctime>
#include <unistd.h>

#include "launch/commands/all.hpp"
#include "launch/commands/bench_report.hpp"
#include "launch/commands/run_options.hpp"
#include "launch/version.hpp"
#include "runtime/report/whole_file.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
runtime::CalibrateSettings settings_of(const Options& options) {
  runtime::CalibrateSettings settings;
  settings.name = options.text("name");
  settings.processors = static_cast<int>(options.integer("processors"));
  settings.most_bytes = options.integer("most-bytes");
  settings.seconds = options.real("message-seconds");
  auto& kernels = settings.kernels;
  kernels.expert = bench_model(options).block().expert;
  for (const auto& word : words_of(options, "weights", stored_types())) {
    kernels.weights.push_back(experts::dtype_from(word));
  }
  kernels.maths = {experts::Math::kFloat32};
  kernels.rows = counts_of(options, "rows");
  kernels.cold_bytes = static_cast<std::int64_t>(1e6 * options.real("cold"));
  kernels.seed = static_cast<std::uint64_t>(options.integer("seed"));
  kernels.budget = bench_budget(options);
  return settings;
}

/// Which host, when and with what; the figures are in the file itself.
std::string source_of(const comm::Group& group) {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  const std::time_t now = std::time(nullptr);
  char day[32];
  std::tm parts{};
  std::strftime(day, sizeof day, "%Y-%m-%d", ::gmtime_r(&now, &parts));
  return "switchyard calibrate, version " + version() + ", " + std::to_string(group.size()) +
         " ranks, first on " + host + ", " + day;
}

std::vector<comm::Field> prepare(const Options& options) {
  static_cast<void>(settings_of(options));
  return prepare_bench(options, {"rows"});
}

void print(const runtime::Calibration& result, std::ostream& out) {
  Table table({"measured", "us", "fit us", "error", "used for the fit"});
  double worst = 0;
  double sum = 0;
  double apart = 0;
  for (const auto& residual : result.residuals) {
    table.row({residual.what, figure(1e6 * residual.measured_s), figure(1e6 * residual.fitted_s),
               decimal(100 * residual.error(), 1) + " %", residual.used ? "yes" : "no"});
    if (residual.used) continue;
    worst = std::max(worst, std::abs(residual.error()));
    sum += std::abs(residual.error());
    ++apart;
  }
  table.print(out);
  if (apart > 0) {
    out << "errors of what was kept apart: mean " << decimal(100 * sum / apart, 1) << " %, worst "
        << decimal(100 * worst, 1) << " %\n";
  }
  if (result.exchange_ratio > 0) {
    const bool half = result.machine.nodes > 1
                          ? result.machine.cost(runtime::Tier::kRack).half_duplex
                          : result.machine.cost(runtime::Tier::kNode).half_duplex;
    out << "an exchange takes " << decimal(result.exchange_ratio, 2)
        << " times one way: " << (half ? "half" : "full") << " duplex\n";
  }
}

int run_calibrate(Context& context) {
  const Options& options = context.options;
  runtime::CalibrateSettings settings = settings_of(options);
  settings.source = source_of(context.group());
  std::unique_ptr<runtime::WholeFile> file;
  if (context.first() && options.has("output")) {
    file = std::make_unique<runtime::WholeFile>("--output", options.text("output"));
  }
  const auto result = runtime::calibrate(context.group(), settings, {});
  if (!context.first()) return runtime::kDone;
  const std::string text = runtime::to_text(result.machine);
  print(result, context.out);
  if (file) {
    file->write(std::as_bytes(std::span(text)));
    file->commit();
    context.out << "machine file: " << options.text("output") << '\n';
  } else {
    context.out << '\n' << text;
  }
  if (!context.json.wanted()) return runtime::kDone;
  auto residuals = nlohmann::ordered_json::array();
  for (const auto& residual : result.residuals) {
    residuals.push_back({{"measured", residual.what},
                         {"measured_us", 1e6 * residual.measured_s},
                         {"fitted_us", 1e6 * residual.fitted_s},
                         {"error", residual.error()},
                         {"used", residual.used}});
  }
  context.json.write(
      {{"machine", text}, {"exchange_ratio", result.exchange_ratio}, {"residuals", residuals}});
  return runtime::kDone;
}
}  // namespace

Command calibrate_command() {
  std::vector<Option> options = bench_options(2);
  options.push_back(text_option("name", "NAME", "of the machine in its file", "calibrated"));
  options.push_back(output_option("output", "FILE", "the machine file; without it: to stdout"));
  options.push_back(text_option("weights", "LIST", "stored types of experts to measure",
                                "float32,bfloat16,int8"));
  options.push_back(text_option("rows", "LIST", "of an expert to measure", "1,4,16,64,256"));
  options.push_back(real_option("cold", "MB", "of weights that take turns; 0: chosen", 0));
  options.push_back(integer_option("processors", "COUNT",
                                   "that all nodes share, of an emulated cluster; 0: their own", 0,
                                   {.least = 0, .most = 1 << 20}));
  options.push_back(integer_option("most-bytes", "BYTES", "of the longest message", 4 << 20,
                                   {.least = 4096, .most = std::int64_t{1} << 30}));
  options.push_back(real_option("message-seconds", "SECONDS", "for each size of message", 0.3,
                                {.least = 0, .above = true}));
  return {.name = "calibrate",
          .summary = "measures this machine for simulate: messages by size, contention, experts",
          .needs_mpi = true,
          .options = std::move(options),
          .prepare = prepare,
          .run = run_calibrate};
}
}  // namespace switchyard::launch
