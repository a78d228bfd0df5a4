// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Prompts to continuations over a group of ranks. Sequence i has its home on rank i mod ranks;
/// every rank enters every layer until all sequences have ended.
#include <cstdint>
#include <functional>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/generate/language_model.hpp"
#include "runtime/generate/sampler.hpp"

namespace switchyard::runtime {

using TokenIds = std::vector<std::int64_t>;

struct GenerateSettings {
  std::int64_t max_new_tokens = 64;    ///< at most, a sequence
  std::int64_t prefill_tokens = 2048;  ///< of prompts that a rank takes through the model at once
  SamplerSettings sampler;
  TokenIds eos;  ///< a sequence ends with any of these
};

struct Continuation {
  TokenIds ids;                 ///< new ones; the last may be one of eos
  bool ended = false;           ///< by eos, not by length
  std::int64_t masked_ids = 0;  ///< of ids: chosen while some expert had no host (--serve)
};

struct Generated {
  std::vector<Continuation> continuations;  ///< by prompt
  std::int64_t prompt_tokens = 0;           ///< of all prompts
  std::int64_t decoded_tokens = 0;          ///< new tokens but the first of each sequence
  double prefill_s = 0;                     ///< to the first token of every sequence, slowest rank
  double decode_s = 0;                      ///< from there on, slowest rank
};

/// Told on every rank of every token, in order of sequence within a step.
using TokenSink = std::function<void(std::int64_t sequence, std::int64_t id)>;

/// @throws std::invalid_argument  "prompt 2: id 99, want 0 to 95"; an empty prompt; one that with
///                                its new tokens is longer than the model's context
void validate(const std::vector<TokenIds>& prompts, const GenerateSettings& settings,
              std::int64_t vocabulary, std::int64_t max_context);

/// Collective: all ranks give the same prompts and settings, which validate() accepts, and get the
/// same result but for `witness`, which sees this rank's rows only.
/// @throws comm::CollectiveError  on every rank: logits that cannot be drawn from
[[nodiscard]] Generated generate(comm::Group& group, LanguageModel& model,
                                 const std::vector<TokenIds>& prompts,
                                 const GenerateSettings& settings, const TokenSink& sink = {},
                                 Witness* witness = nullptr);
}  // namespace switchyard::runtime
