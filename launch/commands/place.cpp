// SPDX-License-Identifier: Apache-2.0
// place plan, eval, compare: where experts should live, and what that is worth.
#include <algorithm>
#include <stdexcept>

#include "launch/commands/all.hpp"
#include "launch/commands/place_options.hpp"
#include "launch/commands/place_report.hpp"
#include "runtime/report/whole_file.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
using runtime::Contender;
using runtime::LayerPlacement;
using runtime::Placement;

Option policy_option() {
  std::vector<std::string> names;
  for (const auto& policy : runtime::policies()) names.emplace_back(policy.name);
  return choice_option("policy", names, "that makes the placement", "search");
}

Option windows_option() {
  return integer_option(
      "windows", "COUNT",
      "that the steps are cut into; a plan from one is judged on the next; 2 if there "
      "are as many steps",
      std::nullopt, {.least = 1});
}

std::vector<runtime::StepWindow> windows_of(const PlaceRequest& request, const Options& options) {
  const std::int64_t steps = request.steps->steps();
  return runtime::cut_windows(steps, options.has("windows") ? options.integer("windows")
                                                            : std::min<std::int64_t>(2, steps));
}

/// One placement for every layer, or one for all from what all layers chose.
std::vector<LayerPlacement> plan_all(const PlaceRequest& request, const runtime::Policy& policy,
                                     bool shared) {
  auto& steps = *request.steps;
  const runtime::StepWindow all{.first = 0, .count = steps.steps()};
  const auto planned = [&](const std::vector<experts::Routing>& tokens) {
    const runtime::LayerLoad load{.rows = runtime::load_of(tokens, steps.experts()),
                                  .tokens = tokens};
    return runtime::place(policy, load, request.judge.shape, request.judge.options);
  };
  std::vector<LayerPlacement> plan;
  std::vector<experts::Routing> gathered;
  for (std::int64_t layer = 0; layer < steps.layers(); ++layer) {
    auto tokens = runtime::tokens_in(steps, layer, all);
    if (!shared) {
      plan.push_back({.layer = steps.layer_number(layer), .placement = planned(tokens)});
      continue;
    }
    for (auto& step : tokens) gathered.push_back(std::move(step));
  }
  if (shared) plan.push_back({.layer = runtime::kEveryLayer, .placement = planned(gathered)});
  return plan;
}

void write_plan(const std::string& file, const std::vector<LayerPlacement>& plan,
                const std::string& comment) {
  const std::string text = comment + "\n" + runtime::to_text(plan);
  runtime::WholeFile whole("--out", file);
  whole.write(std::as_bytes(std::span(text)));
  whole.commit();
}

int place_plan(Context& context) {
  const Options& options = context.options;
  const PlaceRequest request = place_request(options);
  const auto policy = runtime::policy_from(options.text("policy"));
  const bool shared = options.flag("shared") || request.steps->layers() == 1;
  const auto plan = plan_all(request, policy, shared);
  Contender contender{.name = options.text("policy"), .policy = {}, .fixed = {}};
  for (std::int64_t layer = 0; layer < request.steps->layers(); ++layer) {
    contender.fixed.push_back(plan[shared ? 0 : static_cast<std::size_t>(layer)].placement);
  }
  const auto windows = runtime::cut_windows(request.steps->steps(), 1);
  const auto trials = runtime::judge(*request.steps, windows, {contender}, request.judge);
  context.out << describe(request) << "\n# judged on the steps that it was made from\n";
  print_table(request, trials, context.out);
  print_details(request, trials[0], context.out);
  if (options.has("out")) {
    write_plan(options.text("out"), plan,
               "# " + contender.name + " " + describe(request).substr(2));
    context.out << "run --placement " << options.text("out") << '\n';
  }
  if (context.json.wanted()) {
    nlohmann::ordered_json json = to_json(request);
    json.update(to_json(request, trials[0]));
    nlohmann::ordered_json layers = nlohmann::ordered_json::array();
    for (const auto& [number, placement] : plan) {
      nlohmann::ordered_json ranks = nlohmann::ordered_json::array();
      for (int rank = 0; rank < placement.ranks(); ++rank) {
        const auto experts = placement.experts_of(rank);
        ranks.push_back(std::vector<std::int32_t>(experts.begin(), experts.end()));
      }
      layers.push_back({{"layer", number}, {"experts_of_ranks", std::move(ranks)}});
    }
    json["placements"] = std::move(layers);
    context.json.write(json);
  }
  return runtime::kDone;
}

