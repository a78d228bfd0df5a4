// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How well a model foretells a text: the mean negative log probability of its tokens, over windows
/// that are spread over ranks.
#include <cstdint>
#include <functional>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/generate/language_model.hpp"

namespace switchyard::runtime {

struct EvaluateSettings {
  std::int64_t context = 1024;  ///< tokens of a window
  std::int64_t stride = 1024;   ///< tokens from one window to the next, at most `context`
};

/// Tokens [begin, end) of the text are one input; those from `scored` on are scored.
struct Window {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t scored = 0;
};

/// The windows of a text of `tokens` tokens. Each token but the first of the text is scored at most
/// once, with at least context - stride tokens before it where the text has them; with a stride
/// of the whole context the first token of each window is not scored, for nothing is before it.
[[nodiscard]] std::vector<Window> windows_of(std::int64_t tokens, const EvaluateSettings& settings);

struct Evaluated {
  double loss = 0;        ///< nats a token: mean of -ln p(token | what is before it in its window)
  double perplexity = 0;  ///< e^loss
  std::int64_t tokens = 0;  ///< scored
  std::int64_t windows = 0;
  double seconds = 0;  ///< slowest rank
};

/// -ln of the probability that softmax(logits) gives `target`, in double, added by id.
[[nodiscard]] double negative_log_probability(std::span<const float> logits, std::int64_t target);

/// @throws std::invalid_argument  a context or stride that cannot be, an id outside the vocabulary,
///                                less than two tokens
void validate(const TokenIds& ids, const EvaluateSettings& settings, std::int64_t vocabulary,
              std::int64_t max_context);

/// Collective; window w has its home on rank w mod ranks. Losses are added on rank 0 in order of
/// token: the same bits at any number of ranks. All ranks get the result.
/// @param progress  told how many windows of how many are done; may be empty
[[nodiscard]] Evaluated evaluate(comm::Group& group, LanguageModel& model, const TokenIds& ids,
                                 const EvaluateSettings& settings,
                                 const std::function<void(std::int64_t, std::int64_t)>& progress,
                                 Witness* witness = nullptr);
}  // namespace switchyard::runtime
