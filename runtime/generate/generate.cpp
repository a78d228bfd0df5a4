// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/generate.hpp"

#include <algorithm>
#include <chrono>
#include <span>
#include <stdexcept>
#include <string>

#include "comm/collective.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// A sequence at home here that has not ended.
struct Live {
  std::int64_t prompt = 0;  ///< its number over all ranks
  std::int64_t state = 0;   ///< in the model
  std::int64_t length = 0;  ///< tokens that the model has seen
  std::int64_t last = 0;    ///< the newest id, which it has not
};

/// What a rank tells the others of a sequence, a step.
struct NewToken {
  std::int64_t prompt = 0;
  std::int64_t id = 0;
};

/// How often the ranks enter the model for their prompts: as often as the busiest has to.
std::int64_t prefill_passes(const std::vector<TokenIds>& prompts, std::size_t ranks,
                            std::int64_t at_once) {
  std::vector<std::int64_t> tokens(ranks, 0);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    tokens[i % ranks] += static_cast<std::int64_t>(prompts[i].size());
  }
  return (std::ranges::max(tokens) + at_once - 1) / at_once;
}

/// The state of one call of generate on one rank.
class Generation {
 public:
  Generation(comm::Group& group, LanguageModel& model, const GenerateSettings& settings,
             const TokenSink& sink, Witness* witness, Generated& result)
      : group_(group),
        model_(model),
        settings_(settings),
        sink_(sink),
        witness_(witness),
        result_(result) {}

  /// All prompts, each at its home, some tokens at a time. Returns whether some sequence goes on.
  bool prefill(const std::vector<TokenIds>& prompts) {
    const auto ranks = static_cast<std::size_t>(group_.size());
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      result_.prompt_tokens += static_cast<std::int64_t>(prompts[i].size());
      if (static_cast<int>(i % ranks) != group_.rank()) continue;
      live_.push_back({.prompt = static_cast<std::int64_t>(i), .state = model_.begin()});
    }
    const std::int64_t passes = prefill_passes(prompts, ranks, settings_.prefill_tokens);
    experts::Matrix last;
    std::size_t reading = 0;  // which sequence's prompt
    for (std::int64_t pass = 0; pass < passes; ++pass) {
      const std::size_t first = reading;
      const Batch batch = next_of(prompts, reading);
      const experts::Matrix rows = model_.forward(batch, witness_);
      if (last.rows() == 0) last = experts::Matrix(std::ssize(live_), rows.cols());
      std::int64_t end = 0;
      for (std::size_t i = 0; i < batch.segments.size(); ++i) {
        end += batch.segments[i].count;
        std::ranges::copy(rows.row(end - 1),
                          last.row(static_cast<std::int64_t>(first + i)).begin());
      }
    }
    return choose(last);
  }

  /// One token more for every sequence that has not ended.
  bool decode() {
    Batch batch;
    for (Live& sequence : live_) {
      batch.ids.push_back(sequence.last);
      batch.segments.push_back({.sequence = sequence.state, .first = sequence.length, .count = 1});
      ++sequence.length;
    }
    return choose(model_.forward(batch, witness_));
  }

 private:
  /// What a pass of prefill takes of this rank's prompts, from where the one before ended.
  /// @param reading  the first sequence with tokens left; moves on behind those that are done
  Batch next_of(const std::vector<TokenIds>& prompts, std::size_t& reading) {
    Batch batch;
    while (reading < live_.size() && batch.rows() < settings_.prefill_tokens) {
      Live& sequence = live_[reading];
      const TokenIds& ids = prompts[static_cast<std::size_t>(sequence.prompt)];
      const std::int64_t count =
          std::min(std::ssize(ids) - sequence.length, settings_.prefill_tokens - batch.rows());
      const auto from = ids.begin() + sequence.length;
      batch.ids.insert(batch.ids.end(), from, from + count);
      batch.segments.push_back(
          {.sequence = sequence.state, .first = sequence.length, .count = count});
      sequence.length += count;
      if (sequence.length == std::ssize(ids)) ++reading;
    }
    return batch;
  }

  /// The next token of every sequence. @param rows  the newest of each, [live_, hidden]
  bool choose(const experts::Matrix& rows) {
    std::vector<NewToken> mine;
    together(group_, [&] {
      const experts::Matrix logits = model_.logits(rows.view());
      for (std::size_t i = 0; i < live_.size(); ++i) {
        Live& sequence = live_[i];
        sequence.last = sample(logits.row(static_cast<std::int64_t>(i)), settings_.sampler,
                               sequence.prompt, sequence.length);
        mine.push_back({.prompt = sequence.prompt, .id = sequence.last});
      }
    });
    share(mine);
    std::erase_if(live_, [&](const Live& sequence) {
      const bool over = ended(sequence.prompt);
      if (over) model_.end(sequence.state);
      return over;
    });
    for (std::size_t i = 0; i < result_.continuations.size(); ++i) {
      if (!ended(static_cast<std::int64_t>(i))) return true;
    }
    return false;
  }

  /// Everybody's new tokens into everybody's result.
  void share(const std::vector<NewToken>& mine) {
    std::vector<NewToken> all;
    for (const auto& of_rank : comm::allgather_values<NewToken>(group_, std::span(mine))) {
      all.insert(all.end(), of_rank.begin(), of_rank.end());
    }
    std::ranges::sort(all, {}, &NewToken::prompt);
    for (const NewToken& token : all) {
      Continuation& continuation = result_.continuations[static_cast<std::size_t>(token.prompt)];
      continuation.ids.push_back(token.id);
      continuation.ended = std::ranges::find(settings_.eos, token.id) != settings_.eos.end();
      if (continuation.ids.size() > 1) ++result_.decoded_tokens;
      if (sink_) sink_(token.prompt, token.id);
    }
  }

  [[nodiscard]] bool ended(std::int64_t prompt) const {
    const Continuation& continuation = result_.continuations[static_cast<std::size_t>(prompt)];
    return continuation.ended ||
           static_cast<std::int64_t>(continuation.ids.size()) >= settings_.max_new_tokens;
  }

  comm::Group& group_;
  LanguageModel& model_;
  const GenerateSettings& settings_;
  const TokenSink& sink_;
  Witness* witness_;
  Generated& result_;
  std::vector<Live> live_;
};
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
