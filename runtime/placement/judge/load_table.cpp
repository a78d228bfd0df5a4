// SPDX-License-Identifier: Apache-2.0
// Tables of loads in CSV, as people publish them.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include "experts/index.hpp"
#include "runtime/placement/judge/token_steps.hpp"
#include "runtime/text_proto.hpp"

namespace switchyard::runtime {
namespace {
/// The cells of a line; quotes may stand around one, and a comma within them.
std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (const char letter : line) {
    if (letter == '"') {
      quoted = !quoted;
    } else if (letter == ',' && !quoted) {
      cells.emplace_back();
    } else if (letter != '\r') {
      cells.back() += letter;
    }
  }
  return cells;
}

std::optional<double> number_in(const std::string& cell) {
  double value = 0;
  const char* end = cell.data() + cell.size();
  const auto [stop, error] = std::from_chars(cell.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value) || value < 0) return {};
  return value;
}

struct LoadRow {
  std::string key;
  std::int64_t layer = 0;
  double tokens = 0;  ///< 0: not known
  std::vector<double> loads;
};

/// What stands in which column.
class LoadColumns {
 public:
  LoadColumns(const std::vector<std::string>& names, const std::string& where)
      : names_(names), count_(names.size()) {
    for (std::size_t c = 0; c < count_; ++c) column_[names[c]] = c;
    if (column_.size() < count_) throw std::invalid_argument(where + ": a column is there twice");
    while (column_.contains("e" + std::to_string(experts_))) ++experts_;
    if (experts_ == 0) {
      throw std::invalid_argument(where +
                                  ": no column e0, want e0, e1, ... with the load of each "
                                  "expert");
    }
  }

  [[nodiscard]] std::int64_t experts() const { return experts_; }

  [[nodiscard]] LoadRow row(const std::vector<std::string>& cells, const std::string& where) const {
    if (cells.size() != count_) {
      throw std::invalid_argument(where + ": " + std::to_string(cells.size()) + " columns, want " +
                                  std::to_string(count_));
    }
    const auto read = [&](const std::string& name) {
      const std::string& cell = cells[column_.at(name)];
      const auto value = number_in(cell);
      if (value) return *value;
      throw std::invalid_argument(where + ": " + name + " is '" + cell + "', want a number from 0");
    };
    LoadRow row;
    for (std::int64_t e = 0; e < experts_; ++e) row.loads.push_back(read("e" + std::to_string(e)));
    if (column_.contains("layer")) row.layer = static_cast<std::int64_t>(read("layer"));
    if (column_.contains("tokens")) row.tokens = read("tokens");
    for (std::size_t c = 0; c < count_; ++c) {
      if (!is_known(names_[c])) row.key += cells[c] + ",";
    }
    return row;
  }

 private:
  [[nodiscard]] bool is_known(const std::string& name) const {
    if (name == "layer" || name == "tokens") return true;
    const bool numbered =
        name.size() > 1 && name[0] == 'e' &&
        std::all_of(name.begin() + 1, name.end(), [](char c) { return c >= '0' && c <= '9'; });
    return numbered && column_.contains(name);
  }
  std::vector<std::string> names_;
  std::size_t count_;
  std::map<std::string, std::size_t> column_;
  std::int64_t experts_ = 0;
};

class TableSteps final : public TokenSteps {
 public:
  TableSteps(const std::string& file, std::int64_t top_k, const DrawSettings& draw)
      : file_(file), top_k_(top_k), draw_(draw) {
    std::istringstream lines(read_text(file));
    std::string line;
    if (!std::getline(lines, line)) throw std::invalid_argument(file + ": empty, want a header");
    const LoadColumns columns(cells_of(line), file + ":1");
    experts_ = columns.experts();
    for (std::int64_t number = 2; std::getline(lines, line); ++number) {
      if (line.empty() || line == "\r") continue;
      const std::string where = file + ":" + std::to_string(number);
      add(columns.row(cells_of(line), where), where);
    }
    finish();
  }

  std::int64_t steps() const override { return static_cast<std::int64_t>(steps_.size()); }
  std::int64_t layers() const override { return static_cast<std::int64_t>(numbers_.size()); }
  std::int64_t experts() const override { return experts_; }
  std::int64_t layer_number(std::int64_t layer) const override { return numbers_[at(layer)]; }
  experts::Routing routing(std::int64_t step, std::int64_t layer) override {
    const auto& loads = steps_[at(step)].at(numbers_[at(layer)]);
    return draw_tokens(loads, top_k_, draw_.tokens, draw_.seed,
                       static_cast<std::uint64_t>(step * layers() + layer),
                       file_ + ": layer " + std::to_string(numbers_[at(layer)]));
  }
  std::string origin() const override {
    return file_ + ", " + std::to_string(draw_.tokens) +
           " tokens a step drawn from its loads, without co-activation";
  }

 private:
  using Step = std::map<std::int64_t, std::vector<double>>;

  void add(LoadRow row, const std::string& where) {
    if (steps_.empty() || row.key != key_) {
      // A layer that comes again begins a step where no other column does.
      steps_.emplace_back();
    } else if (steps_.back().contains(row.layer)) {
      if (!row.key.empty()) {
        throw std::invalid_argument(where + ": layer " + std::to_string(row.layer) +
                                    " is there twice in a step");
      }
      steps_.emplace_back();
    }
    key_ = row.key;
    if (row.tokens > 0) {
      for (const double load : row.loads) sums_ += load;
      ++means_;
    }
    steps_.back()[row.layer] = std::move(row.loads);
  }

  void finish() {
    if (steps_.empty()) throw std::invalid_argument(file_ + ": a header only, want rows");
    for (const auto& [layer, loads] : steps_.front()) numbers_.push_back(layer);
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      bool same = steps_[s].size() == numbers_.size();
      for (const auto& [layer, loads] : steps_[s]) same = same && steps_.front().contains(layer);
      if (same) continue;
      throw std::invalid_argument(file_ + ": step " + std::to_string(s) +
                                  " has other layers than "
                                  "the first");
    }
    if (top_k_ == 0) {
      top_k_ = means_ == 0
                   ? 1
                   : std::max<std::int64_t>(1, std::lround(sums_ / static_cast<double>(means_)));
    }
    if (top_k_ > experts_) {
      throw std::invalid_argument("--top-k: got " + std::to_string(top_k_) + ", want at most " +
                                  std::to_string(experts_) + ", the experts of " + file_);
    }
  }

  std::string file_;
  std::int64_t top_k_;
  DrawSettings draw_;
  std::int64_t experts_ = 0;
  std::vector<Step> steps_;  ///< loads by layer
  std::vector<std::int64_t> numbers_;
  std::string key_;
  double sums_ = 0;
  std::int64_t means_ = 0;
};
}  // namespace

std::unique_ptr<TokenSteps> table_steps(const std::string& file, std::int64_t top_k,
                                        const DrawSettings& draw) {
  return std::make_unique<TableSteps>(file, top_k, draw);
}
}  // namespace switchyard::runtime
