// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/prompts.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <span>
#include <stdexcept>

#include "comm/group/collective.hpp"
#include "experts/synthetic.hpp"
#include "runtime/model/checked_json.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/text/json_fields.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;
constexpr std::string_view kBetween = ", \t\r\n";
}  // namespace

TokenIds ids_from(std::string_view text, const std::string& where) {
  TokenIds ids;
  for (std::size_t at = text.find_first_not_of(kBetween); at != std::string_view::npos;
       at = text.find_first_not_of(kBetween, at)) {
    const std::size_t end = std::min(text.find_first_of(kBetween, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    std::int64_t id = -1;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || stop != word.data() + word.size() || id < 0) {
      throw std::invalid_argument(where + ": got '" + shown(word) + "' for id " +
                                  std::to_string(ids.size()) + ", want a whole number from 0");
    }
    ids.push_back(id);
    at = end;
  }
  return ids;
}

std::vector<TokenIds> prompts_from(std::string_view text, const std::string& where) {
  std::vector<TokenIds> prompts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(';', at), text.size());
    prompts.push_back(ids_from(text.substr(at, end - at), where));
    at = end + 1;
  }
  return prompts;
}

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  const std::string text = read_text(file, kMostBytes);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    at = end + 1;
  }
  return lines;
}

TokenIds ids_of_text(const TextRules& rules, std::string_view text) {
  TokenIds ids = rules.tokenizer->encode(text);
  if (rules.bos) ids.insert(ids.begin(), *rules.bos);
  return ids;
}

std::vector<TokenIds> drawn_prompts(const TokenIds& lengths, std::int64_t vocabulary,
                                    std::uint64_t seed) {
  constexpr std::int64_t kMost = std::int64_t{1} << 26U;
  const std::array key = {static_cast<std::uint32_t>(seed),
                          static_cast<std::uint32_t>(seed >> 32U)};
  std::vector<TokenIds> prompts;
  std::int64_t left = kMost;
  for (const std::int64_t length : lengths) {
    if (length > left) {
      throw std::invalid_argument("--prompt-tokens: got more than 2^26 together, want fewer");
    }
    left -= length;
    const auto number = static_cast<std::uint32_t>(prompts.size());
    TokenIds& prompt = prompts.emplace_back();
    for (std::int64_t position = 0; position < length; ++position) {
      const auto words = experts::philox({static_cast<std::uint32_t>(position), 0, number,
                                          static_cast<std::uint32_t>(experts::Stream::kPrompt)},
                                         key);
      const std::uint64_t high = std::uint64_t{words[0]} * static_cast<std::uint64_t>(vocabulary);
      prompt.push_back(static_cast<std::int64_t>(high >> 32U));
    }
  }
  return prompts;
}

TokenIds ends_of(const std::filesystem::path& folder, const Model& model) {
  const std::filesystem::path file = folder / "generation_config.json";
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    const std::string where = file.string();
    const auto config = parse_checked(read_text(file, kMostBytes), where);
    if (const auto* const eos = field(config, "eos_token_id", where)) {
      const std::string key = where + ": eos_token_id";
      if (!eos->is_array()) return {id_of(*eos, key)};
      TokenIds ends;
      for (const auto& id : *eos) ends.push_back(id_of(id, key));
      return ends;
    }
  }
  const auto& eos = model.message().eos_tokens();
  return {eos.begin(), eos.end()};
}

std::vector<TokenIds> shared(comm::Group& group, const std::vector<TokenIds>& lists) {
  TokenIds flat;  // length and ids of each
  for (const TokenIds& list : lists) {
    flat.push_back(static_cast<std::int64_t>(list.size()));
    flat.insert(flat.end(), list.begin(), list.end());
  }
  const auto bytes = comm::broadcast(group, std::as_bytes(std::span(flat)));
  flat.resize(bytes.size() / sizeof(std::int64_t));
  if (!flat.empty()) std::memcpy(flat.data(), bytes.data(), bytes.size());
  std::vector<TokenIds> result;
  for (auto at = flat.begin(); at != flat.end();) {
    const auto end = at + 1 + *at;
    result.emplace_back(at + 1, end);
    at = end;
  }
  return result;
}
}  // namespace switchyard::runtime
