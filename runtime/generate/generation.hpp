// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The state of one call of generate on one rank: sequences at home here, token by token.
#include <cstdint>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/generate/generate.hpp"

namespace switchyard::runtime {

class Generation {
 public:
  /// @param result  with a continuation for each prompt, which may have begun: then the sequence
  /// goes
  ///                on behind it
  Generation(comm::Group& group, LanguageModel& model, const GenerateSettings& settings,
             const TokenSink& sink, Witness* witness, Generated& result)
      : group_(group),
        model_(model),
        settings_(settings),
        sink_(sink),
        witness_(witness),
        result_(result) {}

  /// All prompts and what continues them, each at its home, some tokens at a time, and a token
  /// more. Returns whether some sequence goes on.
  bool prefill(const std::vector<TokenIds>& prompts);
  /// One token more for every sequence that has not ended.
  bool decode();

  /// Of the sequences at home here keeps those that the model can take back to what the result
  /// says of them, but for its last id, and forgets the others. Returns the kept ones' numbers.
  /// @param some  false: none is kept
  std::vector<std::int64_t> keep(const std::vector<TokenIds>& prompts, bool some);
  /// What every rank has kept. The others' homes are then the ranks with the fewest sequences;
  /// without this call sequence i is at home on rank i mod ranks, and nothing is kept.
  void settle(const std::vector<std::vector<std::int64_t>>& kept);

 private:
  struct Home {
    int rank = 0;
    bool kept = false;  ///< its state is there, but for the newest id
  };
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
  void default_homes(std::size_t prompts);
  /// How often the ranks enter the model for their texts: as often as the busiest has to.
  [[nodiscard]] std::int64_t prefill_passes(const std::vector<TokenIds>& texts) const;
  /// What a pass of prefill takes of this rank's texts, from where the one before ended.
  /// @param reading  the first sequence with tokens left; moves on behind those that are done
  Batch next_of(const std::vector<TokenIds>& texts, std::size_t& reading);
  /// The next token of every sequence. @param rows  the newest of each, [live_, hidden]
  bool choose(const experts::Matrix& rows);
  /// Everybody's new tokens into everybody's result.
  void share(const std::vector<NewToken>& mine);
  [[nodiscard]] bool ended(std::int64_t prompt) const;
  [[nodiscard]] bool some_go_on() const;

  comm::Group& group_;
  LanguageModel& model_;
  const GenerateSettings& settings_;
  const TokenSink& sink_;
  Witness* witness_;
  Generated& result_;
  std::vector<Live> live_;
  std::vector<Home> homes_;  ///< [prompts]
};
}  // namespace switchyard::runtime
