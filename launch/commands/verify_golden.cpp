// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <optional>

#include "launch/commands/all.hpp"
#include "launch/commands/pack_options.hpp"
#include "launch/commands/run_options.hpp"
#include "launch/progress.hpp"
#include "runtime/layer/inject.hpp"
#include "runtime/status.hpp"
#include "runtime/verify/golden.hpp"
#include "runtime/verify/golden_model.hpp"

namespace switchyard::launch {
namespace {
struct Tally {
  std::int64_t cases = 0;
  std::int64_t failed = 0;
  double worst_over_limit = 0;
};

std::string line_of_model(const runtime::GoldenResult& result) {
  char text[512];
  std::snprintf(
      text, sizeof text,
      "%-6s %-24s whole model: worst layer value %.2e of rms (limit %.0e)  router logits "
      "%.1e (%.0e)  weights %.1e (%.0e)  %lld tokens  logits %.16s  [%s]  %lld tensors of "
      "the backward pass and the loss not run",
      result.passed() ? "ok" : "FAILED", result.name.c_str(), result.errors[0].error,
      result.errors[0].limit, result.errors[1].error, result.errors[1].limit,
      result.errors[2].error, result.errors[2].limit, static_cast<long long>(result.tokens),
      result.digest.c_str(), result.path.c_str(), static_cast<long long>(result.not_forward));
  return text;
}

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
  if (!result.digest.empty()) json["logits_digest"] = result.digest;
  for (const auto& error : result.errors) {
    json["errors"].push_back(
        {{"quantity", error.quantity}, {"error", error.error}, {"limit", error.limit}});
  }
  return json;
}

/// Blocks in files, and whole models in folders.
struct Cases {
  std::vector<std::filesystem::path> blocks;
  std::vector<std::filesystem::path> models;
};

/// Of all paths. @throws std::invalid_argument  a path without any
Cases cases_of(const Options& options) {
  Cases cases;
  for (const std::string& path : options.positionals()) {
    const auto models = runtime::golden_models(path);
    const bool inside_model = !models.empty() && !std::filesystem::is_directory(path);
    const auto blocks =
        inside_model ? std::vector<std::filesystem::path>{} : runtime::golden_files(path);
    if (models.empty() && blocks.empty()) {
      throw std::invalid_argument(path +
                                  ": no golden files, want .safetensors files of "
                                  "moe-golden/1, or whole models: config.json and "
                                  "golden.safetensors in a folder");
    }
    cases.models.insert(cases.models.end(), models.begin(), models.end());
    cases.blocks.insert(cases.blocks.end(), blocks.begin(), blocks.end());
  }
  return cases;
}

runtime::GoldenResult check_block(Context& context, const std::filesystem::path& file,
                                  runtime::LayerOptions layer) {
  std::optional<runtime::GoldenBlock> block;
  runtime::together(context.group(), [&] { block.emplace(runtime::read_golden(file)); });
  const std::string stored = context.options.text("weights");
  layer.stored = stored == "auto" ? runtime::own_type(*block->weights, block->spec.router.experts)
                                  : experts::dtype_from(stored);
  if (runtime::pack_mode_from(context.options.text("pack")) == runtime::PackMode::kLazy) {
    layer.node_queue = false;
    layer.pack_budget = std::make_shared<runtime::PackBudget>(0);
  }
  return runtime::check_golden(context.group(), *block, layer, context.options.text("placement"));
}

runtime::GoldenResult check_model(Context& context, const std::filesystem::path& folder,
                                  const runtime::LayerOptions& layer) {
  std::optional<runtime::GoldenModel> golden;
  runtime::TransformerOptions options{.layer = layer,
                                      .placement = context.options.text("placement")};
  runtime::together(context.group(), [&] {
    golden.emplace(runtime::read_golden_model(folder));
    const auto& checkpoint = golden->checkpoint;
    const std::string stored = context.options.text("weights");
    options.layer.stored =
        stored == "auto" ? runtime::own_type(checkpoint) : experts::dtype_from(stored);
  });
  const runtime::ModelUse use{
      .sequences = (golden->sequences + context.group().size() - 1) / context.group().size(),
      .context = golden->length + golden->continued,
      .tokens = golden->length};
  static_cast<void>(settle_packing(context, golden->checkpoint.model(), use, options.layer));
  return runtime::check_golden_model(context.group(), *golden, options);
}

int run(Context& context) {
  Cases found;
  runtime::LayerOptions layer;
  runtime::together(context.group(), [&] {
    found = cases_of(context.options);
    layer = layer_settings(context.options);
    layer.math = math_of(context.options);
  });
  layer.pack_cache = pack_cache_of(context);
  layer.inject = runtime::inject_from(context.options.text("inject"));

  Tally tally;
  std::string lines;  // printed at the end, so that the progress line does not run through them
  auto cases = nlohmann::ordered_json::array();
  Progress progress("switchyard verify golden: case", context.first());
  const auto all = static_cast<std::int64_t>(found.blocks.size() + found.models.size());
  const auto count = [&](const runtime::GoldenResult& result, const std::string& line) {
    ++tally.cases;
    if (!result.passed()) ++tally.failed;
    tally.worst_over_limit = std::max(tally.worst_over_limit, result.worst_over_limit());
    lines += line + "\n";
    for (const auto& failure : result.failures) lines += "       " + failure + "\n";
    cases.push_back(to_json(result));
  };
  for (const auto& file : found.blocks) {
    progress.at(tally.cases, all);
    const auto result = check_block(context, file, layer);
    count(result, line_of(result));
  }
  for (const auto& folder : found.models) {
    progress.at(tally.cases, all);
    const auto result = check_model(context, folder, layer);
    count(result, line_of_model(result));
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
  for (auto* const more : {&math_options, &pack_options}) {
    for (Option& option : (*more)()) options.push_back(std::move(option));
  }
  options.push_back(inject_option());
  return {
      .name = "verify golden",
      .summary = "blocks and whole models computed by official code, run again over these ranks",
      .needs_mpi = true,
      .options = std::move(options),
      .positionals = {.unit = "PATH",
                      .help = "moe-golden/1 files, folders of whole models, or folders of them",
                      .least = 1,
                      .most = 10000},
      .run = run};
}
}  // namespace switchyard::launch
