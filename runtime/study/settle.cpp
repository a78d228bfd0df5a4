// SPDX-License-Identifier: Apache-2.0
// What is wrong with a study, found before anything is started.
#include <algorithm>
#include <charconv>
#include <set>
#include <stdexcept>

#include "runtime/model/nearest.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/run/settings.hpp"
#include "runtime/simulate/machine.hpp"
#include "runtime/study/points.hpp"
#include "runtime/trace/replay.hpp"

namespace switchyard::runtime::study {
namespace {
constexpr std::int64_t kMostRanks = 65536;  // what simulate takes

[[noreturn]] void refuse(const std::string& what, const std::string& got, const std::string& want) {
  throw std::invalid_argument("study: " + what + ": got " + got + ", want " + want);
}

void require_range(const std::string& what, std::int64_t value, std::int64_t least,
                   std::int64_t most) {
  if (value >= least && value <= most) return;
  refuse(what, std::to_string(value),
         "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
}

std::string sweep_name(const Sweep& sweep) {
  return "sweep " + std::string(name_of(sweep.over));
}

void check_counts(const RankCounts& counts, const std::string& where) {
  for (const RankKind kind : kAllKinds) {
    const std::string what = where + std::string(name_of(kind));
    std::set<int> seen;
    for (const int count : counts[static_cast<std::size_t>(kind)]) {
      require_range(what, count, 1, kMostRanks);
      if (!seen.insert(count).second) refuse(what, std::to_string(count) + " twice", "it once");
    }
  }
}

/// Whole numbers in ascending order, each in one spelling.
void settle_numbers(Sweep& sweep) {
  std::vector<std::int64_t> numbers;
  for (const std::string& text : sweep.values) {
    std::int64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end || number < 1 || number > 1'000'000) {
      refuse(sweep_name(sweep), "'" + text + "'", "whole numbers from 1 to 1000000");
    }
    numbers.push_back(number);
  }
  std::ranges::sort(numbers);
  sweep.values.clear();
  for (const std::int64_t number : numbers) sweep.values.push_back(std::to_string(number));
}

void settle_sweep(const Study& study, Sweep& sweep) {
  const std::string name = sweep_name(sweep);
  check_counts(sweep.ranks, name + ": ");
  if (over_ranks(sweep.over)) {
    if (!sweep.values.empty()) {
      refuse(name, "'" + sweep.values.front() + "'", "no value: it varies ranks");
    }
  } else if (sweep.values.empty()) {
    refuse(name, "no value",
           "what it varies, as in " + std::string(name_of(sweep.over)) + "=" +
               (sweep.over == Over::kSkew        ? "uniform,zipf:1.2"
                : sweep.over == Over::kPlacement ? "linear,round-robin"
                                                 : "8,16,32"));
  }
  if (sweep.over == Over::kExperts || sweep.over == Over::kTopK) settle_numbers(sweep);
  std::set<std::string> seen;
  for (const std::string& value : sweep.values) {
    if (!seen.insert(value).second) refuse(name, value + " twice", "it once");
  }
  if (std::ranges::all_of(sweep.ranks, &std::vector<int>::empty)) {
    sweep.ranks = study.ranks;
    if (!over_ranks(sweep.over)) {
      for (auto& counts : sweep.ranks) {
        if (!counts.empty()) counts = {std::ranges::max(counts)};
      }
    }
  }
  for (auto& counts : sweep.ranks) std::ranges::sort(counts);
  const bool changes_tokens =
      sweep.over == Over::kWeak || sweep.over == Over::kExperts || sweep.over == Over::kTopK;
  if (changes_tokens && !routing_trace(study.routing).empty()) {
    refuse(name, "it with --routing " + study.routing,
           "uniform or zipf:S: a trace has its own tokens, experts and top-k");
  }
}

/// Whether a point could be started, by everything that needs no rank.
void check_point(const Study& study, const Point& point, const std::vector<Machine>& machines) {
  const RunSettings run = run_settings_of(study, point);
  const Model model = model_of(run);
  validate(run, model);
  const experts::BlockSpec block = block_of(run, model);
  const std::int64_t layer =
      Placement::layered(point.placement) ? model.moe_layers().front() : kEveryLayer;
  static_cast<void>(
      Placement::from_name(point.placement, block.router.experts, point.ranks, layer));
  if (const std::string trace = routing_trace(point.routing); !trace.empty()) {
    TraceReplay(trace).require_fit(block.router, run.layers);
  }
  if (point.machine < 0) return;
  if (point.routing == "model") {
    refuse("--routing", "model for " + std::string(name_of(point.kind)) + " ranks",
           "uniform, zipf:S or a trace: the model's router needs rows with contents");
  }
  const Machine machine = machines[static_cast<std::size_t>(point.machine)].with_ranks(point.ranks);
  static_cast<void>(machine.expert_seconds(experts::dtype_from(run.weights), block.expert.hidden,
                                           block.expert.width, 1));
}

/// What is wrong with one point is said with the point's name in front.
void check_points(const Study& study, const std::vector<Machine>& machines) {
  for (const Point& point : plan_of(study).points) {
    try {
      check_point(study, point, machines);
    } catch (const std::invalid_argument& error) {
      const std::string why = error.what();
      if (why.starts_with("study: ")) throw;
      throw std::invalid_argument("study: " + key_of(point, study) + ": " + why);
    }
  }
}
}  // namespace

std::string_view name_of(RankKind kind) {
  constexpr std::array<std::string_view, kAllKinds.size()> kNames = {"real", "simulated", "fast"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string_view name_of(Over over) {
  constexpr std::array<std::string_view, kAllSweeps.size()> kNames = {
      "strong", "weak", "experts", "top-k", "skew", "placement"};
  return kNames[static_cast<std::size_t>(over)];
}

Sweep sweep_from(const std::string& text) {
  const std::size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  Sweep sweep;
  std::vector<std::string> names;
  bool known = false;
  for (const Over over : kAllSweeps) {
    names.emplace_back(name_of(over));
    if (names.back() != name) continue;
    sweep.over = over;
    known = true;
  }
  if (!known) {
    throw std::invalid_argument("--sweep: got '" + name + "', want " + one_of(names));
  }
  if (equals == std::string::npos) return sweep;
  std::size_t begin = equals + 1;
  while (true) {
    const std::size_t end = text.find(',', begin);
    sweep.values.push_back(text.substr(begin, end - begin));
    if (sweep.values.back().empty()) refuse("--sweep " + text, "an empty value", "a value");
    if (end == std::string::npos) return sweep;
    begin = end + 1;
  }
}

void settle(Study& study) {
  if (study.model.empty()) refuse("--model", "none", "a preset or a model file");
  require_range("--layers", study.layers, 1, 1'000'000);
  require_range("--tokens", study.tokens, 1, std::int64_t{1} << 40);
  require_range("--tokens-per-rank", study.tokens_per_rank, 1, std::int64_t{1} << 32);
  require_range("--steps", study.steps, 1, 1'000'000);
  require_range("--warmup", study.warmup, 0, 1'000'000);
  require_range("--repetitions", study.repetitions, 1, 1000);
  if (!(study.confidence > 0 && study.confidence < 1)) {
    refuse("--confidence", std::to_string(study.confidence), "a share above 0 and below 1");
  }
  check_counts(study.ranks, "--");
  if (study.sweeps.empty()) study.sweeps = {{.over = Over::kStrong}, {.over = Over::kWeak}};
  std::set<Over> seen;
  for (Sweep& sweep : study.sweeps) {
    if (!seen.insert(sweep.over).second) refuse(sweep_name(sweep), "it twice", "it once");
    settle_sweep(study, sweep);
    if (std::ranges::all_of(sweep.ranks, &std::vector<int>::empty)) {
      refuse(sweep_name(sweep), "no ranks", "--real, --simulated or --fast counts");
    }
  }
  bool simulates = false;
  for (const Sweep& sweep : study.sweeps) {
    simulates = simulates || !sweep.ranks[1].empty() || !sweep.ranks[2].empty();
  }
  if (simulates && study.machines.empty()) {
    refuse("--machine", "none for simulated ranks",
           "a preset, or the file that switchyard calibrate has written");
  }
  study.rooms.clear();
  if (study.weights == "auto") study.weights = "float32";
  std::vector<Machine> machines;
  std::set<std::string> names;
  for (const std::string& name : study.machines) {
    machines.push_back(machine_from(name));
    study.rooms.push_back(machines.back().most_ranks());
    if (!names.insert(name).second) refuse("--machine", name + " twice", "it once");
  }
  check_points(study, machines);
}
}  // namespace switchyard::runtime::study
