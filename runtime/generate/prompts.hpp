// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Prompts and texts as people give them, made into token ids.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/model/model.hpp"
#include "runtime/text/tokenizer.hpp"

namespace switchyard::runtime {

/// "1,2,3": ids apart by commas or white space.
/// @param where  "--prompt-ids"; begins messages
/// @throws std::invalid_argument  "--prompt-ids: got 'x' for id 2, want a whole number from 0"
[[nodiscard]] TokenIds ids_from(std::string_view text, const std::string& where);
/// "1,2,3;4,5": several prompts.
[[nodiscard]] std::vector<TokenIds> prompts_from(std::string_view text, const std::string& where);
/// The lines of a file; the last may lack its end.
/// @throws std::system_error  it cannot be read; names it
[[nodiscard]] std::vector<std::string> lines_of(const std::filesystem::path& file);
/// A text with the id that stands before it, if any.
[[nodiscard]] TokenIds ids_of_text(const TextRules& rules, std::string_view text);

/// Prompts of so many ids each, evenly drawn (experts/README.md). @param lengths  at most 2^26
/// together
[[nodiscard]] std::vector<TokenIds> drawn_prompts(const TokenIds& lengths, std::int64_t vocabulary,
                                                  std::uint64_t seed);

/// The ids that end a sequence: eos_token_id of the folder's generation_config.json, else that of
/// the model's config.json. Empty: nothing does.
/// @throws std::invalid_argument  "FILE: eos_token_id: got 'x', want ..."
[[nodiscard]] TokenIds ends_of(const std::filesystem::path& folder, const Model& model);

/// Rank 0's lists of ids on every rank. Collective.
[[nodiscard]] std::vector<TokenIds> shared(comm::Group& group, const std::vector<TokenIds>& lists);
}  // namespace switchyard::runtime
