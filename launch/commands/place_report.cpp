// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/place_report.hpp"

#include <array>
#include <cstdio>

namespace switchyard::launch {
namespace {
using runtime::Trial;
using runtime::Verdict;
using Json = nlohmann::ordered_json;

std::string shown(const char* format, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

void add(Verdict& sum, const Verdict& more) {
  sum.slowest_rows += more.slowest_rows;
  sum.mean_rows += more.mean_rows;
  sum.bound_rows += more.bound_rows;
  sum.tokens += more.tokens;
  sum.slots += more.slots;
  sum.home.rows += more.home.rows;
  sum.home.results += more.home.results;
  sum.node.rows += more.node.rows;
  sum.node.results += more.node.results;
  sum.fabric.rows += more.fabric.rows;
  sum.fabric.results += more.fabric.results;
  sum.rows_a_node += more.rows_a_node;
  sum.most_sent = std::max(sum.most_sent, more.most_sent);
  sum.most_copies = std::max(sum.most_copies, more.most_copies);
}

/// All windows of a trial together.
struct Whole {
  Verdict verdict;
  Verdict hindsight;
  std::int64_t in_node = 0;
  std::int64_t across = 0;
  double stall_s = 0;
};

Whole whole_of(const Trial& trial) {
  Whole whole;
  for (const auto& window : trial.windows) {
    add(whole.verdict, window.verdict);
    add(whole.hindsight, window.hindsight);
    whole.in_node += window.migration.copies_in_node;
    whole.across += window.migration.copies_across;
    whole.stall_s += window.migration.stall_s();
  }
  return whole;
}

/// Rows of one layer, by token.
double a_token(std::int64_t rows, const Verdict& verdict, std::int64_t layers) {
  const double tokens = static_cast<double>(verdict.tokens) * static_cast<double>(layers);
  return tokens > 0 ? static_cast<double>(rows) / tokens : 0;
}

Json bytes_of(const std::optional<double>& each, double count) {
  return each ? Json(count * *each) : Json();
}

Json tier_json(const runtime::TierCount& tier, const std::optional<double>& row_bytes) {
  return {{"rows", tier.rows},
          {"results", tier.results},
          {"bytes", bytes_of(row_bytes, static_cast<double>(tier.rows + tier.results))}};
}

Json verdict_json(const PlaceRequest& request, const Verdict& verdict) {
  return {{"balancedness", verdict.balancedness()},
          {"regret", verdict.regret()},
          {"slowest_rank_rows", verdict.slowest_rows},
          {"mean_rank_rows", verdict.mean_rows},
          {"bound_rows", verdict.bound_rows},
          {"worst_rank", verdict.worst_rank},
          {"worst_rank_rows", verdict.worst_rank_rows},
          {"tokens", verdict.tokens},
          {"slots", verdict.slots},
          {"home", tier_json(verdict.home, request.row_bytes)},
          {"node", tier_json(verdict.node, request.row_bytes)},
          {"fabric", tier_json(verdict.fabric, request.row_bytes)},
          {"fabric_rows_a_node", verdict.rows_a_node},
          {"most_fabric_rows_sent", verdict.most_sent},
          {"copies_of_fullest_rank", verdict.most_copies},
          {"expert_bytes_of_fullest_rank",
           bytes_of(request.expert_bytes, static_cast<double>(verdict.most_copies))}};
}

Json migration_json(const PlaceRequest& request, std::int64_t in_node, std::int64_t across,
                    double stall_s) {
  return {{"copies_in_node", in_node},
          {"copies_across", across},
          {"bytes_in_node", bytes_of(request.expert_bytes, static_cast<double>(in_node))},
          {"bytes_across", bytes_of(request.expert_bytes, static_cast<double>(across))},
          {"stall_s", request.expert_bytes ? Json(stall_s) : Json()}};
}
}  // namespace

std::string describe(const PlaceRequest& request) {
  const auto& shape = request.judge.shape;
  return "# " + request.steps->origin() + ": " + std::to_string(request.steps->layers()) +
         " layers of " + std::to_string(request.steps->experts()) + " experts, " +
         std::to_string(request.steps->steps()) + " steps; " + std::to_string(shape.ranks) +
         " ranks on " + std::to_string(shape.nodes()) + " nodes, " + std::to_string(shape.slots) +
         " slots a rank";
}

void print_table(const PlaceRequest& request, const std::vector<Trial>& trials, std::ostream& out) {
  const std::int64_t layers = request.steps->layers();
  out << "policy          balanced   regret  hindsight  rows a token: node   fabric  once a node  "
         "copies   moved   stall\n";
  for (const Trial& trial : trials) {
    const Whole whole = whole_of(trial);
    const Verdict& verdict = whole.verdict;
    std::string name = trial.name;
    name.resize(std::max<std::size_t>(name.size(), 14), ' ');
    out << name << shown("%10.4f", verdict.balancedness())
        << shown("%8.2f%%", 100 * verdict.regret())
        << shown("%10.2f%%", 100 * whole.hindsight.regret())
        << shown("%20.4f", a_token(verdict.node.rows, verdict, layers))
        << shown("%9.4f", a_token(verdict.fabric.rows, verdict, layers))
        << shown("%13.4f", a_token(verdict.rows_a_node, verdict, layers))
        << shown("%8.0f", static_cast<double>(verdict.most_copies))
        << shown("%8.0f", static_cast<double>(whole.in_node + whole.across))
        << (request.expert_bytes ? shown("%6.0f ms", 1e3 * whole.stall_s) : "       -") << '\n';
  }
  out << "balanced: mean over busiest rank, summed over layers; regret: busiest rank over the "
         "bound "
         "of any placement; hindsight: the same, had the plan known the window it is judged on\n"
         "copies: on the fullest rank, all layers; moved: copies, from plan to plan, linear "
         "first\n";
}

void print_windows(const Trial& trial, std::ostream& out) {
  out << "steps             balanced   regret  hindsight  worst rank     rows   moved\n";
  for (const auto& [window, verdict, hindsight, migration] : trial.windows) {
    std::string steps =
        std::to_string(window.first) + " to " + std::to_string(window.first + window.count - 1);
    steps.resize(std::max<std::size_t>(steps.size(), 16), ' ');
    out << steps << shown("%10.4f", verdict.balancedness())
        << shown("%8.2f%%", 100 * verdict.regret()) << shown("%10.2f%%", 100 * hindsight.regret())
        << shown("%12.0f", verdict.worst_rank) << shown("%9.0f", verdict.worst_rank_rows)
        << shown("%8.0f", static_cast<double>(migration.copies())) << '\n';
  }
}

void print_details(const PlaceRequest& request, const Trial& trial, std::ostream& out) {
  const Whole whole = whole_of(trial);
  const auto tier = [&](const char* name, const runtime::TierCount& count) {
    out << name << shown("%12.0f rows", static_cast<double>(count.rows))
        << shown("%12.0f results", static_cast<double>(count.results));
    if (request.row_bytes) {
      out << shown("%12.4g bytes",
                   static_cast<double>(count.rows + count.results) * *request.row_bytes);
    }
    out << '\n';
  };
  tier("to the own rank     ", whole.verdict.home);
  tier("within the node     ", whole.verdict.node);
  tier("to other nodes      ", whole.verdict.fabric);
  out << "  once a node       "
      << shown("%12.0f rows", static_cast<double>(whole.verdict.rows_a_node))
      << "\nfullest rank        "
      << shown("%12.0f copies", static_cast<double>(whole.verdict.most_copies));
  if (request.expert_bytes) {
    out << shown("%10.4g bytes",
                 static_cast<double>(whole.verdict.most_copies) * *request.expert_bytes);
  }
  out << "\nmigration           "
      << shown("%12.0f copies in nodes, ", static_cast<double>(whole.in_node))
      << shown("%.0f across", static_cast<double>(whole.across));
  if (request.expert_bytes) {
    out << shown(", %.4g bytes",
                 static_cast<double>(whole.in_node + whole.across) * *request.expert_bytes)
        << shown(", stands still for %.4g ms", 1e3 * whole.stall_s);
  }
  out << '\n';
}

Json to_json(const PlaceRequest& request, const Trial& trial) {
  const Whole whole = whole_of(trial);
  Json json{{"name", trial.name}};
  json.update(verdict_json(request, whole.verdict));
  json["hindsight_regret"] = whole.hindsight.regret();
  json["hindsight_balancedness"] = whole.hindsight.balancedness();
  json["migration"] = migration_json(request, whole.in_node, whole.across, whole.stall_s);
  Json windows = Json::array();
  for (const auto& [window, verdict, hindsight, migration] : trial.windows) {
    Json one{{"first_step", window.first}, {"steps", window.count}};
    one.update(verdict_json(request, verdict));
    one["hindsight_regret"] = hindsight.regret();
    one["migration"] = migration_json(request, migration.copies_in_node, migration.copies_across,
                                      migration.stall_s());
    windows.push_back(std::move(one));
  }
  json["windows"] = std::move(windows);
  // These two are of one window each and mean nothing summed up.
  json.erase("worst_rank");
  json.erase("worst_rank_rows");
  return json;
}

Json to_json(const PlaceRequest& request) {
  const auto& shape = request.judge.shape;
  return {{"origin", request.steps->origin()},
          {"layers", request.steps->layers()},
          {"experts", request.steps->experts()},
          {"steps", request.steps->steps()},
          {"ranks", shape.ranks},
          {"ranks_per_node", shape.ranks_per_node},
          {"nodes", shape.nodes()},
          {"slots", shape.slots}};
}
}  // namespace switchyard::launch
