// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/bench_report.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <unistd.h>

#include "launch/version.hpp"
#include "runtime/model/nearest.hpp"
#include "runtime/report/digest.hpp"

namespace switchyard::launch {
std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

std::string processor_name() {
  std::ifstream stream("/proc/cpuinfo");
  for (std::string line; std::getline(stream, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

namespace {
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  if (text.empty() || text.back() == ',') parts.emplace_back();
  return parts;
}

/// The command with all its settings.
std::string again(const Context& context, const std::string& command) {
  std::string line =
      "mpirun -n " + std::to_string(context.group().size()) + " switchyard " + command;
  for (const auto& [name, value] : context.options.canonical()) {
    if (value == "false") continue;
    line += " --" + name;
    if (value != "true") line += " " + value;
  }
  return line;
}
}  // namespace

std::vector<Option> bench_options(double seconds) {
  return {
      text_option("model", "NAME|FILE", "a preset, by any unique beginning, or a model file",
                  "olmoe-1b-7b-0924"),
      list_option("set", "FIELD=VALUE", "changes one field of the model; any number of times"),
      integer_option("seed", "NUMBER", "of synthetic weights, tokens and routing", 1, {.least = 0}),
      real_option("seconds", "SECONDS", "to measure a row of the table, in 5 repetitions or more",
                  seconds, {.least = 0, .most = 1e6}),
      integer_option("repetitions", "COUNT", "of a row at most", 1000, {.least = 1}),
  };
}

Option bench_inject_option() {
  return choice_option("inject", {"none", "result"},
                       "spoils one result a rank, to see that it is caught", "none");
}

runtime::Model bench_model(const Options& options) {
  runtime::Model model = runtime::Model::from_name_or_file(options.text("model"));
  for (const std::string& assignment : options.list("set")) model.set(assignment);
  model.validate();
  return model;
}

runtime::bench::Budget bench_budget(const Options& options) {
  runtime::bench::Budget budget;
  budget.seconds = options.real("seconds");
  budget.most = options.integer("repetitions");
  budget.least = std::min(budget.least, budget.most);
  return budget;
}

std::vector<comm::Field> prepare_bench(const Options& options,
                                       const std::vector<std::string>& lists) {
  for (const std::string& name : lists) static_cast<void>(counts_of(options, name));
  const runtime::Model model = bench_model(options);
  static_cast<void>(model.block());
  return {{"model digest", runtime::sha256(model.text()).substr(0, 16)}};
}

std::vector<std::int64_t> counts_of(const Options& options, const std::string& name) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  std::vector<std::int64_t> counts;
  for (const std::string& word : split(options.text(name))) {
    std::int64_t count = 0;
    const char* const end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, count);
    if (error != std::errc{} || stop != end || count < 1 || count > kMost) {
      throw std::invalid_argument("--" + name + ": got '" + options.text(name) +
                                  "', want whole numbers from 1 with commas between");
    }
    counts.push_back(count);
  }
  return counts;
}

std::vector<std::string> words_of(const Options& options, const std::string& name,
                                  const std::vector<std::string>& known) {
  std::vector<std::string> words = split(options.text(name));
  for (const std::string& word : words) {
    if (known.empty() || std::ranges::find(known, word) != known.end()) continue;
    throw std::invalid_argument("--" + name + ": got '" + word + "', want " +
                                runtime::one_of(known));
  }
  return words;
}

std::string decimal(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string figure(double value) {
  if (value == 0 || !std::isfinite(value)) return decimal(value, 0);
  const int whole = static_cast<int>(std::floor(std::log10(std::abs(value)))) + 1;
  return decimal(value, std::clamp(4 - whole, 0, 6));
}

void Table::print(std::ostream& out) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - row[i].size(), ' ');
      out << (i == 0 ? "" : "  ") << gap << row[i];
    }
    out << '\n';
  }
}

void put(nlohmann::ordered_json& json, const std::string& prefix,
         const runtime::bench::Summary& summary) {
  json[prefix + "_min"] = summary.min;
  json[prefix + "_median"] = summary.median;
  json[prefix + "_p99"] = summary.p99;
  json[prefix + "_max"] = summary.max;
}

nlohmann::ordered_json bench_header(const Context& context, const std::string& command,
                                    const runtime::bench::Summary& steadiness) {
  nlohmann::ordered_json json;
  json["again"] = again(context, command);
  json["commit"] = commit();
  json["host"] = host_name();
  json["processor"] = processor_name();
  json["processors"] = std::thread::hardware_concurrency();
  put(json, "machine_probe_s", steadiness);
  json["machine_spread"] = runtime::bench::spread(steadiness);
  return json;
}

void print_machine(const runtime::bench::Summary& steadiness, std::ostream& out) {
  out << "\nmachine  " << host_name() << ", " << processor_name() << ", "
      << std::thread::hardware_concurrency() << " processors, " << version() << " (" << commit()
      << ")\nspread   " << decimal(100 * runtime::bench::spread(steadiness), 0)
      << " %: a fixed chain of arithmetic took " << figure(1e3 * steadiness.min) << " to "
      << figure(1e3 * steadiness.p99) << " ms, median " << figure(1e3 * steadiness.median)
      << ", before, between and after\n";
}
}  // namespace switchyard::launch
