// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace/load_table.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "experts/index.hpp"
#include "runtime/text_proto.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::size_t kFirstExpert = 4;  // column
constexpr char kColumns[kFirstExpert][10] = {"benchmark", "domain", "tokens", "layer"};

/// Where a line stands, for messages.
struct LinePlace {
  const std::string& where;
  std::int64_t line = 0;
  [[noreturn]] void refuse(const std::string& what) const {
    throw std::invalid_argument(where + ":" + std::to_string(line) + ": " + what);
  }
};

/// Cells of a line; quotes around one are left out, and a comma inside them is part of it.
std::vector<std::string> cells_of(std::string_view line, const LinePlace& place) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  if (quoted) place.refuse("got a quote that does not end, want a second one");
  return cells;
}

template <class Number>
Number number_of(const std::string& cell, std::string_view column, Number most,
                 const LinePlace& place) {
  Number value{};
  const char* const end = cell.data() + cell.size();
  const auto [stop, error] = std::from_chars(cell.data(), end, value);
  if (error != std::errc{} || stop != end || !(value >= 0 && value <= most)) {
    place.refuse(std::string(column) + ", got '" + cell + "', want a number from 0 to " +
                 std::to_string(static_cast<std::int64_t>(most)));
  }
  return value;
}

void read_head(const std::vector<std::string>& cells, LoadTable& table, const LinePlace& place) {
  for (std::size_t i = 0; i < kFirstExpert; ++i) {
    if (i < cells.size() && cells[i] == std::string_view(kColumns[i])) continue;
    place.refuse("column " + std::to_string(i + 1) + ", got '" +
                 (i < cells.size() ? cells[i] : std::string()) + "', want '" +
                 std::string(kColumns[i]) + "'");
  }
  table.experts = std::ssize(cells) - std::int64_t{kFirstExpert};
  for (std::size_t i = kFirstExpert; i < cells.size(); ++i) {
    const std::string want = "e" + std::to_string(i - kFirstExpert);
    if (cells[i] != want) {
      place.refuse("column " + std::to_string(i + 1) + ", got '" + cells[i] + "', want '" + want +
                   "'");
    }
  }
  if (table.experts < 1 || table.experts > kMostTraceExperts) {
    place.refuse(std::to_string(table.experts) + " experts, want 1 to " +
                 std::to_string(kMostTraceExperts));
  }
}

void read_row(const std::vector<std::string>& cells, LoadTable& table, const LinePlace& place) {
  if (std::ssize(cells) != table.experts + std::int64_t{kFirstExpert}) {
    place.refuse(std::to_string(cells.size()) + " cells, want " +
                 std::to_string(table.experts + std::int64_t{kFirstExpert}));
  }
  const bool same = !table.domains.empty() && table.domains.back().benchmark == cells[0] &&
                    table.domains.back().domain == cells[1];
  if (!same) {
    table.domains.push_back({.benchmark = cells[0], .domain = cells[1], .tokens = {}, .means = {}});
  }
  LoadDomain& domain = table.domains.back();
  const auto layer = number_of(cells[3], "layer", kMostTraceLayers, place);
  if (layer != std::ssize(domain.means)) {
    place.refuse("domain '" + cells[1] + "' has layer " + std::to_string(layer) + ", want " +
                 std::to_string(domain.means.size()));
  }
  domain.tokens.push_back(number_of(cells[2], "tokens", std::int64_t{1} << 40, place));
  domain.means.emplace_back();
  for (std::size_t i = kFirstExpert; i < cells.size(); ++i) {
    // Once a token at most: a mean that was rounded up cannot be more either.
    domain.means.back().push_back(
        number_of(cells[i], "e" + std::to_string(i - kFirstExpert), 1.0, place));
  }
}
/// Means of few digits may sum to a little more than they were rounded from: takes that away from
/// all in proportion.
void cut_to(std::vector<std::int64_t>& counts, std::int64_t most) {
  const auto slots = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  std::int64_t over = slots - most;
  const double part = static_cast<double>(over) / static_cast<double>(slots);
  for (std::int64_t& count : counts) {
    if (over <= 0) return;
    const auto share = static_cast<std::int64_t>(std::ceil(part * static_cast<double>(count)));
    const std::int64_t cut = std::min({over, share, count});
    count -= cut;
    over -= cut;
  }
}

