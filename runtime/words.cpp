// SPDX-License-Identifier: Apache-2.0
#include "runtime/words.hpp"

#include <charconv>
#include <stdexcept>
#include <string>

#include "experts/router/names.hpp"

namespace switchyard::runtime {

std::string_view name_of(experts::CapacityRule rule) {
  return experts::rule_name(rule);
}

std::vector<experts::CapacityRule> capacity_rules() {
  using enum experts::CapacityRule;
  return {kNone,       kDeepspeedTop2, kDeepspeedProbs, kDeepspeedPosition,
          kFlaxformer, kColossal,      kDeviceBudget,   kRecycle};
}

experts::CapacityRule capacity_rule_from(std::string_view name) {
  std::string all;
  for (const auto rule : capacity_rules()) {
    if (name == name_of(rule)) return rule;
    all += (all.empty() ? "" : ", ") + std::string(name_of(rule));
  }
  throw std::invalid_argument("--capacity-rule: got '" + std::string(name) + "', want one of " +
                              all);
}

std::int64_t token_count_from(const std::string& where, const std::string& text) {
  std::int64_t count = -1;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, count);
  if (error != std::errc{} || stop != end || count < 0) {
    throw std::invalid_argument(where + ": got '" + text + "', want a number of tokens from 0");
  }
  return count;
}

std::string_view name_of(experts::Activation activation) {
  switch (activation) {
    case experts::Activation::kSilu:
      return "silu";
    case experts::Activation::kGeluErf:
      return "gelu-erf";
    case experts::Activation::kGeluTanh:
      return "gelu-tanh";
    case experts::Activation::kRelu:
      return "relu";
    case experts::Activation::kClampedSwiglu:
      return "clamped-swiglu";
  }
  return "unknown";
}

std::string_view name_of(experts::Unit unit) {
  switch (unit) {
    case experts::Unit::kGated:
      return "gated";
    case experts::Unit::kPlain:
      return "plain";
    case experts::Unit::kTrilinear:
      return "trilinear";
  }
  return "unknown";
}
}  // namespace switchyard::runtime
