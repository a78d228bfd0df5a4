// SPDX-License-Identifier: Apache-2.0
// Served generations whose ranks are threads that end in the middle.
#include "runtime/serve/serve_generate.hpp"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <optional>
#include <set>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "runtime/transformer/synthetic_weights.hpp"

namespace switchyard::runtime {
namespace {
constexpr int kExperts = 8;
constexpr std::int64_t kTokens = 14;  // of each prompt
const std::vector<TokenIds> kPrompts{{1, 2, 3}, {4}, {5, 6, 7, 8, 9, 10, 11}, {36, 0}, {12, 13}};

struct Death {};
/// Rank, and the pass through the model before which it ends.
using Deaths = std::map<int, int>;

/// Ends its rank before a pass.
class Mortal final : public LanguageModel {
 public:
  Mortal(LanguageModel& model, std::optional<int> passes) : model_(model), passes_(passes) {}
  [[nodiscard]] std::int64_t vocabulary() const override { return model_.vocabulary(); }
  [[nodiscard]] std::int64_t max_context() const override { return model_.max_context(); }
  [[nodiscard]] std::int64_t begin() override { return model_.begin(); }
  void end(std::int64_t sequence) override { model_.end(sequence); }
  [[nodiscard]] bool rewind(std::int64_t sequence, std::int64_t length) override {
    return model_.rewind(sequence, length);
  }
  [[nodiscard]] experts::Matrix forward(const Batch& batch, Witness* witness) override {
    if (passes_ && (*passes_)-- == 0) throw Death{};
    return model_.forward(batch, witness);
  }
  [[nodiscard]] experts::Matrix logits(experts::MatrixView<const float> rows) const override {
    return model_.logits(rows);
  }