void require_slots(const LoadDomain& domain, std::size_t layer, std::int64_t top_k) {
  const auto& means = domain.means[layer];
  const auto sum = std::llround(std::accumulate(means.begin(), means.end(), 0.0));
  if (sum <= top_k) return;
  throw std::invalid_argument("load table: domain '" + domain.domain + "' has " +
                              std::to_string(sum) + " experts a token, want at most " +
                              std::to_string(top_k));
}
}  // namespace

LoadTable parse_load_table(std::string_view text, const std::string& where) {
  LoadTable table;
  LinePlace place{where, 0};
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    begin = end + 1;
    ++place.line;
    if (line.empty()) continue;
    const auto cells = cells_of(line, place);
    if (table.experts == 0) {
      read_head(cells, table, place);
    } else {
      read_row(cells, table, place);
    }
  }
  if (table.domains.empty()) place.refuse("got no row, want at least one");
  table.layers = std::ssize(table.domains.front().means);
  for (const LoadDomain& domain : table.domains) {
    if (std::ssize(domain.means) == table.layers) continue;
    place.refuse("domain '" + domain.domain + "' has " + std::to_string(domain.means.size()) +
                 " layers, want " + std::to_string(table.layers) + " as the first");
  }
  return table;
}

LoadTable read_load_table(const std::string& file) {
  return parse_load_table(read_text(file), file);
}

std::vector<std::size_t> find_domain(const LoadTable& table, const std::string& name) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < table.domains.size(); ++i) {
    const LoadDomain& domain = table.domains[i];
    if (domain.domain == name || domain.benchmark + "/" + domain.domain == name) found.push_back(i);
  }
  if (found.empty()) {
    throw std::invalid_argument("--domain: got '" + name + "', want one of the " +
                                std::to_string(table.domains.size()) + " of the table, such as " +
                                table.domains.front().domain);
  }
  return found;
}

std::int64_t top_k_of(const LoadTable& table) {
  std::int64_t top_k = 0;
  for (const LoadDomain& domain : table.domains) {
    for (const auto& means : domain.means) {
      const auto sum = std::llround(std::accumulate(means.begin(), means.end(), 0.0));
      if (top_k == 0) top_k = sum;
      if (sum == top_k && sum > 0) continue;
      throw std::invalid_argument("load table: domain '" + domain.domain + "' has " +
                                  std::to_string(sum) + " experts a token, want " +
                                  std::to_string(std::max<std::int64_t>(top_k, 1)) +
                                  " in every row");
    }
  }
  return top_k;
}

RoutingTrace trace_of(const LoadTable& table, std::int64_t top_k) {
  RoutingTrace trace;
  trace.info.layers = table.layers;
  trace.info.experts = table.experts;
  trace.info.top_k = top_k;
  for (const LoadDomain& domain : table.domains) {
    TraceStep step{.number = std::ssize(trace.steps), .layers = {}};
    for (std::size_t l = 0; l < domain.means.size(); ++l) {
      require_slots(domain, l, top_k);
      TraceLayer layer;
      layer.tokens = domain.tokens[l];
      for (const double mean : domain.means[l]) {
        layer.counts.push_back(std::llround(mean * static_cast<double>(layer.tokens)));
      }
      cut_to(layer.counts, layer.tokens * top_k);
      step.layers.push_back(std::move(layer));
    }
    trace.steps.push_back(std::move(step));
  }
  return trace;
}
}  // namespace switchyard::runtime
