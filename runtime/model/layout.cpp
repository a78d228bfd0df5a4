// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/layout.hpp"

#include <stdexcept>

#include "runtime/model/checked_json.hpp"

namespace switchyard::runtime {

FamilyLayout layout_of(std::string_view family) {
  std::string known;
  for (FamilyLayout& row : all_layouts()) {
    if (row.family == family) return std::move(row);
    known += (known.empty() ? "" : ", ") + row.family;
  }
  throw std::invalid_argument("layout: family '" + shown(family) + "', want one of " + known);
}

std::string tensor_name(const std::string& prefix, const std::string& pattern,
                        std::int64_t number) {
  std::string base = prefix;
  std::string rest = pattern;
  if (rest.starts_with("../")) {
    rest.erase(0, 3);
    if (!base.empty()) base.pop_back();
    base.erase(base.find_last_of("./") + 1);  // npos + 1 is 0: no parent, nothing in front
  }
  for (const char* hole : {"{e}", "{l}"}) {
    if (const auto at = rest.find(hole); at != std::string::npos) {
      rest.replace(at, 3, std::to_string(number));
    }
  }
  return base + rest;
}

std::string bias_pattern(const std::string& pattern) {
  constexpr std::string_view kWeight = "weight";
  if (!pattern.ends_with(".weight") && !pattern.ends_with("_weight")) return pattern + "_bias";
  return pattern.substr(0, pattern.size() - kWeight.size()) + "bias";
}

bool belongs_elsewhere(const FamilyLayout& layout, const std::string& prefix,
                       const std::string& name) {
  for (const std::string& pattern : layout.training_only) {
    if (name == prefix + pattern) return true;
  }
  for (const std::string& beginning : layout.neighbours) {
    if (name.starts_with(prefix + beginning)) return true;
  }
  return false;
}
}  // namespace switchyard::runtime
