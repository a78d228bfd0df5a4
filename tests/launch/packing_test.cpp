// SPDX-License-Identifier: Apache-2.0
// How experts are packed changes no bit: ahead, as needed, some of each, or mapped from a cache,
// on any number of ranks; and what is wrong with a cache or with the memory is said in one message.
#include <cstring>
#include <filesystem>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace {
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::read_file;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using switchyard::tests::TempFolder;
using switchyard::tests::write_file;
using testing::HasSubstr;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

const std::string kMixtral = std::string(SWITCHYARD_TEST_DATA) + "/golden/models/mixtral-tiny";
const std::string kFp8 = std::string(SWITCHYARD_TEST_DATA) + "/golden/oracle/deepseek-v3-fp8-tiny";
constexpr const char* kLittle = "0.0003";  ///< GiB: 3 of mixtral-tiny's 16 experts fit

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return switchyard(words);
}
Words run_of(const Words& more, const std::string& checkpoint = kMixtral) {
  return with({"run", "--checkpoint", checkpoint, "--layers", checkpoint == kFp8 ? "1" : "2",
               "--tokens", "37", "--json", "-"},
              more);
}
Words generate_of(const Words& more) {
  return with({"generate", "--checkpoint", kMixtral, "--prompt-ids", "66,79,58;95,9",
               "--max-new-tokens", "6", "--json", "-"},
              more);
}

nlohmann::json result_of(int ranks, const Words& words) {
  const Outcome outcome = run({.words = mpirun(ranks, words)});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  return nlohmann::json::parse(outcome.out, nullptr, false);
}

class AtRanks : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, AtRanks, testing::Values(1, 2, 3));

TEST_P(AtRanks, RunHasTheSameDigestHoweverItPacks) {
  const TempFolder folder;
  for (const std::string& checkpoint : {kMixtral, kFp8}) {
    const auto digest = [&](const Words& more) {
      const auto json = result_of(GetParam(), run_of(more, checkpoint));
      return json.value("output_digest", "none");
    };
    const std::string plain = digest({});
    const std::string cache = folder.path().string();
    EXPECT_EQ(digest({"--pack", "eager", "--node-queue", "off"}), plain);
    EXPECT_EQ(digest({"--pack", "lazy"}), plain);
    EXPECT_EQ(digest({"--pack", "lazy", "--threads-per-rank", "3", "--chunk-tokens", "5"}), plain);
    EXPECT_EQ(digest({"--pack", "lazy", "--transport", "p2p"}), plain);
    EXPECT_EQ(digest({"--pack-cache", cache}), plain) << "written";
    EXPECT_EQ(digest({"--pack-cache", cache}), plain) << "read";
    EXPECT_EQ(digest({"--pack-cache", cache, "--pack", "lazy", "--node-queue", "off"}), plain);
    EXPECT_EQ(digest({"--pack-cache", cache, "--placement", "round-robin"}), plain);
  }
}

TEST_P(AtRanks, WhatDoesNotFitIsPackedAsNeededAndSaysSo) {
  const int ranks = GetParam();
  const auto plain = result_of(ranks, run_of({}));
  EXPECT_EQ(plain["packing"]["as_needed"], 0);
  const Outcome outcome = run({.words = mpirun(ranks, run_of({"--memory-per-rank", kLittle}))});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto little = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(little["output_digest"], plain["output_digest"]);
  const auto as_needed = little["packing"]["as_needed"].get<int>();
  if (ranks == 1) {
    EXPECT_GT(as_needed, 8);
    EXPECT_LT(as_needed, 16) << "some fit";
  }
  EXPECT_EQ(outcome.err_lines("packed as they are needed"), as_needed > 0 ? 1 : 0) << outcome.err;
  EXPECT_EQ(outcome.err_lines("times as long as packed ahead"), as_needed > 0 ? 1 : 0);
  const auto lazy = result_of(ranks, run_of({"--pack", "lazy"}));
  EXPECT_EQ(lazy["packing"]["as_needed"], 16);
  EXPECT_GT(lazy["packing"]["as_needed_s"], 0.0);
  EXPECT_GT(lazy["packing"]["slowdown"], 1.0);
}

