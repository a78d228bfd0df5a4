// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/generate.hpp"

#include <algorithm>
#include <iterator>
#include <optional>

#include "launch/commands/all.hpp"
#include "launch/commands/whole_model.hpp"
#include "runtime/generate/prompts.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
constexpr const char* kPromptFlags[] = {"prompt", "prompt-ids", "prompt-file", "prompt-tokens"};

runtime::GenerateSettings settings_of(const Options& options) {
  runtime::GenerateSettings settings;
  settings.max_new_tokens = options.integer("max-new-tokens");
  settings.prefill_tokens = options.integer("prefill-tokens");
  settings.sampler.temperature = options.real("temperature");
  settings.sampler.top_k = options.integer("top-k");
  settings.sampler.top_p = options.real("top-p");
  settings.sampler.seed = static_cast<std::uint64_t>(options.integer("seed"));
  return settings;
}

/// What rank 0 knows of the prompts.
struct Prompts {
  std::optional<runtime::TextRules> text;
  std::vector<runtime::TokenIds> ids;
};

Prompts prompts_of(const Options& options) {
  Prompts prompts;
  const bool text = options.has("prompt") || options.has("prompt-file");
  if (options.has("prompt-ids")) {
    prompts.ids = runtime::prompts_from(options.text("prompt-ids"), "--prompt-ids");
  }
  prompts.text = tokenizer_of(options, text);
  if (options.has("prompt")) {
    prompts.ids.push_back(runtime::ids_of_text(*prompts.text, options.text("prompt")));
    if (prompts.ids.back().empty()) {
      throw std::invalid_argument(
          "--prompt: got '' and a tokenizer that begins a text with nothing, want a text");
    }
  } else if (options.has("prompt-file")) {
    for (const std::string& line : runtime::lines_of(options.text("prompt-file"))) {
      prompts.ids.push_back(runtime::ids_of_text(*prompts.text, line));
    }
  }
  return prompts;
}

/// Continuations on their way to the terminal: of one prompt as they come, of several when each is
/// whole. Rank 0's.
class Shown {
 public:
  Shown(const Prompts& prompts, std::ostream& out) : prompts_(prompts), out_(out) {
    texts_.resize(prompts.ids.size());
    for (const runtime::TokenIds& ids : prompts.ids) {
      if (!prompts.text) break;
      // The prompt's own text is not shown, but its last letter may end in the first new token.
      streams_.emplace_back(*prompts.text->tokenizer);
      for (const std::int64_t id : ids) static_cast<void>(streams_.back().add(id));
    }
  }

  void add(std::int64_t sequence, std::int64_t id) {
    const auto i = static_cast<std::size_t>(sequence);
    std::string text;
    if (!prompts_.text) {
      text = (texts_[i].empty() ? "" : " ") + std::to_string(id);
    } else {
      text = streams_[i].add(id);
    }
    texts_[i] += text;
    if (texts_.size() == 1) (out_ << text).flush();
  }

  void end(std::int64_t sequence) {
    const auto i = static_cast<std::size_t>(sequence);
    std::string rest = prompts_.text ? streams_[i].finish() : "";
    texts_[i] += rest;
    if (texts_.size() == 1) {
      out_ << rest << '\n';
    } else {
      (out_ << '[' << i << "] " << texts_[i] << '\n').flush();
    }
  }

  [[nodiscard]] const std::string& text(std::size_t i) const { return texts_[i]; }

 private:
  const Prompts& prompts_;
  std::ostream& out_;
  std::vector<runtime::TextStream> streams_;
  std::vector<std::string> texts_;
};

