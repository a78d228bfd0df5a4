// SPDX-License-Identifier: Apache-2.0
// The loops of generate and eval on a model whose every answer can be computed beside it, over
// threads that play the ranks.
#include "runtime/generate/generate.hpp"

#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <map>
#include <set>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "runtime/generate/evaluate.hpp"

namespace switchyard::runtime {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t kVocabulary = 37;

/// What the fake model's row says of the ids so far: a number below 65536.
std::int64_t digest(const TokenIds& history) {
  std::int64_t sum = 7;
  for (const std::int64_t id : history) sum = (sum * 31 + id + 1) % 65521;
  return sum;
}
float logit(std::int64_t row, std::int64_t id) {
  return static_cast<float>((row * (id + 3) + id * id) % 101) / 16.0F;
}
std::vector<float> logits_after(const TokenIds& history) {
  std::vector<float> logits;
  for (std::int64_t id = 0; id < kVocabulary; ++id) logits.push_back(logit(digest(history), id));
  return logits;
}

/// Remembers each sequence's ids; every forward waits for all ranks, as MoE layers do.
class Fake final : public LanguageModel {
 public:
  explicit Fake(comm::Group& group) : group_(group) {}
  [[nodiscard]] std::int64_t vocabulary() const override { return kVocabulary; }
  [[nodiscard]] std::int64_t max_context() const override { return 64; }
  [[nodiscard]] std::int64_t begin() override {
    histories_[next_] = {};
    return next_++;
  }
  void end(std::int64_t sequence) override { ASSERT_EQ(histories_.erase(sequence), 1U); }
  [[nodiscard]] experts::Matrix forward(const Batch& batch, Witness* /*witness*/) override {
    comm::barrier(group_);
    most_rows_ = std::max(most_rows_, batch.rows());
    experts::Matrix rows(batch.rows(), 2);
    std::int64_t row = 0;
    for (const Segment& segment : batch.segments) {
      TokenIds& history = histories_.at(segment.sequence);
      EXPECT_EQ(static_cast<std::int64_t>(history.size()), segment.first);
      for (std::int64_t i = 0; i < segment.count; ++i, ++row) {
        history.push_back(batch.ids[static_cast<std::size_t>(row)]);
        rows(row, 1) = static_cast<float>(digest(history));
      }
    }
    EXPECT_EQ(row, batch.rows());
    return rows;
  }
  [[nodiscard]] experts::Matrix logits(experts::MatrixView<const float> rows) const override {
    experts::Matrix result(rows.rows, kVocabulary);
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      for (std::int64_t id = 0; id < kVocabulary; ++id) {
        result(r, id) = logit(static_cast<std::int64_t>(rows(r, 1)), id);
      }
    }
    return result;
  }
  [[nodiscard]] std::size_t open() const { return histories_.size(); }
  [[nodiscard]] std::int64_t most_rows() const { return most_rows_; }

 private:
  comm::Group& group_;
  std::map<std::int64_t, TokenIds> histories_;
  std::int64_t next_ = 0;
  std::int64_t most_rows_ = 0;
};

const std::vector<TokenIds> kPrompts{{1, 2, 3}, {4}, {5, 6, 7, 8, 9, 10, 11}, {36, 0}};

/// The same without ranks, states or batches.
std::vector<Continuation> plainly(const GenerateSettings& settings) {
  std::vector<Continuation> result;
  for (std::size_t p = 0; p < kPrompts.size(); ++p) {
    TokenIds history = kPrompts[p];
    Continuation continuation;
    while (!continuation.ended &&
           static_cast<std::int64_t>(continuation.ids.size()) < settings.max_new_tokens) {
      const auto logits = logits_after(history);
      continuation.ids.push_back(sample(logits, settings.sampler, static_cast<std::int64_t>(p),
                                        static_cast<std::int64_t>(history.size())));
      history.push_back(continuation.ids.back());
      continuation.ended = std::ranges::find(settings.eos, history.back()) != settings.eos.end();
    }
    result.push_back(continuation);
  }
  return result;
}

