// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The options of one start of one command. Layers, the later wins: defaults, config file,
/// environment, flags. The door to Boost.Program_options.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/option.hpp"

namespace switchyard::launch {

/// What a command line is read against.
struct Syntax {
  std::string command;  ///< "models show"
  std::string summary;  ///< for the help
  std::vector<Option> options;
  Positionals positionals;
};

/// Parsed and checked: no getter can fail but for a name that was never declared.
class Options {
 public:
  /// Reads the command line and, if `config` is among the options, the file that it names.
  /// A list that is given in a later layer replaces the earlier one; in the environment its entries
  /// are separated by commas.
  /// @param args         what follows the command's name
  /// @param environment  "NAME=VALUE"; only names that begin with SWITCHYARD_ are looked at
  /// @throws std::invalid_argument  "--tokens: got '12x', want a whole number from 0"; unknown
  /// flags
  ///         and fields with the nearest name; a flag given twice; file, line and column of config
  /// @throws std::system_error      the config file cannot be read
  [[nodiscard]] static Options parse(const Syntax& syntax, const std::vector<std::string>& args,
                                     const std::vector<std::string>& environment);

  /// False only for an option without a default that nobody gave.
  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] std::int64_t integer(std::string_view name) const;
  [[nodiscard]] double real(std::string_view name) const;
  [[nodiscard]] std::string text(std::string_view name) const;  ///< also of a choice
  [[nodiscard]] bool flag(std::string_view name) const;
  [[nodiscard]] const std::vector<std::string>& list(std::string_view name) const;
  [[nodiscard]] const std::vector<std::string>& positionals() const { return positionals_; }

  /// Every setting that has a value, in the order of declaration, in one canonical spelling: equal
  /// where two starts mean the same. Without outputs and without `config`, whose entries count as
  /// settings; an entry of a list and each positional stands by itself.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> canonical() const;

  /// What was given and has no effect, one sentence each.
  [[nodiscard]] const std::vector<std::string>& ignored() const { return ignored_; }

 private:
  [[nodiscard]] const Option& declared(std::string_view name) const;
  [[nodiscard]] const std::string& value(std::string_view name) const;
  void put(const Option& option, const std::string& where, const std::vector<std::string>& values);
  void read_config(const std::string& file);
  void read_environment(const std::vector<std::string>& environment);

  std::vector<Option> declared_;
  Positionals positional_;
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
  std::vector<std::string> positionals_;
  std::vector<std::string> ignored_;
  std::vector<std::string> none_;  ///< the list that nobody gave
};

/// The text of `switchyard COMMAND --help`.
[[nodiscard]] std::string help_text(const Syntax& syntax);

/// SWITCHYARD_CAPACITY_FACTOR for capacity-factor.
[[nodiscard]] std::string variable_name(std::string_view option);

/// Variables that begin with SWITCHYARD_ and are no option of any command, one sentence each, with
/// the nearest name that is one.
[[nodiscard]] std::vector<std::string> unknown_variables(
    const std::vector<std::string>& environment, const std::vector<std::string>& all_options);
}  // namespace switchyard::launch
