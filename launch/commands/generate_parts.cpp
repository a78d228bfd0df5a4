// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/generate_parts.hpp"

#include <algorithm>
#include <utility>

#include "launch/commands/whole_model.hpp"
#include "runtime/generate/prompts.hpp"
#include "runtime/model/model.pb.h"

namespace switchyard::launch {
namespace {
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
}  // namespace

runtime::GenerateSettings generate_settings(const Options& options) {
  runtime::GenerateSettings settings;
  settings.max_new_tokens = options.integer("max-new-tokens");
  settings.prefill_tokens = options.integer("prefill-tokens");
  settings.sampler.temperature = options.real("temperature");
  settings.sampler.top_k = options.integer("top-k");
  settings.sampler.top_p = options.real("top-p");
  settings.sampler.seed = static_cast<std::uint64_t>(options.integer("seed"));
  return settings;
}

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

runtime::ModelUse prepare_prompts(const Options& options, const runtime::Model& model,
                                  const runtime::GenerateSettings& settings, int ranks,
                                  Prompts& prompts) {
  const std::int64_t vocabulary = model.message().vocab_size();
  if (options.has("prompt-tokens")) {
    prompts.ids =
        runtime::drawn_prompts(runtime::ids_from(options.text("prompt-tokens"), "--prompt-tokens"),
                               vocabulary, settings.sampler.seed);
  }
  runtime::validate(prompts.ids, settings, vocabulary, runtime::max_context_of(model));
  return use_of(prompts.ids, settings, ranks);
}

Shown::Shown(const Prompts& prompts, std::ostream& out) : prompts_(prompts), out_(out) {
  texts_.resize(prompts.ids.size());
  for (const runtime::TokenIds& ids : prompts.ids) {
    if (!prompts.text) break;
    // The prompt's own text is not shown, but its last letter may end in the first new token.
    streams_.emplace_back(*prompts.text->tokenizer);
    for (const std::int64_t id : ids) static_cast<void>(streams_.back().add(id));
  }
}

void Shown::add(std::int64_t sequence, std::int64_t id) {
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

void Shown::end(std::int64_t sequence) {
  const auto i = static_cast<std::size_t>(sequence);
  std::string rest = prompts_.text ? streams_[i].finish() : "";
  texts_[i] += rest;
  if (texts_.size() == 1) {
    out_ << rest << '\n';
  } else {
    (out_ << '[' << i << "] " << texts_[i] << '\n').flush();
  }
}

void print_generated(const runtime::Generated& result, std::ostream& out) {
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

nlohmann::ordered_json generated_json(const runtime::Generated& result, const Prompts& prompts,
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
}  // namespace switchyard::launch
