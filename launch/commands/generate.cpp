// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/generate.hpp"

#include <algorithm>
#include <iterator>
#include <optional>

#include "launch/commands/all.hpp"
#include "launch/commands/generate_parts.hpp"
#include "launch/commands/run_options.hpp"
#include "launch/commands/serve.hpp"
#include "launch/commands/whole_model.hpp"
#include "runtime/generate/prompts.hpp"
#include "runtime/generate/recorded_model.hpp"
#include "runtime/run/recording.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
constexpr const char* kPromptFlags[] = {"prompt", "prompt-ids", "prompt-file", "prompt-tokens"};

std::vector<comm::Field> prepare(const Options& options) {
  std::string given;
  for (const char* flag : kPromptFlags) {
    if (!options.has(flag)) continue;
    if (!given.empty()) {
      throw std::invalid_argument("generate: got " + given + " and --" + flag + ", want one");
    }
    given = std::string("--") + flag;
  }
  if (given.empty()) {
    throw std::invalid_argument(
        "generate: got no prompt, want --prompt, --prompt-ids, --prompt-file or --prompt-tokens");
  }
  if (!record_settings(options).to.empty() && options.flag("serve")) {
    throw std::invalid_argument("--serve: got it with --record-trace, want one of them");
  }
  return prepare_whole_model(options);
}

/// Opens the trace that the layers' routing goes to. @return  null: nothing is to be recorded
std::unique_ptr<runtime::RoutingRecorder> record_routing(Context& context, WholeModel& whole) {
  const runtime::RecordSettings settings = record_settings(context.options);
  if (settings.to.empty()) return nullptr;
  auto recorder = std::make_unique<runtime::RoutingRecorder>(
      context.group(), "--record-trace", settings.to,
      runtime::trace_info(whole.of, whole.of.block().router, whole.of.moe_layers(), settings.detail,
                          "recorded by switchyard generate: seed " +
                              std::to_string(context.options.integer("seed"))));
  for (runtime::MoeLayer* layer : whole.model->transformer().moe_layers()) {
    layer->tell(recorder.get());
  }
  return recorder;
}

int run(Context& context) {
  if (context.options.flag("serve")) return serve_generate(context);
  comm::Group& group = context.group();
  runtime::GenerateSettings settings = generate_settings(context.options);
  Prompts prompts;
  runtime::together(group, [&] {
    if (context.first()) prompts = prompts_of(context.options);
  });
  prompts.ids = runtime::shared(group, prompts.ids);
  runtime::TokenIds eos;
  if (context.first() && prompts.text && prompts.text->eos) eos.push_back(*prompts.text->eos);
  eos = runtime::shared(group, {eos}).front();

  WholeModel whole(context, [&](const runtime::Model& model) {
    return prepare_prompts(context.options, model, settings, group.size(), prompts);
  });
  runtime::together(group, [&] {
    settings.eos = ends_of(whole, context.options);
    if (settings.eos.empty()) settings.eos = eos;
  });

  std::optional<Shown> shown;
  if (context.first()) shown.emplace(prompts, context.out);
  std::vector<std::int64_t> counts(prompts.ids.size(), 0);
  const runtime::TokenSink sink = [&](std::int64_t sequence, std::int64_t id) {
    if (!shown) return;
    shown->add(sequence, id);
    const bool last = ++counts[static_cast<std::size_t>(sequence)] == settings.max_new_tokens;
    if (last || std::ranges::find(settings.eos, id) != settings.eos.end()) shown->end(sequence);
  };
  runtime::RoutingLoad load;
  const bool stats = context.options.flag("routing-stats");
  const auto recorder = record_routing(context, whole);
  std::optional<runtime::RecordedModel> recorded;
  if (recorder) recorded.emplace(group, *whole.model, *recorder);
  runtime::LanguageModel* model = whole.model.get();
  if (recorded) model = &*recorded;
  const runtime::Generated result =
      runtime::generate(group, *model, prompts.ids, settings, sink, stats ? &load : nullptr);
  if (recorded) recorded->finish();
  std::vector<runtime::LayerLoad> layers;
  if (stats) layers = load.sum(group);

  const auto packing = whole.packing(context, result.prefill_s + result.decode_s);
  context.out << '\n';
  print_whole(whole, group.size(), packing, context.out);
  print_generated(result, context.out);
  if (stats) print_routing(layers, context.out);
  if (context.json.wanted()) {
    auto json = whole_json(whole, packing);
    json.update(generated_json(result, prompts, *shown));
    if (stats) json["routing"] = routing_json(layers);
    context.json.write(json);
  }
  return runtime::kDone;
}
}  // namespace

Command generate_command() {
  const runtime::GenerateSettings defaults;
  std::vector<Option> options{
      {.name = "prompt",
       .unit = "TEXT",
       .help = "to be continued; '' where the tokenizer begins a text with an id of its own",
       .empty = true},
      text_option("prompt-ids", "ID,...", "the same as token ids; several prompts: 1,2,3;4,5"),
      text_option("prompt-file", "FILE", "a prompt a line"),
      text_option("prompt-tokens", "COUNT,...", "prompts of so many drawn ids, to measure"),
      integer_option("max-new-tokens", "COUNT", "of a prompt, unless it ends before",
                     defaults.max_new_tokens, {.least = 1}),
      integer_option("prefill-tokens", "COUNT",
                     "of prompts that a rank takes through the model at once",
                     defaults.prefill_tokens, {.least = 1}),
      real_option("temperature", "RATIO", "that logits are divided by; 0: the best token always",
                  defaults.sampler.temperature, {.most = 1e6}),
      integer_option("top-k", "COUNT", "only so many best tokens are drawn from; 0: all",
                     defaults.sampler.top_k),
      real_option("top-p", "SHARE", "only the fewest best tokens with this probability together",
                  defaults.sampler.top_p, {.most = 1, .above = true}),
      integer_option(
          "seed", "NUMBER",
          "of the draws, with the prompt's number and the token's position; of synthetic "
          "weights and prompts",
          static_cast<std::int64_t>(defaults.sampler.seed)),
  };
  for (Option& option : serve_options()) options.push_back(std::move(option));
  for (auto& option : record_options()) options.push_back(std::move(option));
  auto shared = whole_model_options();
  options.insert(options.end(), std::make_move_iterator(shared.begin()),
                 std::make_move_iterator(shared.end()));
  return {.name = "generate",
          .summary = "a whole model continues prompts: text in, text out",
          .needs_mpi = true,
          .options = std::move(options),
          .faults = true,
          .prepare = prepare,
          .run = run};
}
}  // namespace switchyard::launch
