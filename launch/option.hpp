// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// An option as a command declares it: plain data, read by the parser, the help and the tests.
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace switchyard::launch {

enum class Kind { kText, kInteger, kReal, kChoice, kFlag };

/// Whole numbers from `least` to `most`.
struct IntegerRange {
  std::int64_t least = 0;
  std::int64_t most = std::numeric_limits<std::int64_t>::max();
};

/// Finite numbers from `least` to `most`; without `least` itself if `above`.
struct RealRange {
  double least = 0;
  double most = std::numeric_limits<double>::max();
  bool above = false;
};

/// One option. Its name serves as flag (--capacity-factor), as environment variable
/// (SWITCHYARD_CAPACITY_FACTOR) and as field of a config file (capacity_factor).
struct Option {
  std::string name;  ///< "capacity-factor"
  std::string unit;  ///< what the value counts, in capitals: "RATIO"; empty for a flag
  std::string help;  ///< "rows an expert accepts, over its fair share; 0: dropless"
  Kind kind = Kind::kText;
  std::optional<std::string> fallback = std::nullopt;  ///< the default; none: has() may be false
  IntegerRange integers = {};
  RealRange reals = {};
  std::vector<std::string> choices = {};
  bool list = false;    ///< may be given more than once
  bool empty = false;   ///< a text that may have no letter
  bool output = false;  ///< changes where results go and nothing about them
};

/// The words of a command line that belong to no option.
struct Positionals {
  std::string unit;  ///< "PATH"
  std::string help;
  std::size_t least = 0;
  std::size_t most = 0;
  bool behind_dashes = false;  ///< all that follows "--", and nothing else, whatever it looks like
};

[[nodiscard]] Option integer_option(std::string name, std::string unit, std::string help,
                                    std::optional<std::int64_t> fallback, IntegerRange range = {});
[[nodiscard]] Option real_option(std::string name, std::string unit, std::string help,
                                 std::optional<double> fallback, RealRange range = {});
[[nodiscard]] Option text_option(std::string name, std::string unit, std::string help,
                                 std::optional<std::string> fallback = std::nullopt);
/// @param unit  in the help; the choices stand there as well
[[nodiscard]] Option choice_option(std::string name, std::vector<std::string> choices,
                                   std::string help, std::string fallback);
[[nodiscard]] Option flag_option(std::string name, std::string help);
/// Text, any number of times.
[[nodiscard]] Option list_option(std::string name, std::string unit, std::string help);
/// A file that results are written to; not part of what makes two runs the same.
[[nodiscard]] Option output_option(std::string name, std::string unit, std::string help);

/// What a value has to be, for messages: "a whole number from 1 to 64".
[[nodiscard]] std::string wanted(const Option& option);

/// The value in its one canonical spelling ("007" is "7", "1.50" is "1.5").
/// @param where  "--tokens", "SWITCHYARD_TOKENS", "run.textproto: tokens"
/// @throws std::invalid_argument  "--tokens: got '12x', want a whole number from 0"
[[nodiscard]] std::string canonical_value(const Option& option, const std::string& where,
                                          const std::string& value);
}  // namespace switchyard::launch
