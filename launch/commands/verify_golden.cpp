// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <optional>

#include "launch/commands/all.hpp"
#include "launch/commands/run_options.hpp"
#include "launch/progress.hpp"
#include "runtime/layer/inject.hpp"
#include "runtime/status.hpp"
#include "runtime/verify/golden.hpp"

namespace switchyard::launch {
namespace {
struct Tally {
  std::int64_t cases = 0;
  std::int64_t failed = 0;
  double worst_over_limit = 0;
};

std::string line_of(const runtime::GoldenResult& result) {
  char text[512];
  const auto& output = result.errors.front();
  std::snprintf(text, sizeof text,
                "%-6s %-24s output %.2e of rms (limit %.0e)  logits %.1e (%.0e)  weights %.1e "
                "(%.0e)  %lld tokens, %lld rows crossed  [%s]  %lld tensors of the backward pass "
                "and the loss not run",
                result.passed() ? "ok" : "FAILED", result.name.c_str(), output.error, output.limit,
                result.errors[1].error, result.errors[1].limit, result.errors[2].error,
                result.errors[2].limit, static_cast<long long>(result.tokens),
                static_cast<long long>(result.rows_out), result.path.c_str(),
                static_cast<long long>(result.not_forward));
  return text;
}

nlohmann::ordered_json to_json(const runtime::GoldenResult& result) {
  nlohmann::ordered_json json{{"name", result.name},
                              {"passed", result.passed()},
                              {"path", result.path},
                              {"tokens", result.tokens},
                              {"rows_out", result.rows_out},
                              {"tensors_not_run", result.not_forward},
                              {"worst_over_limit", result.worst_over_limit()},
                              {"failures", result.failures}};
  for (const auto& error : result.errors) {
    json["errors"].push_back(
        {{"quantity", error.quantity}, {"error", error.error}, {"limit", error.limit}});
  }
  return json;
}

/// All files of all paths. @throws std::invalid_argument  "verify golden: got 0 cases, ..."
std::vector<std::filesystem::path> files_of(const Options& options) {
  std::vector<std::filesystem::path> files;
  for (const std::string& path : options.positionals()) {
    for (auto& file : runtime::golden_files(path)) files.push_back(std::move(file));
  }
  return files;
}

int run(Context& context) {
  std::vector<std::filesystem::path> files;
  runtime::LayerOptions layer;
  runtime::together(context.group(), [&] {
    files = files_of(context.options);
    layer = layer_settings(context.options);
    layer.math = math_of(context.options);
  });
  layer.inject = runtime::inject_from(context.options.text("inject"));

  Tally tally;
  std::string lines;  // printed at the end, so that the progress line does not run through them
  auto cases = nlohmann::ordered_json::array();
  Progress progress("switchyard verify golden: case", context.first());
  for (const auto& file : files) {
    progress.at(tally.cases, static_cast<std::int64_t>(files.size()));
    std::optional<runtime::GoldenBlock> block;
    runtime::together(context.group(), [&] { block.emplace(runtime::read_golden(file)); });
    const std::string stored = context.options.text("weights");
    layer.stored =
        stored == "auto" ? block->weights->expert(0).up.type : experts::dtype_from(stored);
    const auto result =
        runtime::check_golden(context.group(), *block, layer, context.options.text("placement"));
    ++tally.cases;
    if (!result.passed()) ++tally.failed;
    tally.worst_over_limit = std::max(tally.worst_over_limit, result.worst_over_limit());
    lines += line_of(result) + "\n";
    for (const auto& failure : result.failures) lines += "       " + failure + "\n";
    cases.push_back(to_json(result));
  }
  progress.clear();
  context.out << lines;
  char text[160];
  std::snprintf(text, sizeof text,
                "%lld cases, %lld failed, worst error %.3f of its limit, %d ranks",
                static_cast<long long>(tally.cases), static_cast<long long>(tally.failed),
                tally.worst_over_limit, context.group().size());
  context.out << text << '\n';
  if (tally.cases == 0) context.out << "no case at all: that is a failure\n";
  if (context.json.wanted()) {
    context.json.write({{"cases", tally.cases},
                        {"failed", tally.failed},
                        {"worst_over_limit", tally.worst_over_limit},
                        {"results", std::move(cases)}});
  }
  return tally.cases == 0 || tally.failed > 0 ? runtime::kCheckFailed : runtime::kDone;
}
}  // namespace

Command verify_golden_command() {
  auto options = layer_options();
  for (Option& option : math_options()) options.push_back(std::move(option));
  options.push_back(inject_option());
  return {.name = "verify golden",
          .summary = "blocks computed by the families' official code, run again over these ranks",
          .needs_mpi = true,
          .options = std::move(options),
          .positionals = {.unit = "PATH",
                          .help = "moe-golden/1 files, or folders of them",
                          .least = 1,
                          .most = 10000},
          .run = run};
}
}  // namespace switchyard::launch