/// What the ranks are asked for at most, each figure by itself.
runtime::ModelUse use_of(const std::vector<runtime::TokenIds>& prompts,
                         const runtime::GenerateSettings& settings, int ranks) {
  runtime::ModelUse most{.sequences = 0};
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(ranks), 0);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto length = static_cast<std::int64_t>(prompts[i].size());
    std::int64_t& of_rank = tokens[i % tokens.size()];
    of_rank = std::min(of_rank + length, settings.prefill_tokens);
    most.tokens = std::max(most.tokens, of_rank);
    most.context = std::max(most.context, length + settings.max_new_tokens);
    most.sequences = static_cast<std::int64_t>(i / tokens.size()) + 1;
  }
  return most;
}

double per_second(std::int64_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

void print(const runtime::Generated& result, std::ostream& out) {
  print_row(out, "prefill",
            std::to_string(result.prompt_tokens) + " tokens of " +
                std::to_string(result.continuations.size()) +
                (result.continuations.size() == 1 ? " prompt in " : " prompts in ") +
                fixed(result.prefill_s, 3) + " s, " +
                fixed(per_second(result.prompt_tokens, result.prefill_s), 1) + " tokens/s");
  print_row(out, "decode",
            std::to_string(result.decoded_tokens) + " tokens in " + fixed(result.decode_s, 3) +
                " s, " + fixed(per_second(result.decoded_tokens, result.decode_s), 1) +
                " tokens/s (without the first of each prompt)");
}

nlohmann::ordered_json to_json(const runtime::Generated& result, const Prompts& prompts,
                               const Shown& shown) {
  nlohmann::ordered_json json;
  auto sequences = nlohmann::ordered_json::array();
  auto ids = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < result.continuations.size(); ++i) {
    const auto& continuation = result.continuations[i];
    ids.push_back(continuation.ids);
    sequences.push_back({{"prompt_ids", prompts.ids[i]},
                         {"ids", continuation.ids},
                         {"stopped_by", continuation.ended ? "eos" : "length"}});
    if (prompts.text) sequences.back()["text"] = shown.text(i);
  }
  json["ids"] = ids.size() == 1 ? ids[0] : ids;
  json["sequences"] = std::move(sequences);
  json["prompt_tokens"] = result.prompt_tokens;
  json["prefill_s"] = result.prefill_s;
  json["prefill_tokens_per_s"] = per_second(result.prompt_tokens, result.prefill_s);
  json["decoded_tokens"] = result.decoded_tokens;
  json["decode_s"] = result.decode_s;
  json["decode_tokens_per_s"] = per_second(result.decoded_tokens, result.decode_s);
  return json;
}

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
  return prepare_whole_model(options);
}

int run(Context& context) {
  comm::Group& group = context.group();
  runtime::GenerateSettings settings = settings_of(context.options);
  Prompts prompts;
  runtime::together(group, [&] {
    if (context.first()) prompts = prompts_of(context.options);
  });
  prompts.ids = runtime::shared(group, prompts.ids);
  runtime::TokenIds eos;
  if (context.first() && prompts.text && prompts.text->eos) eos.push_back(*prompts.text->eos);
  eos = runtime::shared(group, {eos}).front();

  WholeModel whole(context, [&](const runtime::Model& model) {
    if (context.options.has("prompt-tokens")) {
      prompts.ids = runtime::drawn_prompts(
          runtime::ids_from(context.options.text("prompt-tokens"), "--prompt-tokens"),
          model.message().vocab_size(), settings.sampler.seed);
    }
    runtime::validate(prompts.ids, settings, model.message().vocab_size(),
                      runtime::max_context_of(model));
    return use_of(prompts.ids, settings, group.size());
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
  const runtime::Generated result =
      runtime::generate(group, *whole.model, prompts.ids, settings, sink, stats ? &load : nullptr);
  std::vector<runtime::LayerLoad> layers;
  if (stats) layers = load.sum(group);

  const auto packing = whole.packing(context, result.prefill_s + result.decode_s);
  context.out << '\n';
  print_whole(whole, group.size(), packing, context.out);
  print(result, context.out);
  if (stats) print_routing(layers, context.out);
  if (context.json.wanted()) {
    auto json = whole_json(whole, packing);
    json.update(to_json(result, prompts, *shown));
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