 private:
  LanguageModel& model_;
  std::optional<int> passes_;
};

Model small_model() {
  Model model = Model::from_name_or_file("olmoe");
  for (const char* field : {"hidden_size=32", "routed_experts=8", "top_k=3", "vocab_size=64",
                            "num_heads=4", "num_kv_heads=2", "head_dim=8"}) {
    model.set(field);
  }
  return model.first_layers(2);
}

struct Cluster {
  int workers = 1;
  int spares = 0;
  std::string placement = "round-robin";
  Deaths deaths = {};
  bool reload = false;
  float temperature = 1;
};

struct Shown {
  int times = 0;
  Generated result;
  ReadAgain again;
  ServeReport report;
};

/// One rank, from its weights to its end.
void live(comm::Group& base, const Cluster& cluster, Shown& shown) {
  comm::Membership membership(base, cluster.spares, std::chrono::minutes(5));
  comm::EnduringGroup group(base, membership);
  SyntheticWeights weights(small_model(), 5);
  TransformerOptions options;
  options.placement = cluster.placement;
  options.spare = !group.takes_part();
  serve_layers(options.layer);
  TransformerModel model(Transformer(group, weights, options));
  KeptLayers kept;
  kept.layers = model.transformer().moe_layers();
  kept.engine = &kept.layers.front()->engine();
  for (int layer = 0; layer < 2; ++layer) kept.origin.sources.emplace_back(weights.block(layer));
  kept.origin.spec = kept.layers.front()->spec().expert;
  const auto held = kept.layers.front()->placement().experts_of(group.rank());
  Crew crew(membership, group, kept, {held.begin(), held.end()}, cluster.reload, {});
  const auto death = cluster.deaths.find(base.rank());
  Mortal mortal(model, death == cluster.deaths.end() ? std::nullopt : std::optional(death->second));
  const Placement plan = Placement::from_name(cluster.placement, kExperts, cluster.workers);
  GenerateSettings settings;
  settings.max_new_tokens = kTokens;
  settings.prefill_tokens = 4;
  settings.sampler.temperature = cluster.temperature;
  comm::barrier(base);
  const ServedEnd end{
      .show =
          [&](const Generated& result, const ReadAgain& again, const ServeReport& report) {
            ++shown.times;
            shown.result = result;
            shown.again = again;
            shown.report = report;
            return 0;
          },
      .failed = [](const std::string& words) { FAIL() << words; }};
  try {
    EXPECT_EQ(serve_generate(membership, group, crew,
                             {.model = mortal, .layers = kept.layers, .plan = plan}, kPrompts,
                             settings, end),
              0);
  } catch (const Death&) {
  }
}

Shown serve(const Cluster& cluster) {
  Shown shown;
  comm::run_local(cluster.workers + cluster.spares,
                  [&](comm::Group& base) { live(base, cluster, shown); });
  EXPECT_EQ(shown.times, 1);
  return shown;
}

std::vector<TokenIds> ids_of(const Shown& shown) {
  std::vector<TokenIds> ids;
  for (const Continuation& one : shown.result.continuations) ids.push_back(one.ids);
  return ids;
}

std::vector<TokenIds> undisturbed() {
  return ids_of(serve({}));
}

/// Expert e on rank e mod ranks and the next one.
std::string two_copies(int ranks) {
  const std::string file = testing::TempDir() + "serve_generate_" + std::to_string(ranks);
  std::ofstream text(file);
  text << "version: 1\n";
  for (int rank = 0; rank < ranks; ++rank) {
    text << "rank {";
    for (int e = 0; e < kExperts; ++e) {
      if (e % ranks == rank || (e + 1) % ranks == rank) text << " expert: " << e;
    }
    text << " }\n";
  }
  return file;
}

/// Sequences at home on the rank at the start.
std::int64_t sequences_of(int rank, int ranks) {
  return (std::ssize(kPrompts) - rank + ranks - 1) / ranks;
}

class ServeGenerate : public testing::TestWithParam<int> {};

TEST_P(ServeGenerate, HasTheTokensOfTheUndisturbedRunWhereReplicasAreLeft) {
  const int ranks = GetParam();
  const std::vector<TokenIds> want = undisturbed();
  // In prefill, in decode, rank 0, two that share no expert, before the last token.
  std::vector<Deaths> all{{}, {{1, 1}}, {{0, 5}}, {{ranks - 1, 9}}, {{1, 14}}};
  if (ranks == 4) all.push_back({{0, 4}, {2, 7}});
  for (const Deaths& deaths : all) {
    const Shown got = serve({.workers = ranks, .placement = two_copies(ranks), .deaths = deaths});
    EXPECT_EQ(ids_of(got), want);
    EXPECT_EQ(got.report.degraded_slots, 0);
    EXPECT_EQ(got.report.members.size(), static_cast<std::size_t>(ranks) - deaths.size());
    EXPECT_EQ(got.again.sequences > 0, !deaths.empty());
    if (deaths.size() == 1 && deaths.begin()->second > 1) {
      EXPECT_EQ(got.again.sequences, sequences_of(deaths.begin()->first, ranks))
          << "the others' states stay";
    }
    for (const Continuation& one : got.result.continuations) EXPECT_EQ(one.masked_ids, 0);
  }
}

TEST_P(ServeGenerate, NamesWhatWasChosenWithoutSomeExperts) {
  const int ranks = GetParam();
  const std::vector<TokenIds> want = undisturbed();
  const Shown got = serve({.workers = ranks, .deaths = {{1, 8}}});
  std::set<std::int64_t> named;
  for (const DegradedLayer& layer : got.report.layers) {
    for (const auto& [expert, slots] : layer.experts) named.insert(expert);
  }
  std::set<std::int64_t> lost;
  for (int e = 1; e < kExperts; e += ranks) lost.insert(e);
  EXPECT_EQ(named, lost);
  for (std::size_t i = 0; i < kPrompts.size(); ++i) {
    const Continuation& one = got.result.continuations[i];
    ASSERT_EQ(std::ssize(one.ids), kTokens) << "nothing is lost";
    ASSERT_GT(one.masked_ids, 0);
    ASSERT_LT(one.masked_ids, kTokens);
    // Up to there as if nothing had been lost.
    const auto before = static_cast<std::ptrdiff_t>(kTokens - one.masked_ids);
    EXPECT_EQ(TokenIds(one.ids.begin(), one.ids.begin() + before),
              TokenIds(want[i].begin(), want[i].begin() + before));
  }
}

TEST_P(ServeGenerate, GoesOnWithASpareInTheLostOnesPlace) {
  const int ranks = GetParam();
  const std::vector<TokenIds> want = undisturbed();
  const Shown got =
      serve({.workers = ranks, .spares = 1, .placement = two_copies(ranks), .deaths = {{1, 3}}});
  EXPECT_EQ(ids_of(got), want);
  for (const ServeJoin& join : got.report.joins) {  // unless all was over before it had loaded
    EXPECT_EQ(join.rank, ranks);
    EXPECT_EQ(join.place, 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, ServeGenerate, testing::Values(3, 4));

TEST(ServeGenerateAlone, LoadsLostExpertsAgainAndReadsEverythingAnewWithThem) {
  const Shown got = serve({.workers = 3, .deaths = {{2, 2}}, .reload = true});
  EXPECT_GE(got.again.sequences, 1);
  for (const Continuation& one : got.result.continuations) EXPECT_EQ(std::ssize(one.ids), kTokens);
}
}  // namespace
}  // namespace switchyard::runtime
