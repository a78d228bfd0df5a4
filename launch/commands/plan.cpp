// SPDX-License-Identifier: Apache-2.0
// plan: what a model asks of a cluster, by arithmetic alone.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>

#include "launch/commands/all.hpp"
#include "launch/commands/run_options.hpp"
#include "runtime/model/model.hpp"
#include "runtime/sizing/sizing.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

std::string formatted(const char* format, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string gib(double bytes) {
  return formatted("%9.3f GiB", bytes / kGiB);
}

/// "12.3 MB", as network people count.
std::string wire(double bytes) {
  static constexpr std::array kUnits = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return formatted("%.4g ", bytes) + kUnits[unit];
}

void print_memory(const runtime::MemoryNeed& memory, std::ostream& out) {
  const auto line = [&](const char* name, std::int64_t bytes) {
    out << "  " << name << gib(static_cast<double>(bytes)) << '\n';
  };
  out << "memory of the fullest rank\n";
  line("routed experts      ", memory.experts);
  line("always-on networks  ", memory.always_on);
  line("dense part          ", memory.dense);
  line("rows of a layer     ", memory.buffers);
  line("caches              ", memory.cache);
  line("together            ", memory.total());
}

/// "1 node", "2 nodes".
std::string counted(std::int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

void print_traffic(const runtime::TrafficNeed& traffic, int nodes, std::ostream& out) {
  const auto line = [&](const char* name, double rows) {
    out << "  " << name << formatted("%12.1f rows  ", rows) << wire(rows * traffic.row_bytes)
        << '\n';
  };
  out << "sent by the busiest rank in a MoE layer and step, expected without favourites\n";
  line("a row for every token and expert (logical)", traffic.logical_rows);
  line("a row for every token and rank            ", traffic.rows_a_rank);
  if (nodes > 1) {
    line("  of these, to other nodes                ", traffic.crossing_rows);
    line("a row for every token and other node      ", traffic.rows_a_node);
  }
  line("results, one for every token and expert   ", traffic.logical_rows);
}

/// Bars of total parameters, their active part filled.
void print_curve(const std::vector<runtime::ExpertsPoint>& points, std::int64_t own,
                 std::ostream& out) {
  constexpr double kWidth = 50;
  double most = 1;
  for (const auto& point : points) {
    most = std::max(most, static_cast<double>(point.parameters.total));
  }
  out << "total (=) and active (#) parameters over the number of experts\n";
  for (const auto& [experts, parameters] : points) {
    const auto bar = [&](std::int64_t count) {
      return static_cast<std::size_t>(std::lround(kWidth * static_cast<double>(count) / most));
    };
    const std::size_t active = bar(parameters.active);
    out << (experts == own ? " >" : "  ") << formatted("%6.0f ", static_cast<double>(experts))
        << formatted("%9.2fB ", static_cast<double>(parameters.total) / 1e9)
        << formatted("%8.2fB ", static_cast<double>(parameters.active) / 1e9)
        << std::string(active, '#') << std::string(bar(parameters.total) - active, '=') << '\n';
  }
}

nlohmann::ordered_json to_json(const runtime::Sizing& sizing) {
  const auto& [experts, always_on, dense, buffers, cache] = sizing.memory;
  const auto& traffic = sizing.traffic;
  return {{"ranks", sizing.ranks},
          {"nodes", sizing.nodes},
          {"idle_ranks", sizing.idle_ranks},
          {"memory",
           {{"experts_bytes", experts},
            {"always_on_bytes", always_on},
            {"dense_bytes", dense},
            {"buffers_bytes", buffers},
            {"cache_bytes", cache},
            {"total_bytes", sizing.memory.total()}}},
          {"traffic",
           {{"row_bytes", traffic.row_bytes},
            {"logical_rows", traffic.logical_rows},
            {"rows_per_rank_deduplicated", traffic.rows_a_rank},
            {"rows_per_node_deduplicated", traffic.rows_a_node},
            {"rows_to_other_nodes", traffic.crossing_rows},
            {"result_rows", traffic.logical_rows},
            {"logical_bytes", traffic.logical_rows * traffic.row_bytes},
            {"bytes_per_rank_deduplicated", traffic.rows_a_rank * traffic.row_bytes},
            {"bytes_per_node_deduplicated", traffic.rows_a_node * traffic.row_bytes}}},
          {"flops",
           {{"experts", sizing.flops.experts},
            {"rest", sizing.flops.rest},
            {"attention", sizing.flops.attention}}}};
}

runtime::SizingRequest request_of(const Options& options) {
  return {.ranks = static_cast<int>(options.integer("ranks")),
          .nodes = static_cast<int>(options.integer("nodes")),
          .stored = experts::dtype_from(options.text("weights")),
          .tokens = options.integer("tokens-per-rank"),
          .sequences = options.integer("sequences-per-rank"),
          .context = options.integer("context")};
}

/// Whether it fits, in words and in the JSON; nothing where no limit was given.
void print_fit(const runtime::Model& model, const runtime::SizingRequest& request,
               const runtime::Sizing& sizing, double limit, std::ostream& out,
               nlohmann::ordered_json& json) {
  const auto bytes = static_cast<std::int64_t>(limit * kGiB);
  const bool fits = sizing.memory.total() <= bytes;
  const std::optional<int> fewest = runtime::fewest_ranks(model, request, bytes);
  json["fits"] = fits;
  json["fewest_ranks"] = fewest ? nlohmann::ordered_json(*fewest) : nlohmann::ordered_json();
  out << (fits ? "fits into " : "does not fit into ") << formatted("%g GiB a rank", limit);
  if (!fits) {
    const double over = static_cast<double>(sizing.memory.total() - bytes) / kGiB;
    out << formatted(": %.3f GiB too much", over);
  }
  if (fewest) {
    out << "; the fewest ranks that do: " << *fewest << '\n';
  } else {
    out << "; no number of ranks does: with one expert a rank, dense part, caches and rows are "
           "too much already\n";
  }
}

int plan_model(Context& context) {
  const Options& options = context.options;
  runtime::Model model = runtime::Model::from_name_or_file(options.text("model"));
  for (const std::string& assignment : options.list("set")) model.set(assignment);
  model.validate();
  const runtime::SizingRequest request = request_of(options);
  const runtime::Sizing sizing = runtime::size_up(model, request);
  const runtime::ParameterCount count = model.parameters();

  std::ostream& out = context.out;
  out << "# " << model.name() << " over " << counted(sizing.ranks, "rank") << " on "
      << counted(sizing.nodes, "node") << ", experts in " << options.text("weights") << ", "
      << counted(request.tokens, "token") << " a rank and step, "
      << counted(request.sequences, "sequence") << " of " << counted(request.context, "token")
      << " a rank\n";
  if (sizing.idle_ranks > 0) {
    out << counted(sizing.idle_ranks, "rank") << (sizing.idle_ranks == 1 ? " holds" : " hold")
        << " no expert: there are " << model.block().router.experts << '\n';
  }
  print_memory(sizing.memory, out);
  print_traffic(sizing.traffic, sizing.nodes, out);
  out << "floating-point operations of a rank in a step: "
      << formatted("%.4g in routed experts, ", sizing.flops.experts)
      << formatted("%.4g in other weights, ", sizing.flops.rest)
      << formatted("%.4g in attention\n", sizing.flops.attention);

  nlohmann::ordered_json json{{"name", model.name()},
                              {"total_parameters", count.total},
                              {"active_parameters", count.active}};
  json.update(to_json(sizing));
  if (options.has("memory-per-rank")) {
    print_fit(model, request, sizing, options.real("memory-per-rank"), out, json);
  }
  const auto points = runtime::over_experts(model);
  print_curve(points, model.block().router.experts, out);
  nlohmann::ordered_json curve = nlohmann::ordered_json::array();
  for (const auto& [experts, parameters] : points) {
    curve.push_back({{"routed_experts", experts},
                     {"total_parameters", parameters.total},
                     {"active_parameters", parameters.active}});
  }
  json["over_experts"] = std::move(curve);
  context.json.write(json);
  return runtime::kDone;
}
}  // namespace

Command plan_command() {
  constexpr std::int64_t kMostRanks = 1 << 20;
  return {
      .name = "plan",
      .summary = "memory, traffic and operations of a model on a number of ranks",
      .options =
          {text_option("model", "NAME|FILE", "a preset, by any unique beginning, or a model file",
                       "olmoe-1b-7b-0924"),
           list_option("set", "FIELD=VALUE", "changes one field of the model; any number of times"),
           integer_option("ranks", "COUNT", "that the experts are spread over", 1,
                          {.least = 1, .most = kMostRanks}),
           integer_option("nodes", "COUNT", "that the ranks are spread over", 1,
                          {.least = 1, .most = kMostRanks}),
           weights_option(),
           integer_option("tokens-per-rank", "COUNT", "new tokens of a rank in a step", 32),
           integer_option("sequences-per-rank", "COUNT", "whose home is a rank", 1),
           integer_option("context", "TOKENS", "that are remembered of each sequence", 4096),
           real_option("memory-per-rank", "GIB",
                       "what a rank may fill; asked for, the fewest ranks that fit are named",
                       std::nullopt, {.least = 0, .above = true})},
      .run = plan_model};
}
}  // namespace switchyard::launch