/// What every rank got, and that all got the same.
Generated over(int ranks, const GenerateSettings& settings,
               std::vector<std::pair<std::int64_t, std::int64_t>>* seen = nullptr) {
  std::vector<Generated> results(static_cast<std::size_t>(ranks));
  comm::run_local(ranks, [&](comm::Group& group) {
    Fake model(group);
    const TokenSink sink = [&](std::int64_t sequence, std::int64_t id) {
      if (seen != nullptr && group.rank() == group.size() - 1) seen->emplace_back(sequence, id);
    };
    auto& mine = results[static_cast<std::size_t>(group.rank())];
    mine = generate(group, model, kPrompts, settings, sink);
    EXPECT_EQ(model.open(), 0U) << "a sequence that has ended keeps no state";
    const auto sequences = std::ssize(kPrompts);  // a step of decode has a row of each
    EXPECT_LE(model.most_rows(), std::max(settings.prefill_tokens, sequences));
  });
  for (const Generated& other : results) {
    for (std::size_t p = 0; p < kPrompts.size(); ++p) {
      EXPECT_EQ(other.continuations[p].ids, results[0].continuations[p].ids);
      EXPECT_EQ(other.continuations[p].ended, results[0].continuations[p].ended);
    }
  }
  return results[0];
}

TEST(Generate, TakesPromptsInPartsOfAnyLength) {
  GenerateSettings settings;
  settings.max_new_tokens = 4;
  const auto want = plainly(settings);
  for (const std::int64_t tokens : {1, 2, 3, 5, 6, 7, 13, 100}) {
    settings.prefill_tokens = tokens;
    for (const int ranks : {1, 2, 3, 5}) {
      const Generated got = over(ranks, settings);
      for (std::size_t p = 0; p < kPrompts.size(); ++p) {
        EXPECT_EQ(got.continuations[p].ids, want[p].ids)
            << tokens << " at once, " << ranks << " ranks";
      }
    }
  }
}

TEST(Generate, GivesAtAnyNumberOfRanksWhatAPlainLoopGives) {
  for (const double temperature : {0.0, 1.5}) {
    GenerateSettings settings;
    settings.max_new_tokens = 9;
    settings.sampler.temperature = temperature;
    const auto want = plainly(settings);
    for (const int ranks : {1, 2, 3, 5}) {
      const Generated got = over(ranks, settings);
      for (std::size_t p = 0; p < kPrompts.size(); ++p) {
        EXPECT_EQ(got.continuations[p].ids, want[p].ids) << ranks << " ranks, prompt " << p;
      }
      EXPECT_EQ(got.prompt_tokens, 13);
      EXPECT_EQ(got.decoded_tokens, 4 * 8);
    }
  }
}

TEST(Generate, ASequenceStopsAtItsEndAndOthersGoOn) {
  GenerateSettings settings;
  settings.max_new_tokens = 30;
  const auto endless = plainly(settings);
  settings.eos = {endless[0].ids[3], 1000};  // the first prompt ends there or before
  const auto want = plainly(settings);
  EXPECT_TRUE(want[0].ended);
  std::set<std::size_t> lengths;
  for (const int ranks : {1, 2, 3, 5}) {
    const Generated got = over(ranks, settings);
    for (std::size_t p = 0; p < kPrompts.size(); ++p) {
      EXPECT_EQ(got.continuations[p].ids, want[p].ids);
      EXPECT_EQ(got.continuations[p].ended, want[p].ended);
      lengths.insert(want[p].ids.size());
    }
  }
  EXPECT_GT(lengths.size(), 1U) << "the prompts of this test should end at different steps";
}

TEST(Generate, TokensAreShownOnEveryRankInOrderOfStepAndSequence) {
  GenerateSettings settings;
  settings.max_new_tokens = 2;
  std::vector<std::pair<std::int64_t, std::int64_t>> seen;
  const Generated got = over(3, settings, &seen);
  ASSERT_EQ(seen.size(), 8U);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(seen[i].first, static_cast<std::int64_t>(i % 4));
    EXPECT_EQ(seen[i].second, got.continuations[i % 4].ids[i / 4]);
  }
}

