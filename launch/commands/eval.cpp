// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include "launch/commands/all.hpp"
#include "launch/commands/whole_model.hpp"
#include "launch/progress.hpp"
#include "runtime/generate/evaluate.hpp"
#include "runtime/generate/prompts.hpp"
#include "runtime/status.hpp"
#include "runtime/text_proto.hpp"

namespace switchyard::launch {
namespace {
/// Tokens of a window, where nobody says.
constexpr std::int64_t kContext = 2048;

runtime::TokenIds ids_of(const Options& options) {
  if (options.has("ids")) {
    const std::string file = options.text("ids");
    return runtime::ids_from(runtime::read_text(file), file);
  }
  const auto rules = tokenizer_of(options, true);
  return runtime::ids_of_text(*rules, runtime::read_text(options.text("text")));
}

runtime::EvaluateSettings settings_of(const Options& options, std::int64_t max_context,
                                      std::int64_t tokens) {
  runtime::EvaluateSettings settings;
  settings.context = options.integer("context");
  if (settings.context == 0) {
    settings.context = std::max<std::int64_t>(2, std::min(kContext, tokens));
    if (max_context > 0) settings.context = std::min(settings.context, max_context);
  }
  settings.stride = options.has("stride") ? options.integer("stride") : settings.context;
  return settings;
}

std::vector<comm::Field> prepare(const Options& options) {
  if (options.has("text") == options.has("ids")) {
    throw std::invalid_argument(options.has("text") ? "eval: got --text and --ids, want one"
                                                    : "eval: got neither --text nor --ids, want "
                                                      "one");
  }
  return prepare_whole_model(options);
}

int run(Context& context) {
  comm::Group& group = context.group();
  runtime::TokenIds ids;
  runtime::together(group, [&] {
    if (context.first()) ids = ids_of(context.options);
  });
  ids = runtime::shared(group, {ids}).front();
  WholeModel whole(context, [&](const runtime::Model& model) {
    const std::int64_t window = settings_of(context.options, runtime::max_context_of(model),
                                            static_cast<std::int64_t>(ids.size()))
                                    .context;
    return runtime::ModelUse{.context = window, .tokens = window};
  });
  runtime::EvaluateSettings settings;
  runtime::together(group, [&] {
    settings = settings_of(context.options, whole.model->max_context(),
                           static_cast<std::int64_t>(ids.size()));
    runtime::validate(ids, settings, whole.model->vocabulary(), whole.model->max_context());
  });
  runtime::RoutingLoad load;
  const bool stats = context.options.flag("routing-stats");
  Progress progress("switchyard eval: window", context.first());
  const runtime::Evaluated result = runtime::evaluate(
      group, *whole.model, ids, settings,
      [&](std::int64_t done, std::int64_t of) { progress.at(done, of); }, stats ? &load : nullptr);
  progress.clear();
  std::vector<runtime::LayerLoad> layers;
  if (stats) layers = load.sum(group);

  const auto packing = whole.packing(context, result.seconds);
  print_whole(whole, group.size(), packing, context.out);
  print_row(context.out, "text",
            std::to_string(ids.size()) + " tokens in " + std::to_string(result.windows) +
                " windows of " + std::to_string(settings.context) + ", " +
                std::to_string(settings.stride) + " apart; " + std::to_string(result.tokens) +
                " tokens scored in " + fixed(result.seconds, 3) + " s");
  print_row(context.out, "loss", fixed(result.loss, 9) + " nats a token");
  print_row(context.out, "perplexity", fixed(result.perplexity, 6));
  if (stats) print_routing(layers, context.out);
  if (context.json.wanted()) {
    auto json = whole_json(whole, packing);
    json["loss"] = result.loss;
    json["perplexity"] = result.perplexity;
    json["tokens"] = result.tokens;
    json["text_tokens"] = ids.size();
    json["windows"] = result.windows;
    json["context"] = settings.context;
    json["stride"] = settings.stride;
    json["seconds"] = result.seconds;
    json["tokens_per_s"] =
        result.seconds > 0 ? static_cast<double>(result.tokens) / result.seconds : 0;
    if (stats) json["routing"] = routing_json(layers);
    context.json.write(json);
  }
  return runtime::kDone;
}
}  // namespace

Command eval_command() {
  std::vector<Option> options{
      text_option("text", "FILE", "a text to be foretold"),
      text_option("ids", "FILE", "the same as token ids, apart by commas or white space"),
      integer_option("context", "TOKENS",
                     "of a window; 0: the model's longest, and at most " + std::to_string(kContext),
                     0),
      integer_option("stride", "TOKENS",
                     "from one window to the next; without: a window, so that none overlap",
                     std::nullopt, {.least = 1}),
      integer_option("seed", "NUMBER", "of synthetic weights", 1, {.least = 0}),
  };
  auto shared = whole_model_options();
  options.insert(options.end(), std::make_move_iterator(shared.begin()),
                 std::make_move_iterator(shared.end()));
  return {.name = "eval",
          .summary = "how well a whole model foretells a text: loss and perplexity",
          .needs_mpi = true,
          .options = std::move(options),
          .prepare = prepare,
          .run = run};
}
}  // namespace switchyard::launch
