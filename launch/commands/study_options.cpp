// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/study_options.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <type_traits>

#include "runtime/text_proto.hpp"

namespace switchyard::launch {
namespace {
using runtime::study::RankKind;
using runtime::study::Study;

/// "1,2,4" as rank counts.
std::vector<int> counts_from(const std::string& name, const std::string& text) {
  std::vector<int> counts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    int count = 0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, count);
    if (error != std::errc() || stop != text.data() + end || count < 1) {
      throw std::invalid_argument("--" + name + ": got '" + text +
                                  "', want whole numbers from 1 with commas between");
    }
    counts.push_back(count);
    if (end == text.size()) return counts;
    begin = end + 1;
  }
}

}  // namespace

std::vector<Option> study_options() {
  const Study defaults;
  const auto count = [](const char* name, const char* unit, const char* help) {
    return integer_option(name, unit, help, std::nullopt, {.least = 0});
  };
  const auto is = [](std::int64_t value) {
    return "; " + std::to_string(value) + " if nobody says";
  };
  return {
      text_option("to", "DIRECTORY", "where the study is kept, and goes on from"),
      text_option("name", "TEXT", "of the study, for titles"),
      text_option("model", "NAME|FILE", "a preset, by any unique beginning, or a model file"),
      list_option("set", "FIELD=VALUE", "changes one field of the model; any number of times"),
      list_option("sweep", "NAME[=VALUE,...]",
                  "what is varied: strong, weak, experts=8,16, top-k=1,2, skew=uniform,zipf:1.2, "
                  "placement=linear,FILE; any number of times; strong and weak if nobody says"),
      text_option("real", "COUNT,...", "ranks that mpirun starts"),
      text_option("simulated", "COUNT,...", "ranks of the real program over a simulated network"),
      text_option("fast", "COUNT,...", "ranks in closed form"),
      list_option(
          "machine", "NAME|FILE",
          "of simulated ranks: a preset or what calibrate has written; any number of times: the "
          "first is compared with real ranks"),
      count("layers", "COUNT", ("MoE layers, from the first" + is(defaults.layers)).c_str()),
      count("tokens", "COUNT",
            ("a step, all ranks together, of the strong sweep" + is(defaults.tokens)).c_str()),
      count("tokens-per-rank", "COUNT",
            ("a step, of all other sweeps" + is(defaults.tokens_per_rank)).c_str()),
      count("steps", "COUNT",
            ("that are measured in one start of a real point" + is(defaults.steps)).c_str()),
      count("warmup", "COUNT", ("steps before them that are not" + is(defaults.warmup)).c_str()),
      count("seed", "NUMBER", ("of weights, tokens, routing and the bootstrap" + is(1)).c_str()),
      text_option("weights", "TYPE", "stored type of expert weights; float32 if nobody says"),
      text_option("math", "float32|native", "what products are computed in"),
      text_option("routing", "uniform|zipf:S|trace:FILE|model",
                  "who chooses experts; model: real ranks only; uniform if nobody says"),
      text_option("placement", "linear|round-robin|FILE", "which rank holds which experts"),
      text_option("transport", "NAME", "how rows cross ranks, of every kind; auto if nobody says"),
      count("repetitions", "COUNT",
            ("starts of each real point" + is(defaults.repetitions)).c_str()),
      real_option("confidence", "SHARE", "of intervals; 0.95 if nobody says", std::nullopt,
                  {.least = 0, .most = 1}),
      flag_option("oversubscribe", "more real ranks than cores"),
      flag_option("retry-failed", "starts that failed are started once more"),
      real_option("start-seconds", "SECONDS", "that one start may take; 0: any", 600,
                  {.least = 0, .most = 1e9}),
      text_option("mpirun", "PROGRAM", "the launcher", "mpirun"),
      list_option("mpirun-option", "WORD", "handed to it, any number of times"),
  };
}

Study study_from(const Options& options) {
  Study study;
  if (!options.positionals().empty()) {
    const std::string& file = options.positionals().front();
    study = runtime::study::study_from_text(runtime::read_text(file), file);
  }
  const auto text = [&](const char* name, std::string& to) {
    if (options.has(name)) to = options.text(name);
  };
  const auto number = [&](const char* name, auto& to) {
    if (options.has(name))
      to = static_cast<std::remove_reference_t<decltype(to)>>(options.integer(name));
  };
  const auto list = [&](const char* name, std::vector<std::string>& to) {
    if (!options.list(name).empty()) to = options.list(name);
  };
  text("name", study.name);
  text("model", study.model);
  list("set", study.set);
  list("machine", study.machines);
  number("layers", study.layers);
  number("tokens", study.tokens);
  number("tokens-per-rank", study.tokens_per_rank);
  number("steps", study.steps);
  number("warmup", study.warmup);
  number("seed", study.seed);
  text("weights", study.weights);
  text("math", study.math);
  text("routing", study.routing);
  text("placement", study.placement);
  text("transport", study.transport);
  number("repetitions", study.repetitions);
  if (options.has("confidence")) study.confidence = options.real("confidence");
  for (const RankKind kind : runtime::study::kAllKinds) {
    const std::string name(name_of(kind));
    if (!options.has(name)) continue;
    study.ranks[static_cast<std::size_t>(kind)] = counts_from(name, options.text(name));
  }
  if (!options.list("sweep").empty()) {
    study.sweeps.clear();
    for (const std::string& sweep : options.list("sweep")) {
      study.sweeps.push_back(runtime::study::sweep_from(sweep));
    }
  }
  runtime::study::settle(study);
  return study;
}

}  // namespace switchyard::launch
