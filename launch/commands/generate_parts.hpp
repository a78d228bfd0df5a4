// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What `generate` is made of, whether ranks may be lost (--serve) or not: prompts, what is shown,
/// figures.
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "launch/command.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/packing/whole_model.hpp"
#include "runtime/text/tokenizer.hpp"

namespace switchyard::launch {

[[nodiscard]] runtime::GenerateSettings generate_settings(const Options& options);

/// What is to be continued, with the rules of its text, if it is one.
struct Prompts {
  std::optional<runtime::TextRules> text;
  std::vector<runtime::TokenIds> ids;
};

/// Of --prompt, --prompt-ids and --prompt-file. Local.
[[nodiscard]] Prompts prompts_of(const Options& options);

/// Draws prompts, if that is what was asked for, and checks them.
/// @return  what the ranks are asked for at most, each figure by itself
[[nodiscard]] runtime::ModelUse prepare_prompts(const Options& options, const runtime::Model& model,
                                                const runtime::GenerateSettings& settings,
                                                int ranks, Prompts& prompts);

/// Continuations on their way to the terminal: of one prompt as they come, of several when each is
/// whole. One rank's.
class Shown {
 public:
  /// Both outlive it.
  Shown(const Prompts& prompts, std::ostream& out);
  void add(std::int64_t sequence, std::int64_t id);
  void end(std::int64_t sequence);
  [[nodiscard]] const std::string& text(std::size_t i) const { return texts_[i]; }

 private:
  const Prompts& prompts_;
  std::ostream& out_;
  std::vector<runtime::TextStream> streams_;
  std::vector<std::string> texts_;
};

void print_generated(const runtime::Generated& result, std::ostream& out);
[[nodiscard]] nlohmann::ordered_json generated_json(const runtime::Generated& result,
                                                    const Prompts& prompts, const Shown& shown);

/// `generate --serve`.
int serve_generate(Context& context);
}  // namespace switchyard::launch
