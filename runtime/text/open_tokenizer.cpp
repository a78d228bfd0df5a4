// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "runtime/model/checked_json.hpp"
#include "runtime/text/json_fields.hpp"
#include "runtime/text/tokenizer.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::int64_t kMostBytes = std::int64_t{1} << 28;

bool is_there(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::exists(file, error);
}

/// Empty: none.
std::filesystem::path found_in(const std::filesystem::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    if (is_there(folder / name)) return folder / name;
  }
  return {};
}

std::filesystem::path file_of(const std::filesystem::path& folder, const std::string& choice) {
  if (choice != "auto") return choice;
  const std::filesystem::path found = found_in(folder);
  if (!found.empty()) return found;
  throw std::invalid_argument("tokenizer: got neither tokenizer.json nor tokenizer.model in " +
                              folder.string() +
                              ", want one of them, or --tokenizer FILE|bytes; --prompt-ids and "
                              "--ids need none");
}

/// A token of tokenizer_config.json: its text, or an object with it.
std::optional<std::int64_t> token_of(const nlohmann::json& config, const std::string& key,
                                     const std::string& where, const Tokenizer& tokenizer) {
  const nlohmann::json* value = field(config, key, where);
  if (value == nullptr) return std::nullopt;
  std::string name;
  if (value->is_object()) {
    name = text_field(*value, "content", where + "." + key);
  } else {
    name = text_field(config, key, where);
  }
  return tokenizer.find(name);
}

void read_config(const std::filesystem::path& file, TextRules& rules) {
  if (!is_there(file)) return;
  const std::string where = file.string();
  const nlohmann::json config = parse_checked(read_text(file, kMostBytes), where);
  const auto eos = token_of(config, "eos_token", where, *rules.tokenizer);
  if (eos) rules.eos = eos;
  if (field(config, "add_bos_token", where) == nullptr) return;
  if (!flag_field(config, "add_bos_token", where)) {
    rules.bos.reset();
  } else if (const auto bos = token_of(config, "bos_token", where, *rules.tokenizer)) {
    rules.bos = bos;
  }
}
}  // namespace

bool has_tokenizer(const std::filesystem::path& folder) {
  return !found_in(folder).empty();
}

TextRules open_tokenizer(const std::filesystem::path& folder, const std::string& choice) {
  TextRules rules;
  if (choice == "bytes") {
    rules.tokenizer = bytes_tokenizer();
    return rules;
  }
  const std::filesystem::path file = file_of(folder, choice);
  if (file.extension() != ".json" && file.extension() != ".model") {
    throw std::invalid_argument("--tokenizer: got '" + choice +
                                "', want auto, bytes, or a file whose name ends in .json or "
                                ".model");
  }
  const std::string bytes = read_text(file, kMostBytes);
  rules.tokenizer = file.extension() == ".json" ? json_tokenizer(bytes, file.string())
                                                : sentencepiece_tokenizer(bytes, file.string());
  rules.bos = rules.tokenizer->bos();
  rules.eos = rules.tokenizer->eos();
  read_config(folder / "tokenizer_config.json", rules);
  return rules;
}
}  // namespace switchyard::runtime
