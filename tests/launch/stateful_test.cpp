// SPDX-License-Identifier: Apache-2.0
// `run --stateful` from outside: what its weights come to, whatever it runs on.
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/launch/stateful_run.hpp"

namespace switchyard::tests {
namespace {
using testing::HasSubstr;

TEST(Stateful, EndsTheSameAtEveryRankCount) {
  const Ended alone = ended(0);
  ASSERT_EQ(alone.state.size(), 64U);
  for (const int ranks : {1, 2, 3, 5, 8}) EXPECT_EQ(ended(ranks), alone) << ranks << " ranks";
}

TEST(Stateful, EndsTheSameHoweverItIsRun) {
  const TempFolder folder;
  const std::string placement = (folder / "replicas.textproto").string();
  std::ofstream(placement) << "version: 1\nrank { expert: [0, 1, 2, 3, 7] }\nrank { expert: [0, 4] "
                              "}\nrank { expert: [5, 6, 7, 0] }\n";
  const Ended plain = ended(1);
  const std::vector<std::vector<std::string>> ways{
      {"--placement", placement}, {"--placement", "round-robin"},
      {"--node-queue", "off"},    {"--transport", "p2p"},
      {"--chunk-tokens", "5"},    {"--threads-per-rank", "3"},
      {"--isa", "portable"},      {"--warmup", "0"},
      {"--warmup", "3"},          {"--pack", "lazy"},
  };
  for (const auto& way : ways) EXPECT_EQ(ended(3, way), plain) << way[0] << " " << way[1];
}

TEST(Stateful, EndsTheSameAtEveryRankCountInEveryStoredType) {
  for (const char* weights : {"bfloat16", "float16", "int8", "fp8", "mxfp4"}) {
    const Ended alone = ended(1, {"--weights", weights});
    EXPECT_EQ(ended(3, {"--weights", weights}), alone) << weights;
    EXPECT_NE(alone.output, ended(1).output) << weights;
  }
}

TEST(Stateful, EveryStepDependsOnTheOnesBefore) {
  const Ended plain = ended(1);
  EXPECT_NE(ended(1, {"--steps", "5"}).state, plain.state);
  EXPECT_NE(ended(1, {"--seed", "2"}).state, plain.state);
  EXPECT_NE(ended(1, {"--tokens", "66"}).state, plain.state) << "the digest of each step is in it";
  const Outcome stateless = run({.words = stateful_run({}, "")});
  EXPECT_EQ(nlohmann::json::parse(stateless.out).value("state_digest", ""), "");
  EXPECT_NE(nlohmann::json::parse(stateless.out)["output_digest"], plain.output);
}

TEST(Stateful, RefusesWhatItCannotKeep) {
  const Outcome cache = run({.words = stateful_run({"--pack-cache", "/tmp/nowhere"})});
  EXPECT_EQ(cache.status, 2);
  EXPECT_THAT(cache.err, HasSubstr("--pack-cache: got it with --stateful"));
  const Outcome alone = run({.words = stateful_run({"--save-to", "/tmp/nowhere"}, "")});
  EXPECT_EQ(alone.status, 2);
  EXPECT_THAT(alone.err, HasSubstr("--save-to: got it without --stateful"));
  const Outcome every = run({.words = stateful_run({"--save-every", "3"})});
  EXPECT_EQ(every.status, 2);
  EXPECT_THAT(every.err, HasSubstr("--save-every: got it without --save-to"));
}
}  // namespace
}  // namespace switchyard::tests