TEST_P(AtRanks, TheCacheIsWrittenOnceByWhoeverHostsAnExpert) {
  const TempFolder folder;
  const Words cache{"--pack-cache", (folder / "made/here").string()};
  const auto first = result_of(GetParam(), run_of(cache))["packing"];
  EXPECT_EQ(first["cache_written"], 16);
  EXPECT_EQ(first["cache_read"], 0);
  for (const int ranks : {1, 2, 3}) {
    const auto again = result_of(ranks, run_of(cache))["packing"];
    EXPECT_EQ(again["cache_written"], 0) << ranks;
    EXPECT_EQ(again["cache_read"], 16) << ranks;
  }
  EXPECT_EQ(result_of(1, with({"eval", "--checkpoint", kMixtral, "--ids",
                               write_file(folder / "ids", "1,2,3,4,5,6,7,8"), "--json", "-"},
                              cache))["packing"]["cache_read"],
            16);
}

TEST_P(AtRanks, WholeModelsHaveTheSameTokensAndLossHoweverTheyPack) {
  const int ranks = GetParam();
  const TempFolder folder;
  const auto ids = result_of(ranks, generate_of({}))["ids"];
  ASSERT_EQ(ids.size(), 2U);
  const std::string cache = folder.path().string();
  const std::vector<Words> ways{{"--pack", "lazy"},
                                {"--memory-per-rank", "0.0006"},
                                {"--pack-cache", cache},
                                {"--pack-cache", cache}};
  const auto loss = [&](const Words& more) {
    Words words{"eval",
                "--checkpoint",
                kMixtral,
                "--ids",
                write_file(folder / "ids", "1,2,3,4,5,6,7,8,9,10,11,12"),
                "--json",
                "-"};
    return result_of(ranks, with(words, more))["loss"].get<double>();
  };
  const double want = loss({});
  for (const Words& way : ways) {
    EXPECT_EQ(result_of(ranks, generate_of(way))["ids"], ids) << way[1];
    EXPECT_EQ(loss(way), want) << way[1];
  }
}

TEST_P(AtRanks, GoldenModelsPassLazilyAndMapped) {
  const TempFolder folder;
  const auto digests = [&](const Words& more) {
    Words words{
        "verify", "golden", kFp8, kMixtral, std::string(SWITCHYARD_TEST_DATA) + "/golden/moe",
        "--json", "-"};
    Words found;
    const auto json = result_of(GetParam(), with(words, more));
    for (const auto& each : json["results"]) {
      found.push_back(each.value("logits_digest", "block"));
    }
    return found;
  };
  const Words plain = digests({});
  EXPECT_GT(plain.size(), 20U);
  EXPECT_EQ(digests({"--pack", "lazy"}), plain);
  EXPECT_EQ(digests({"--pack-cache", folder.path().string()}), plain);
  EXPECT_EQ(digests({"--pack-cache", folder.path().string()}), plain);
}

TEST_P(AtRanks, ADamagedFileIsMendedWithAWord) {
  const TempFolder folder;
  const Words cache{"--pack-cache", folder.path().string()};
  const auto digest = result_of(GetParam(), run_of(cache))["output_digest"];
  const fs::path file = *fs::directory_iterator(folder.path());
  std::string bytes = read_file(file);
  bytes[6000] = static_cast<char>(bytes[6000] ^ 16);
  write_file(file, bytes);
  const Outcome outcome = run({.words = mpirun(GetParam(), run_of(cache))});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err_lines("written anew"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(file.string()));
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["output_digest"], digest);
  EXPECT_EQ(json["packing"]["cache_written"], 1);
}

/// One error line, this status, these words.
void expect_error(const Outcome& outcome, int status, const std::string& words) {
  EXPECT_EQ(outcome.status, status) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(words));
}

TEST_P(AtRanks, ACacheThatCannotBeWrittenEndsWithTheStatusOfIo) {
  const TempFolder folder;
  const int ranks = GetParam();
  const std::string file = write_file(folder / "file", "");
  expect_error(run({.words = mpirun(ranks, run_of({"--pack-cache", file}))}), 74,
               "--pack-cache: cannot make " + file);
  // Nobody, not even root, can make files there.
  expect_error(run({.words = mpirun(ranks, run_of({"--pack-cache", "/proc/self"}))}), 74,
               "--pack-cache: cannot write /proc/self/layer-0.expert-");
}

TEST(PackCache, ThatFillsTheDiskLeavesNothingBehind) {
  const TempFolder folder;
  const std::string cache = (folder / "cache").string();
  const auto line = [&](const std::string& limit) {
    std::string words = "trap '' XFSZ; " + limit + " exec";
    for (const std::string& word :
         with({"run", "--model", "olmoe", "--set", "hidden_size=1024", "--set",
               "moe_intermediate_size=2048", "--set", "routed_experts=2", "--set", "top_k=1",
               "--tokens", "4", "--steps", "1", "--warmup", "0", "--json", "-"},
              {"--pack-cache", cache})) {
      words += " '" + word + "'";
    }
    return Words{"sh", "-c", words};
  };
  // An expert takes 25 MB; blocks of a limit have 512 or 1024 bytes.
  expect_error(run({.words = line("ulimit -f 24000;")}), 74, "--pack-cache: cannot write " + cache);
  EXPECT_TRUE(fs::is_empty(cache));
  const Outcome outcome = run({.words = line("")});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["packing"]["cache_written"], 2);
}

