// SPDX-License-Identifier: Apache-2.0
#include "launch/option.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "runtime/model/nearest.hpp"

namespace switchyard::launch {
namespace {
/// The number that the whole of `text` spells, if it does.
template <class T>
std::optional<T> whole(const std::string& text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

/// The shortest text that reads back as the same number.
std::string shortest(double value) {
  std::string text(64, '\0');
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) throw std::logic_error("shortest: a number of more than 64 letters");
  text.resize(static_cast<std::size_t>(end - text.data()));
  return text;
}

std::string canonical_flag(const std::string& value) {
  if (value == "1" || value == "true" || value == "yes") return "true";
  if (value == "0" || value == "false" || value == "no") return "false";
  return "";
}
}  // namespace

Option integer_option(std::string name, std::string unit, std::string help,
                      std::optional<std::int64_t> fallback, IntegerRange range) {
  Option option{.name = std::move(name),
                .unit = std::move(unit),
                .help = std::move(help),
                .kind = Kind::kInteger,
                .integers = range};
  if (fallback) option.fallback = std::to_string(*fallback);
  return option;
}

Option real_option(std::string name, std::string unit, std::string help,
                   std::optional<double> fallback, RealRange range) {
  Option option{.name = std::move(name),
                .unit = std::move(unit),
                .help = std::move(help),
                .kind = Kind::kReal,
                .reals = range};
  if (fallback) option.fallback = shortest(*fallback);
  return option;
}

Option text_option(std::string name, std::string unit, std::string help,
                   std::optional<std::string> fallback) {
  return {.name = std::move(name),
          .unit = std::move(unit),
          .help = std::move(help),
          .fallback = std::move(fallback)};
}

Option choice_option(std::string name, std::vector<std::string> choices, std::string help,
                     std::string fallback) {
  std::string unit;
  for (const std::string& choice : choices) unit += (unit.empty() ? "" : "|") + choice;
  return {.name = std::move(name),
          .unit = std::move(unit),
          .help = std::move(help),
          .kind = Kind::kChoice,
          .fallback = std::move(fallback),
          .choices = std::move(choices)};
}

Option flag_option(std::string name, std::string help) {
  return {.name = std::move(name),
          .unit = "",
          .help = std::move(help),
          .kind = Kind::kFlag,
          .fallback = "false"};
}

Option list_option(std::string name, std::string unit, std::string help) {
  return {.name = std::move(name), .unit = std::move(unit), .help = std::move(help), .list = true};
}

Option output_option(std::string name, std::string unit, std::string help) {
  return {
      .name = std::move(name), .unit = std::move(unit), .help = std::move(help), .output = true};
}

std::string wanted(const Option& option) {
  switch (option.kind) {
    case Kind::kInteger: {
      const IntegerRange& range = option.integers;
      std::string text = "a whole number from " + std::to_string(range.least);
      if (range.most != IntegerRange{}.most) text += " to " + std::to_string(range.most);
      return text;
    }
    case Kind::kReal: {
      const RealRange& range = option.reals;
      std::string text = std::string("a number ") + (range.above ? "above " : "from ");
      text += shortest(range.least);
      if (range.most != RealRange{}.most) text += " to " + shortest(range.most);
      return text;
    }
    case Kind::kChoice:
      return runtime::one_of(option.choices);
    case Kind::kFlag:
      return "true or false";
    case Kind::kText:
      break;
  }
  return option.unit;
}

std::string canonical_value(const Option& option, const std::string& where,
                            const std::string& value) {
  switch (option.kind) {
    case Kind::kInteger: {
      const auto number = whole<std::int64_t>(value);
      if (!number || *number < option.integers.least || *number > option.integers.most) break;
      return std::to_string(*number);
    }
    case Kind::kReal: {
      const auto number = whole<double>(value);
      if (!number || !std::isfinite(*number) || *number > option.reals.most) break;
      if (*number < option.reals.least) break;
      if (option.reals.above && *number == option.reals.least) break;
      return shortest(*number + 0.0);  // -0 is 0
    }
    case Kind::kChoice:
      if (std::ranges::find(option.choices, value) == option.choices.end()) break;
      return value;
    case Kind::kFlag:
      if (canonical_flag(value).empty()) break;
      return canonical_flag(value);
    case Kind::kText:
      if (value.empty() && !option.empty) break;
      return value;
  }
  std::string want = wanted(option);
  if (option.kind == Kind::kInteger && option.integers.most == IntegerRange{}.most &&
      !value.empty() && value.find_first_not_of("0123456789") == std::string::npos) {
    want += " to " + std::to_string(option.integers.most);  // only digits, so it was too large
  }
  throw std::invalid_argument(where + ": got '" + value + "', want " + want);
}
}  // namespace switchyard::launch