std::string refusal(const std::vector<TokenIds>& prompts, std::int64_t new_tokens) {
  try {
    GenerateSettings settings;
    settings.max_new_tokens = new_tokens;
    validate(prompts, settings, 10, 20);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "no error";
}

TEST(Prompts, ThatCannotBeAreRefusedByNumber) {
  EXPECT_EQ(refusal({{1}, {2, 9}}, 18), "no error");
  EXPECT_EQ(refusal({{1}, {2, 10}}, 1),
            "prompt 1: id, got 10, want 0 to 9, the model's vocabulary");
  EXPECT_EQ(refusal({{1}, {-1}}, 1), "prompt 1: id, got -1, want 0 to 9, the model's vocabulary");
  EXPECT_EQ(refusal({{}}, 1), "prompt 0: got no token, want at least one");
  EXPECT_EQ(refusal({}, 1), "prompts: got none, want at least one");
  EXPECT_EQ(refusal({{1, 2, 3}}, 18),
            "prompt 0: got 3 tokens and --max-new-tokens 18, want at most 20 together, the "
            "model's context");
  EXPECT_THAT(refusal({{1}}, std::numeric_limits<std::int64_t>::max()), HasSubstr("at most 20"));
}

/// "0-8>1": the window's tokens, and from which on they are scored.
std::vector<std::string> shown_windows(std::int64_t tokens, std::int64_t context,
                                       std::int64_t stride) {
  std::vector<std::string> result;
  for (const Window& w : windows_of(tokens, {.context = context, .stride = stride})) {
    result.push_back(std::to_string(w.begin) + "-" + std::to_string(w.end) + ">" +
                     std::to_string(w.scored));
  }
  return result;
}

TEST(Windows, ScoreEveryTokenOnce) {
  EXPECT_THAT(shown_windows(10, 10, 10), ElementsAre("0-10>1"));
  EXPECT_THAT(shown_windows(10, 4, 4), ElementsAre("0-4>1", "4-8>5", "8-10>9"));
  EXPECT_THAT(shown_windows(9, 4, 4), ElementsAre("0-4>1", "4-8>5"));
  EXPECT_THAT(shown_windows(10, 4, 2), ElementsAre("0-4>1", "2-6>4", "4-8>6", "6-10>8"));
  EXPECT_THAT(shown_windows(3, 100, 7), ElementsAre("0-3>1"));
}

TEST(NegativeLogProbability, IsThatOfSoftmax) {
  const std::vector<float> logits{0.0F, std::log(3.0F)};
  EXPECT_NEAR(negative_log_probability(logits, 0), std::log(4.0), 1e-7);
  EXPECT_NEAR(negative_log_probability(logits, 1), std::log(4.0 / 3), 1e-7);
  EXPECT_NEAR(negative_log_probability(std::vector<float>{1000, 0}, 1), 1000, 1e-9);
}

TEST(Evaluate, GivesTheSameBitsAtAnyNumberOfRanksAndWhatAPlainSumGives) {
  TokenIds ids;
  for (std::int64_t i = 0; i < 150; ++i) ids.push_back(i * i % kVocabulary);
  for (const EvaluateSettings settings :
       {EvaluateSettings{.context = 16, .stride = 16}, EvaluateSettings{.context = 20, .stride = 7},
        EvaluateSettings{.context = 64, .stride = 64}}) {
    double sum = 0;
    std::int64_t tokens = 0;
    for (const Window& window : windows_of(150, settings)) {
      for (std::int64_t t = window.scored; t < window.end; ++t, ++tokens) {
        const TokenIds before(ids.begin() + window.begin, ids.begin() + t);
        sum += negative_log_probability(logits_after(before), ids[static_cast<std::size_t>(t)]);
      }
    }
    const double want = sum / static_cast<double>(tokens);
    for (const int ranks : {1, 2, 3, 5, 12}) {
      comm::run_local(ranks, [&](comm::Group& group) {
        Fake model(group);
        const Evaluated got = evaluate(group, model, ids, settings, {});
        EXPECT_EQ(std::memcmp(&got.loss, &want, sizeof want), 0) << got.loss << " " << want;
        EXPECT_EQ(got.tokens, tokens);
        EXPECT_NEAR(got.perplexity, std::exp(want), 1e-9 * std::exp(want));
        EXPECT_EQ(model.open(), 0U);
      });
    }
  }
}

TEST(Evaluate, SettingsAndTextsThatCannotBeAreRefused) {
  const auto refused = [](const TokenIds& ids, std::int64_t context,
                          std::int64_t stride) -> std::string {
    try {
      validate(ids, EvaluateSettings{.context = context, .stride = stride}, 10, 20);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(refused({1, 2}, 20, 20), "no error");
  EXPECT_EQ(refused({1, 2}, 21, 20), "--context: got 21, want at most 20, the model's context");
  EXPECT_EQ(refused({1, 2}, 1, 1), "--context: got 1, want at least 2");
  EXPECT_EQ(refused({1, 2}, 8, 9), "--stride: got 9, want 1 to 8, the tokens of a window");
  EXPECT_EQ(refused({1, 2}, 8, 0), "--stride: got 0, want 1 to 8, the tokens of a window");
  EXPECT_EQ(refused({1}, 8, 8), "text in tokens: got 1, want at least 2");
  EXPECT_EQ(refused({1, 10}, 8, 8),
            "token 1 of the text: id, got 10, want 0 to 9, the model's vocabulary");
}
}  // namespace
}  // namespace switchyard::runtime