int place_eval(Context& context) {
  const Options& options = context.options;
  PlaceRequest request = place_request(options);
  if (options.has("from")) request.judge.before = placements_of(request, options.text("from"));
  const std::string name = options.text("placement");
  Contender contender{.name = name, .policy = {}, .fixed = {}};
  constexpr std::string_view kPolicy = "policy:";
  if (name.starts_with(kPolicy)) {
    contender.policy = runtime::policy_from(name.substr(kPolicy.size()));
  } else {
    contender.fixed = placements_of(request, name);
  }
  const auto windows = windows_of(request, options);
  const auto trials = runtime::judge(*request.steps, windows, {contender}, request.judge);
  context.out << describe(request) << '\n';
  print_windows(trials[0], context.out);
  print_details(request, trials[0], context.out);
  if (context.json.wanted()) {
    nlohmann::ordered_json json = to_json(request);
    json.update(to_json(request, trials[0]));
    context.json.write(json);
  }
  return runtime::kDone;
}

int place_compare(Context& context) {
  const Options& options = context.options;
  const PlaceRequest request = place_request(options);
  std::vector<Contender> contenders;
  for (const auto& policy : runtime::policies()) {
    contenders.push_back({.name = std::string(policy.name), .policy = policy, .fixed = {}});
  }
  for (const std::string& file : options.list("placement")) {
    contenders.push_back({.name = file, .policy = {}, .fixed = placements_of(request, file)});
  }
  const auto windows = windows_of(request, options);
  const auto trials = runtime::judge(*request.steps, windows, contenders, request.judge);
  context.out << describe(request) << "\n# "
              << (windows.size() == 1 ? "one window: judged on the steps that plans were made from"
                                      : "plans from each window, judged on the next")
              << '\n';
  print_table(request, trials, context.out);
  if (context.json.wanted()) {
    nlohmann::ordered_json json = to_json(request);
    json["windows"] = windows.size();
    json["policies"] = nlohmann::ordered_json::array();
    for (const auto& trial : trials) json["policies"].push_back(to_json(request, trial));
    context.json.write(json);
  }
  return runtime::kDone;
}

std::vector<Option> with(std::vector<Option> options) {
  for (Option& option : place_options()) options.push_back(std::move(option));
  return options;
}
}  // namespace

Command place_plan_command() {
  return {
      .name = "place plan",
      .summary = "a placement from a routing trace or a table of loads",
      .options = with({policy_option(), output_option("out", "FILE", "for run --placement FILE"),
                       flag_option("shared", "one placement for all layers")}),
      .run = place_plan};
}

Command place_eval_command() {
  return {.name = "place eval",
          .summary = "balance, traffic, memory and migration of a placement, window by window",
          .options = with({text_option("placement", "NAME|FILE",
                                       "linear, round-robin, a file, or policy:NAME, which plans "
                                       "anew from every window",
                                       "linear"),
                           text_option("from", "NAME|FILE", "where experts are at first", "linear"),
                           windows_option()}),
          .run = place_eval};
}

Command place_compare_command() {
  return {.name = "place compare",
          .summary = "every policy on the same tokens, in one table",
          .options = with({list_option("placement", "FILE", "one more to compare; may be repeated"),
                           windows_option()}),
          .run = place_compare};
}
}  // namespace switchyard::launch
