// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <sstream>
#include <string_view>

#include "runtime/verify/law_case.hpp"
#include "runtime/words.hpp"

namespace switchyard::runtime {
namespace {
template <class T, std::size_t N>
std::string_view word(T value, const std::array<std::string_view, N>& words) {
  return words[static_cast<std::size_t>(value)];
}

std::string_view placement_word(const LawCase& law) {
  return word(law.placement,
              std::array<std::string_view, 4>{"linear", "round-robin", "random", "replicated"});
}
std::string_view token_word(const LawCase& law) {
  return word(law.token_kind, std::array<std::string_view, 4>{"random", "zero", "equal", "skewed"});
}
std::string_view choice_word(const LawCase& law) {
  return word(law.block.router.choice,
              std::array<std::string_view, 3>{"top-k", "sparsemixer", "expert-choice"});
}
std::string_view logits_word(const LawCase& law) {
  return word(law.block.router.logits,
              std::array<std::string_view, 3>{"linear", "mlp-tanh", "attention"});
}
std::string_view scoring_word(const LawCase& law) {
  return word(law.block.router.scoring,
              std::array<std::string_view, 3>{"none", "softmax", "sigmoid"});
}
std::string_view normalize_word(const LawCase& law) {
  return word(law.block.router.normalize,
              std::array<std::string_view, 4>{"none", "sum", "clamped-sum", "p-norm"});
}
}  // namespace

std::string describe(const LawCase& law) {
  const auto& router = law.block.router;
  std::ostringstream text;
  text << "seed " << law.seed << ": hidden " << router.hidden << ", width "
       << law.block.expert.width << ", experts " << router.experts << "+" << router.identity
       << ", top_k " << router.top_k << ", tokens";
  for (const auto count : law.tokens) text << ' ' << count;
  text << " (" << token_word(law) << "), router " << logits_word(law) << "/" << scoring_word(law)
       << "/" << choice_word(law) << "/" << normalize_word(law) << ", groups " << router.groups_kept
       << " of " << router.groups << (law.router_bias ? ", router bias" : "")
       << (law.selection_bias ? ", selection bias" : "") << ", hidden experts "
       << law.hidden_experts << ", gate on "
       << (router.gate_on == experts::GateOn::kInput ? "input" : "output") << ", rule "
       << name_of(router.capacity.rule) << " x " << router.capacity.factor << " in groups of "
       << router.capacity.group_tokens << ", unit " << name_of(law.block.expert.unit) << "/"
       << name_of(law.block.expert.activation) << (law.block.expert.biases ? "/biases" : "")
       << (law.block.shared ? ", shared" : "") << (law.block.dense ? ", dense" : "")
       << (law.block.output_bias ? ", output bias" : "") << ", stored "
       << experts::name_of(law.stored) << "; placement " << placement_word(law) << ", transport "
       << law.transport << ", node queue " << (law.node_queue ? "on" : "off") << ", local ranks "
       << law.local_ranks << ", chunk " << law.chunk_tokens << ", threads " << law.threads
       << ", isa " << experts::name_of(law.isa);
  if (law.native) text << ", native " << experts::name_of(law.native_stored);
  if (law.local_ranks > 0) {
    text << ", wire " << comm::name_of(law.wire) << " between nodes of " << law.ranks_per_node;
  }
  return text.str();
}

void count_case(const LawCase& law, std::map<std::string, std::int64_t>& drawn) {
  const auto count = [&](std::string_view what, std::string_view value) {
    ++drawn[std::string(what) + " " + std::string(value)];
  };
  const auto& block = law.block;
  count("transport", law.transport);
  count("node queue", law.node_queue ? "on" : "off");
  count("local transport", law.local_ranks > 0 ? "yes" : "no");
  count("placement", placement_word(law));
  count("tokens", token_word(law));
  count("choice", choice_word(law));
  count("logits", logits_word(law));
  count("scoring", scoring_word(law));
  count("normalize", normalize_word(law));
  count("rule", name_of(block.router.capacity.rule));
  count("unit", name_of(block.expert.unit));
  count("activation", name_of(block.expert.activation));
  count("gate on", block.router.gate_on == experts::GateOn::kInput ? "input" : "output");
  count("stored", experts::name_of(law.stored));
  count("isa", experts::name_of(law.isa));
  count("native math", law.native ? experts::name_of(law.native_stored) : "no");
  if (law.local_ranks > 0) count("wire", comm::name_of(law.wire));
  count("groups", block.router.groups > 1 ? "limited" : "one");
  count("identity experts", block.router.identity > 0 ? "some" : "none");
  count("hidden experts", law.hidden_experts > 0 ? "some" : "none");
  count("shared", block.shared ? "yes" : "no");
  count("dense", block.dense ? "yes" : "no");
  count("chunks", law.chunk_tokens > 0 ? "yes" : "no");
  count("threads", law.threads > 1 ? "several" : "one");
}
}  // namespace switchyard::runtime