TEST(PackCache, OfAChangedCheckpointIsNotUsed) {
  const TempFolder folder;
  const Words cache{"--pack-cache", (folder / "cache").string()};
  const std::string copy = (folder / "copy").string();
  fs::copy(kMixtral, copy);
  const auto before = result_of(2, run_of(cache, copy));
  EXPECT_EQ(before["packing"]["cache_written"], 16);
  for (const auto& entry : fs::directory_iterator(copy)) {
    if (entry.path().extension() != ".safetensors") continue;
    const auto when = fs::last_write_time(entry.path());
    std::string bytes = read_file(entry.path());
    std::uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    for (std::size_t i = 8 + header; i < bytes.size(); i += 4) {
      bytes[i] = static_cast<char>(bytes[i] ^ 1);  // the last bit of every weight
    }
    write_file(entry.path(), bytes);
    fs::last_write_time(entry.path(), when);
  }
  const auto after = result_of(2, run_of(cache, copy));
  EXPECT_EQ(after["packing"]["cache_written"], 16);
  EXPECT_EQ(after["output_digest"], result_of(2, run_of({}, copy))["output_digest"]);
  EXPECT_NE(after["output_digest"], before["output_digest"]);
}

TEST(Memory, ThatIsTooLittleIsRefusedWithTheNearestChoices) {
  const auto refused = [&](int ranks, const Words& words, const Words& says) {
    const Outcome outcome = run({.words = mpirun(ranks, words)});
    expect_error(outcome, 2, "memory: rank 0 needs");
    for (const std::string& each : says) EXPECT_THAT(outcome.err, HasSubstr(each));
  };
  // 16 experts of 40 KiB alone, 6 at three ranks; bfloat16 is half of it.
  refused(1, run_of({"--pack", "eager", "--memory-per-rank", "0.0004"}),
          {"640.0 KiB of experts as float32", "has 419.4 KiB", "--weights bfloat16 (3",
           "2 times the nodes", "--pack lazy (", "or fewer --layers"});
  refused(3, run_of({"--pack", "eager", "--memory-per-rank", "0.0001"}),
          {"240.0 KiB of experts", "--weights mxfp4 (", "3 times the nodes", "--pack lazy"});
  refused(2, run_of({"--memory-per-rank", "0.00003"}), {"for one expert at a time"});
  refused(2, run_of({"--memory-per-rank", "0.00003", "--pack", "lazy"}), {"for one expert"});
  refused(2, run_of({"--memory-per-rank", "0.00003", "--pack-cache", testing::TempDir()}),
          {"for one expert"});
  refused(1, generate_of({"--pack", "eager", "--memory-per-rank", "0.0005"}),
          {"of everything else), has 524.2 KiB", "--pack lazy", "fewer tokens at once"});
  refused(3, generate_of({"--memory-per-rank", "0.00005"}), {"of everything else"});
  const TempFolder folder;
  const std::string ids = write_file(folder / "ids", "1,2,3,4,5,6,7,8");
  refused(2,
          with({"eval", "--checkpoint", kMixtral, "--ids", ids}, {"--memory-per-rank", "0.00005"}),
          {"of everything else"});
  refused(1, with({"verify", "golden", kMixtral}, {"--memory-per-rank", "0.00005"}),
          {"of everything else"});
}

TEST(Memory, OfSyntheticWeightsIsNotMadeAgainEveryStepUnlessAsked) {
  const Words words{"run",
                    "--model",
                    "olmoe",
                    "--set",
                    "hidden_size=64",
                    "--set",
                    "moe_intermediate_size=64",
                    "--tokens",
                    "16",
                    "--memory-per-rank",
                    "0.001",
                    "--json",
                    "-"};
  expect_error(run({.words = switchyard(words)}), 2, "--pack lazy");
  const auto lazy = result_of(1, with(words, {"--pack", "lazy"}));
  Words enough = words;
  enough[10] = "1";
  EXPECT_EQ(lazy["output_digest"], result_of(1, switchyard(enough))["output_digest"]);
  EXPECT_EQ(lazy["packing"]["as_needed"], 64);
}
}  // namespace
