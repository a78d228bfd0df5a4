// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/generate.hpp"

#include <algorithm>
#include <chrono>
#include <span>
#include <stdexcept>
#include <string>

#include "comm/group/collective.hpp"
#include "runtime/generate/generation.hpp"

namespace switchyard::runtime {
namespace {
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
}  // namespace

void validate(const std::vector<TokenIds>& prompts, const GenerateSettings& settings,
              std::int64_t vocabulary, std::int64_t max_context) {
  validate(settings.sampler);
  if (settings.max_new_tokens < 1) {
    throw std::invalid_argument("--max-new-tokens: got " + std::to_string(settings.max_new_tokens) +
                                ", want at least 1");
  }
  if (prompts.empty()) throw std::invalid_argument("prompts: got none, want at least one");
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::string where = "prompt " + std::to_string(i);
    const auto length = static_cast<std::int64_t>(prompts[i].size());
    if (length == 0) throw std::invalid_argument(where + ": got no token, want at least one");
    for (const std::int64_t id : prompts[i]) {
      if (id >= 0 && id < vocabulary) continue;
      throw std::invalid_argument(where + ": id, got " + std::to_string(id) + ", want 0 to " +
                                  std::to_string(vocabulary - 1) + ", the model's vocabulary");
    }
    if (max_context > 0 && length > max_context - settings.max_new_tokens) {
      throw std::invalid_argument(where + ": got " + std::to_string(length) +
                                  " tokens and --max-new-tokens " +
                                  std::to_string(settings.max_new_tokens) + ", want at most " +
                                  std::to_string(max_context) + " together, the model's context");
    }
  }
}

Generated generate(comm::Group& group, LanguageModel& model, const std::vector<TokenIds>& prompts,
                   const GenerateSettings& settings, const TokenSink& sink, Witness* witness) {
  Generated result;
  result.continuations.resize(prompts.size());
  Generation generation(group, model, settings, sink, witness, result);
  auto start = Clock::now();
  bool more = generation.prefill(prompts);
  std::vector<double> seconds{seconds_since(start), 0};
  start = Clock::now();
  while (more) more = generation.decode();
  seconds[1] = seconds_since(start);
  for (const auto& of_rank :
       comm::allgather_values<double>(group, std::span(std::as_const(seconds)))) {
    result.prefill_s = std::max(result.prefill_s, of_rank[0]);
    result.decode_s = std::max(result.decode_s, of_rank[1]);
  }
  return result;
}
}  // namespace switchyard::runtime
