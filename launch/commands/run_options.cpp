// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/run_options.hpp"

#include <iterator>
#include <stdexcept>
#include <utility>

#include "comm/exchange/manifest.hpp"
#include "experts/dtype.hpp"
#include "experts/kernels/dispatch.hpp"
#include "launch/commands/pack_options.hpp"
#include "launch/commands/serve.hpp"
#include "launch/trace_output.hpp"
#include "launch/version.hpp"
#include "runtime/placement/policies/policy.hpp"
#include "runtime/words.hpp"

namespace switchyard::launch {
namespace {
constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;

std::vector<Option> work_options() {
  const runtime::RunSettings defaults;
  return {
      text_option("model", "NAME|FILE", "a preset, by any unique beginning, or a model file"),
      list_option("set", "FIELD=VALUE", "changes one field of the model; any number of times"),
      text_option("checkpoint", "DIRECTORY",
                  "weights in the Hugging Face layout instead of synthetic ones"),
      integer_option("layers", "COUNT", "MoE layers to run, from the first", defaults.layers,
                     {.least = 1}),
      integer_option("tokens", "COUNT",
                     "a step, all ranks together; with --input or a trace: its own", std::nullopt,
                     {.least = 0, .most = kMostTokens}),
      integer_option("steps", "COUNT", "steps that are measured", defaults.steps, {.least = 1}),
      integer_option("warmup", "COUNT", "steps before them that are not", defaults.warmup,
                     {.least = 0}),
      integer_option("seed", "NUMBER", "of synthetic weights, tokens and routing", 1, {.least = 0}),
      text_option("routing", "model|uniform|zipf:S|trace:FILE",
                  "who chooses experts: the model's router, a seeded load, or a routing trace, "
                  "whose tokens a step are then those of the run",
                  defaults.routing),
      text_option("input", "FILE", "token rows, float32 little-endian, instead of synthetic ones"),
  };
}

std::vector<Option> capacity_options() {
  std::vector<std::string> rules;
  for (const auto rule : runtime::capacity_rules()) rules.emplace_back(runtime::name_of(rule));
  return {
      choice_option("capacity-rule", rules, "what happens to rows that an expert does not take",
                    "none"),
      real_option("capacity-factor", "RATIO",
                  "rows an expert accepts, over its fair share; 0: dropless", std::nullopt),
      integer_option("min-capacity", "ROWS", "that an expert accepts at least", 0),
      integer_option("capacity-devices", "COUNT",
                     "device-budget: groups of experts with a budget; 0: the model's groups", 0),
      text_option("routing-group", "TOKENS|rank",
                  "capacity is counted over groups of so many tokens; 0: the whole batch; rank: "
                  "each rank's own, which makes results depend on the rank count",
                  "0"),
  };
}

std::vector<Option> state_options() {
  const runtime::SaveSettings defaults;
  return {
      flag_option("stateful",
                  "weights of routers and experts change after every step, by a seeded rule"),
      text_option("save-to", "DIRECTORY",
                  "where a stateful run saves itself, and goes on from the newest good step"),
      integer_option("save-every", "STEPS", "between two saves; 0: only at the end", defaults.every,
                     {.least = 0}),
      integer_option("keep", "COUNT", "newest saved steps that stay", defaults.keep,
                     {.least = 2, .most = 1'000'000}),
      choice_option("save", {"async", "sync"}, "steps go on while a copy is written, or wait",
                    "async"),
      flag_option("fresh", "begin at the first step, whatever has been saved there"),
  };
}

/// What only means something beside --save-to.
void require_save_to(const runtime::SaveSettings& save) {
  const runtime::SaveSettings defaults;
  const std::string alone = save.every != defaults.every   ? "--save-every"
                            : save.keep != defaults.keep   ? "--keep"
                            : save.async != defaults.async ? "--save"
                            : save.fresh != defaults.fresh ? "--fresh"
                                                           : "";
  if (!save.to.empty() || alone.empty()) return;
  throw std::invalid_argument(alone + ": got it without --save-to, want both");
}

std::vector<Option> rebalance_options() {
  const runtime::RebalanceSettings defaults;
  std::vector<std::string> policies{"off"};
  for (const auto& policy : runtime::policies()) policies.emplace_back(policy.name);
  return {
      choice_option("rebalance", policies,
                    "experts move while the run goes on: who plans where to; changes no bit",
                    "off"),
      integer_option("rebalance-window", "STEPS", "whose load a plan is made from", defaults.window,
                     {.least = 1, .most = 1'000'000}),
      integer_option("rebalance-every", "STEPS", "from one plan to the next", defaults.every,
                     {.least = 1}),
      integer_option("rebalance-slots", "COUNT",
                     "copies of experts that a rank has memory for, a layer; 0: as many as the "
                     "fullest has at first",
                     defaults.slots, {.least = 0, .most = 1'000'000}),
      integer_option("rebalance-pays-within", "STEPS",
                     "in which a plan must earn back what moving costs", defaults.pays_within,
                     {.least = 0}),
      choice_option("rebalance-copy", {"async", "sync"},
                    "experts cross in pieces beside the steps, or steps wait", "async"),
      real_option("rebalance-bandwidth", "GB/S",
                  "of a rank, for what moving costs, until the first migration was measured",
                  defaults.bandwidth / 1e9),
  };
}

runtime::RebalanceSettings rebalance_settings(const Options& options) {
  const runtime::RebalanceSettings defaults;
  runtime::RebalanceSettings settings;
  if (options.text("rebalance") != "off") settings.policy = options.text("rebalance");
  settings.window = options.integer("rebalance-window");
  settings.every = options.integer("rebalance-every");
  settings.slots = options.integer("rebalance-slots");
  settings.pays_within = options.integer("rebalance-pays-within");
  settings.beside = options.text("rebalance-copy") == "async";
  settings.bandwidth = options.real("rebalance-bandwidth") * 1e9;
  if (!(settings.bandwidth > 0)) {
    throw std::invalid_argument("--rebalance-bandwidth: got " +
                                std::to_string(options.real("rebalance-bandwidth")) +
                                ", want more than 0");
  }
  const std::string alone = settings.window != defaults.window ? "--rebalance-window"
                            : settings.every != defaults.every ? "--rebalance-every"
                            : settings.slots != defaults.slots ? "--rebalance-slots"
                            : settings.pays_within != defaults.pays_within
                                ? "--rebalance-pays-within"
                            : settings.beside != defaults.beside       ? "--rebalance-copy"
                            : settings.bandwidth != defaults.bandwidth ? "--rebalance-bandwidth"
                                                                       : "";
  if (!settings.on() && !alone.empty()) {
    throw std::invalid_argument(alone + ": got it without --rebalance, want both");
  }
  return settings;
}

/// Two results in one file would be neither.
void require_other_files(const Options& options, const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (std::size_t j = i + 1; j < names.size(); ++j) {
      if (!options.has(names[i]) || !options.has(names[j]) ||
          options.text(names[i]) != options.text(names[j])) {
        continue;
      }
      throw std::invalid_argument("--" + names[i] + " and --" + names[j] + ": got " +
                                  options.text(names[i]) + " twice, want two files");
    }
  }
}

void append(std::vector<Option>& options, std::vector<Option> more) {
  options.insert(options.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
}
}  // namespace

std::vector<Option> layer_options() {
  return {
      choice_option("transport", {"auto", "node", "two-level", "relay", "p2p", "alltoallv"},
                    "how rows cross ranks", "auto"),
      choice_option("combine", {"exact", "presum"},
                    "how results of a token are added: in slot order, or first on each rank, which "
                    "saves rows and makes results depend on placement",
                    "exact"),
      choice_option("node-queue", {"on", "off"},
                    "ranks of a node share their experts' weights and take each other's tasks; "
                    "changes no bit",
                    "on"),
      choice_option("wire", {"float32", "bfloat16", "int8", "fp8"},
                    "type of rows between nodes; all but float32 change bits", "float32"),
      integer_option("stages", "COUNT", "that an exchange between nodes is cut into; 0: chosen", 0,
                     {.least = 0, .most = comm::kMaxStages}),
      text_option("placement", "linear|round-robin|FILE", "which rank holds which experts",
                  "linear"),
      integer_option("chunk-tokens", "COUNT", "most tokens a rank sends at once; 0: all", 0),
      integer_option("threads-per-rank", "COUNT", "that compute; changes no bit", 1,
                     {.least = 1, .most = 1024}),
      isa_option("instructions of the kernels; changes no bit of float32 products"),
  };
}

std::vector<std::string> stored_types() {
  std::vector<std::string> names;
  for (const auto type : experts::kAllDTypes) names.emplace_back(experts::name_of(type));
  return names;
}

std::vector<std::string> maths() {
  return {std::string(experts::name_of(experts::Math::kFloat32)),
          std::string(experts::name_of(experts::Math::kNative))};
}

Option isa_option(std::string meaning) {
  std::vector<std::string> names{"auto"};
  for (const auto isa : experts::kAllIsas) {
    names.insert(names.begin() + 1, std::string(experts::name_of(isa)));
  }
  return choice_option("isa", std::move(names), std::move(meaning), "auto");
}

Option weights_option() {
  return choice_option("weights", stored_types(), "stored type of expert weights", "float32");
}

Option own_weights_option() {
  std::vector<std::string> types = stored_types();
  types.insert(types.begin(), "auto");
  return choice_option("weights", types,
                       "stored type of expert weights; auto: the checkpoint's, else float32",
                       "auto");
}

Option math_option() {
  return choice_option("math", maths(),
                       "what products are computed in; native: the stored type's dot products, "
                       "where the processor has them",
                       "float32");
}

std::vector<Option> math_options() {
  return {own_weights_option(), math_option()};
}

experts::Math math_from(std::string_view name) {
  return name == experts::name_of(experts::Math::kNative) ? experts::Math::kNative
                                                          : experts::Math::kFloat32;
}

experts::Math math_of(const Options& options) {
  return math_from(options.text("math"));
}

runtime::LayerOptions layer_settings(const Options& options) {
  runtime::LayerOptions layer;
  layer.transport = options.text("transport");
  layer.presum = options.text("combine") == "presum";
  layer.node_queue = options.text("node-queue") == "on";
  layer.wire = comm::wire_type_from(options.text("wire"));
  layer.stages = static_cast<int>(options.integer("stages"));
  layer.chunk_tokens = options.integer("chunk-tokens");
  layer.threads = static_cast<int>(options.integer("threads-per-rank"));
  layer.isa = experts::isa_from(options.text("isa"));
  return layer;
}

std::vector<Option> record_options() {
  return {output_option("record-trace", "FILE",
                        "where every token went, as a routing trace that --routing trace:FILE "
                        "replays and trace info shows"),
          choice_option("record-detail", {"counts", "experts", "weights"},
                        "what --record-trace keeps; with weights a replay has the same digest",
                        "weights")};
}

runtime::RecordSettings record_settings(const Options& options) {
  const std::string detail = options.text("record-detail");
  const auto own = detail == "counts"    ? runtime::TraceDetail::kCounts
                   : detail == "experts" ? runtime::TraceDetail::kExperts
                                         : runtime::TraceDetail::kWeights;
  if (!options.has("record-trace") && own != runtime::TraceDetail::kWeights) {
    throw std::invalid_argument("--record-detail: got it without --record-trace, want both");
  }
  return {.to = options.has("record-trace") ? options.text("record-trace") : "", .detail = own};
}

Option inject_option() {
  return choice_option("inject", {"none", "kernel", "plan", "router", "combine"},
                       "spoils one result a rank, to see that it is caught", "none");
}

std::vector<Option> run_options() {
  std::vector<Option> options = work_options();
  append(options, layer_options());
  append(options, math_options());
  append(options, pack_options());
  append(options, state_options());
  append(options, rebalance_options());
  append(options, capacity_options());
  options.push_back(
      output_option("output", "FILE", "rows of the last layer and step, float32 little-endian"));
  append(options, record_options());
  append(options, trace_options());
  append(options, serve_options());
  return options;
}

runtime::RunSettings run_settings(const Options& options) {
  runtime::RunSettings settings;
  settings.model = options.has("model") ? options.text("model") : "";
  settings.checkpoint = options.has("checkpoint") ? options.text("checkpoint") : "";
  settings.set = options.list("set");
  settings.layers = options.integer("layers");
  settings.input = options.has("input") ? options.text("input") : "";
  if (options.has("tokens")) {
    settings.tokens = options.integer("tokens");
  } else if (!settings.input.empty() || !runtime::routing_trace(options.text("routing")).empty()) {
    settings.tokens = -1;
  }
  settings.steps = options.integer("steps");
  settings.warmup = options.integer("warmup");
  settings.seed = static_cast<std::uint64_t>(options.integer("seed"));
  settings.weights = options.text("weights");
  settings.routing = options.text("routing");
  settings.placement = options.text("placement");
  settings.layer = layer_settings(options);
  settings.layer.math = math_of(options);
  auto& capacity = settings.capacity;
  capacity.rule = runtime::capacity_rule_from(options.text("capacity-rule"));
  capacity.factor = options.has("capacity-factor") ? options.real("capacity-factor") : 0.0;
  capacity.min_capacity = options.integer("min-capacity");
  capacity.devices = options.integer("capacity-devices");
  capacity.seed = settings.seed;
  const std::string group = options.text("routing-group");
  if (group == "rank") {
    settings.layer.rank_local_rule = true;
  } else {
    capacity.group_tokens = runtime::token_count_from("--routing-group", group);
  }
  if (capacity.rule != experts::CapacityRule::kNone && !options.has("capacity-factor")) {
    throw std::invalid_argument("--capacity-factor: got none beside --capacity-rule " +
                                options.text("capacity-rule") + ", want a ratio; 0: dropless");
  }
  settings.stateful = options.flag("stateful");
  settings.save.to = options.has("save-to") ? options.text("save-to") : "";
  settings.save.every = options.integer("save-every");
  settings.save.keep = static_cast<int>(options.integer("keep"));
  settings.save.async = options.text("save") == "async";
  settings.save.fresh = options.flag("fresh");
  settings.save.program = version();
  require_save_to(settings.save);
  settings.rebalance = rebalance_settings(options);
  settings.trace_events = trace_events(options);
  settings.record = record_settings(options);
  require_other_files(options, {"output", "json", "trace", "record-trace"});
  return settings;
}
}  // namespace switchyard::launch
