// SPDX-License-Identifier: Apache-2.0
#include "launch/options.hpp"

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>
#include <sstream>
#include <stdexcept>

#include "launch/config.hpp"
#include "launch/nearest.hpp"

namespace switchyard::launch {
namespace po = boost::program_options;
namespace {
constexpr unsigned kLineLength = 100;

po::options_description describe(const Syntax& syntax) {
  po::options_description description("options", kLineLength, kLineLength / 2);
  for (const Option& option : syntax.options) {
    if (option.kind == Kind::kFlag) {
      description.add_options()(option.name.c_str(), option.help.c_str());
      continue;
    }
    auto* value = po::value<std::string>()->value_name(option.unit);
    if (option.fallback) value->default_value(*option.fallback);
    description.add_options()(option.name.c_str(), value, option.help.c_str());
  }
  description.add_options()("help", "show this text");
  return description;
}

std::vector<std::string> flag_names(const Syntax& syntax) {
  std::vector<std::string> names{"--help"};
  for (const Option& option : syntax.options) names.push_back("--" + option.name);
  return names;
}

[[noreturn]] void refuse_unknown(const Syntax& syntax, const std::string& word) {
  throw std::invalid_argument(syntax.command + ": no option " + word +
                              nearest_hint(word, flag_names(syntax)));
}

/// Boost's tokens, with its complaints in our words. Abbreviations are off.
std::vector<po::option> tokens_of(const Syntax& syntax, const std::vector<std::string>& args) {
  using Style = po::command_line_style::style_t;
  const po::options_description description = describe(syntax);
  try {
    return po::command_line_parser(args)
        .options(description)
        .style(Style::allow_long | Style::long_allow_adjacent | Style::long_allow_next)
        .allow_unregistered()
        .run()
        .options;
  } catch (const po::invalid_command_line_syntax& error) {
    const std::string name = error.get_option_name();
    if (error.kind() == po::invalid_syntax::extra_parameter) {
      throw std::invalid_argument(name + ": got a value, want none");
    }
    std::string unit = "a value";
    for (const Option& option : syntax.options) {
      if ("--" + option.name == name) unit = wanted(option);
    }
    throw std::invalid_argument(name + ": got nothing, want " + unit);
  } catch (const po::error& error) {
    throw std::invalid_argument(syntax.command + ": " + error.what());
  }
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}
}  // namespace

Options Options::parse(const Syntax& syntax, const std::vector<std::string>& args,
                       const std::vector<std::string>& environment) {
  Options options;
  options.declared_ = syntax.options;
  options.positional_ = syntax.positionals;
  std::map<std::string, std::vector<std::string>> given;
  auto own_end = args.end();
  if (syntax.positionals.behind_dashes) own_end = std::ranges::find(args, "--");
  for (const po::option& token : tokens_of(syntax, {args.begin(), own_end})) {
    const std::string& word = token.original_tokens.front();
    if (token.unregistered) refuse_unknown(syntax, word.substr(0, word.find('=')));
    if (token.string_key.empty()) {
      if (word.size() > 1 && word.front() == '-') refuse_unknown(syntax, word);
      options.positionals_.push_back(word);
      continue;
    }
    const Option& option = options.declared(token.string_key);
    const std::string where = "--" + option.name;
    if (option.kind != Kind::kFlag && token.original_tokens.size() > 1 &&
        token.value.front().starts_with("--")) {
      throw std::invalid_argument(where + ": got '" + token.value.front() + "', want " +
                                  wanted(option));
    }
    auto& values = given[option.name];
    if (!values.empty() && !option.list) {
      throw std::invalid_argument(where + ": got it twice, want it once");
    }
    values.push_back(option.kind == Kind::kFlag ? "true" : token.value.front());
  }

  const auto declares_config = std::ranges::find(options.declared_, "config", &Option::name);
  if (declares_config != options.declared_.end()) {
    const std::string variable = variable_name("config") + "=";
    std::string file;
    for (const std::string& entry : environment) {
      if (entry.starts_with(variable)) file = entry.substr(variable.size());
    }
    if (given.contains("config")) file = given["config"].front();
    if (!file.empty()) options.read_config(file);
  }
  options.read_environment(environment);
  for (const auto& [name, values] : given) {
    options.put(options.declared(name), "--" + name, values);
  }

  const Positionals& want = syntax.positionals;
  if (want.behind_dashes && !options.positionals_.empty()) {
    throw std::invalid_argument(syntax.command + ": got '" + options.positionals_.front() +
                                "', want -- before the words that are not its own");
  }
  if (own_end != args.end()) options.positionals_.assign(own_end + 1, args.end());
  if (options.positionals_.size() > want.most) {
    throw std::invalid_argument(
        syntax.command + ": got '" + options.positionals_[want.most] + "', want " +
        (want.most == 0 ? "options only"
                        : "at most " + std::to_string(want.most) + " " + want.unit));
  }
  if (options.positionals_.size() < want.least) {
    throw std::invalid_argument(syntax.command + ": got no " + want.unit + ", want " + want.help);
  }
  return options;
}

void Options::put(const Option& option, const std::string& where,
                  const std::vector<std::string>& values) {
  std::vector<std::string> checked;
  checked.reserve(values.size());
  for (const std::string& value : values) checked.push_back(canonical_value(option, where, value));
  values_[option.name] = std::move(checked);
}

void Options::read_config(const std::string& file) {
  for (const ConfigEntry& entry : read_config_file(file)) {
    const auto option = std::ranges::find(declared_, entry.name, &Option::name);
    if (option == declared_.end()) {
      ignored_.push_back(file + ": " + entry.field + " is set and this command does not use it");
      continue;
    }
    put(*option, file + ": " + entry.field, entry.values);
  }
}

void Options::read_environment(const std::vector<std::string>& environment) {
  for (const Option& option : declared_) {
    const std::string variable = variable_name(option.name);
    for (const std::string& entry : environment) {
      if (!entry.starts_with(variable + "=")) continue;
      const std::string text = entry.substr(variable.size() + 1);
      put(option, variable, option.list ? split(text, ',') : std::vector<std::string>{text});
    }
  }
}

const Option& Options::declared(std::string_view name) const {
  const auto option = std::ranges::find(declared_, name, &Option::name);
  if (option == declared_.end()) {
    throw std::logic_error("options: --" + std::string(name) + " was never declared");
  }
  return *option;
}

bool Options::has(std::string_view name) const {
  const Option& option = declared(name);
  return values_.contains(name) || option.fallback.has_value();
}

const std::string& Options::value(std::string_view name) const {
  const Option& option = declared(name);
  const auto given = values_.find(name);
  if (given != values_.end() && !option.list) return given->second.front();
  if (!option.fallback) {
    throw std::logic_error("options: --" + std::string(name) + " has no one value");
  }
  return *option.fallback;
}

std::int64_t Options::integer(std::string_view name) const {
  const std::string& text = value(name);
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

double Options::real(std::string_view name) const {
  const std::string& text = value(name);
  double number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::string Options::text(std::string_view name) const {
  return value(name);
}

bool Options::flag(std::string_view name) const {
  return value(name) == "true";
}

const std::vector<std::string>& Options::list(std::string_view name) const {
  const auto given = values_.find(declared(name).name);
  return given == values_.end() ? none_ : given->second;
}

std::vector<std::pair<std::string, std::string>> Options::canonical() const {
  std::vector<std::pair<std::string, std::string>> settings;
  for (const Option& option : declared_) {
    if (option.output || option.name == "config" || !has(option.name)) continue;
    if (option.list) {
      for (const std::string& entry : list(option.name)) settings.emplace_back(option.name, entry);
    } else {
      settings.emplace_back(option.name, value(option.name));
    }
  }
  for (const std::string& word : positionals_) settings.emplace_back(positional_.unit, word);
  return settings;
}

std::string help_text(const Syntax& syntax) {
  const Positionals& words = syntax.positionals;
  std::ostringstream text;
  text << "usage: switchyard " << syntax.command;
  if (words.most > 0) {
    const std::string word = words.unit + (words.most > 1 ? "..." : "");
    if (!words.behind_dashes) text << ' ' << (words.least > 0 ? word : "[" + word + "]");
  }
  text << " [options]" << (words.behind_dashes ? " -- " + words.unit + "..." : "");
  text << "\n\n" << syntax.summary << "\n\n";
  if (words.most > 0) text << "  " << words.unit << "  " << words.help << "\n\n";
  text << describe(syntax);
  return text.str();
}

std::string variable_name(std::string_view option) {
  std::string name = "SWITCHYARD_";
  for (const char letter : option) {
    const bool lower = letter >= 'a' && letter <= 'z';
    name += letter == '-' ? '_' : lower ? static_cast<char>(letter - 'a' + 'A') : letter;
  }
  return name;
}

std::vector<std::string> unknown_variables(const std::vector<std::string>& environment,
                                           const std::vector<std::string>& all_options) {
  std::vector<std::string> known;
  known.reserve(all_options.size());
  for (const std::string& option : all_options) known.push_back(variable_name(option));
  std::vector<std::string> sentences;
  for (const std::string& entry : environment) {
    const std::string name = entry.substr(0, entry.find('='));
    if (!name.starts_with("SWITCHYARD_") || std::ranges::find(known, name) != known.end()) continue;
    sentences.push_back("environment: " + name + " is no option and was ignored" +
                        nearest_hint(name, known));
  }
  return sentences;
}
}  // namespace switchyard::launch
