// SPDX-License-Identifier: Apache-2.0
// Bad inputs 1 to 29: settings, models, placements, words.
#include <filesystem>

#include "tests/faults/bad_inputs.hpp"

namespace switchyard::tests {
namespace {

/// A small run with a config file of this text.
BadStart config(const std::string& name, const std::string& text, const std::string& says) {
  const std::string file = file_with(name, text);
  return {tiny({"--config", file}), file + says};
}

BadStart field(const std::string& assignment, const std::string& says) {
  return {tiny({"--set", assignment}), says};
}

/// `rank { FIRST }` and idle ranks behind it, `all` together.
BadStart placement(int all, const std::string& first, const std::string& says) {
  std::string text = "rank { " + first + " }";
  for (int r = 1; r < all; ++r) text += " rank {}";
  const std::string file = file_with("placement" + std::to_string(all), text);
  return {tiny({"--placement", file}), file + ": " + says};
}

BadStart capacity(const std::string& factor) {
  return {tiny({"--capacity-rule", "colossal", "--capacity-factor", factor}),
          "--capacity-factor: got '" + factor + "', want a number from 0"};
}

std::vector<BadCase> files() {
  return {
      {1, "ConfigMissing", 74,
       [](int) {
         return BadStart{tiny({"--config", "/nowhere/c"}), "/nowhere/c: No such file or directory"};
       }},
      {2, "ConfigIsAFolder", 74,
       [](int) {
         return BadStart{tiny({"--config", "/tmp"}), "/tmp: Is a directory"};
       }},
      {3, "ConfigUnreadable", 74,
       [](int) {
         const std::string file = file_with("unreadable", "tokens: 4\n");
         std::filesystem::permissions(file, std::filesystem::perms::none);
         return BadStart{tiny({"--config", file}), file + ": Permission denied"};
       }},
      {3, "ConfigFailsToBeRead", 74,
       [](int) {
         return BadStart{tiny({"--config", "/proc/self/mem"}),
                         "/proc/self/mem: Input/output error"};
       }},
      {4, "ConfigEmpty", 2, [](int) { return config("c4", "", ": empty, want a setting"); }},
      {5, "UnknownField", 2,
       [](int) {
         return config("c5", "steps: 2\ntokns: 4\n", ":2:6: no field tokns, nearest is tokens");
       }},
      {6, "FieldOfAnotherType", 2,
       [](int) {
         return config("c6", "steps: \"many\"", R"(:1:8: Expected integer, got: "many")");
       }},
      {7, "NumberOutOfRange", 2,
       [](int) {
         return config("c7", "steps: 99999999999999999999",
                       ":1:8: Integer out of range (99999999999999999999)");
       }},
      {8, "FieldTwice", 2,
       [](int) {
         return config("c8", "steps: 1\nsteps: 2",
                       ":2:6: Non-repeated field \"steps\" is specified multiple times.");
       }},
      {9, "NestingWithoutEnd", 2,
       [](int) {
         return config("c9", std::string(200000, '{'), ":1:1: Expected identifier, got: {");
       }},
      {10, "BytesWhereTextIsWanted", 2,
       [](int) {
         return config("c10", "\x08\x96\x01\xff\xfe",
                       ":1:1: Invalid control characters encountered in text.");
       }},
  };
}

std::vector<BadCase> shapes() {
  return {
      {11, "NoExperts", 2,
       [](int) {
         return field("routed_experts=0", "model: routed_experts is 0, want 1 to 524288");
       }},
      {12, "TopKZero", 2, [](int) { return field("top_k=0", "model: top_k is 0, want 1 to 64"); }},
      {13, "TopKBeyondExperts", 2,
       [](int) { return field("top_k=65", "model: top_k is 65, want 1 to 64"); }},
      // The list has top_k above 32 as wrong; ours goes up to the number of experts.
      {14, "TopKAbove32Works", 0, [](int) { return field("top_k=33", ""); }},
      {15, "NoWidth", 2,
       [](int) { return field("hidden_size=0", "model: hidden_size is 0, want 1 to 524288"); }},
      {15, "HeadsThatDoNotDivide", 2,
       [](int) {
         return field("num_kv_heads=3", "model: num_kv_heads is 3, want a divisor of num_heads 16");
       }},
      {16, "CapacityNegative", 2, [](int) { return capacity("-1"); }},
      {16, "CapacityNan", 2, [](int) { return capacity("nan"); }},
      {16, "CapacityInfinite", 2, [](int) { return capacity("inf"); }},
      {18,
       "ExpertsThatDoNotDivideWork",
       0,
       [](int) {
         return BadStart{tiny({"--set", "routed_experts=63", "--json", "-"}), ""};
       },
       {1, 2, 4},
       [](const nlohmann::json& run, int) { return run.at("slots_per_step") == 128.0; }},
      {19,
       "MoreRanksThanExpertsWork",
       0,
       [](int) {
         return BadStart{tiny({"--set", "routed_experts=1", "--set", "top_k=1", "--json", "-"}),
                         ""};
       },
       {1, 2, 4},
       [](const nlohmann::json& run, int ranks) { return run.at("idle_ranks") == ranks - 1; }},
      {20, "PlacementOfAnUnknownExpert", 2,
       [](int ranks) {
         return placement(ranks, "expert: 64", "placement: expert 64 on rank 0, want 0 to 63");
       }},
      {21, "ExpertWithoutAHost", 2,
       [](int ranks) {
         return placement(ranks, "expert: 1",
                          "placement: expert 0 has no host, want at least one rank");
       }},
      {22, "ExpertTwiceOnARank", 2,
       [](int ranks) {
         return placement(ranks, "expert: [0, 0]",
                          "placement: expert 0 is twice on rank 0, want at most one copy a rank");
       }},
      {23, "PlacementOnARankThatIsNone", 2,
       [](int ranks) {
         return placement(ranks + 1, "expert: 1",
                          "placement for " + std::to_string(ranks + 1) + " ranks, want " +
                              std::to_string(ranks));
       }},
      {24, "MoreThanMemory", 2,
       [](int ranks) {
         return BadStart{
             {"run", "--model", "deepseek-v3", "--tokens", "1", "--memory-per-rank", "0.5"},
             ranks == 1 ? "memory: rank 0 needs 42.1 GiB (42.0 GiB of experts as float32, 168.5 "
                          "MiB of everything else), has 512.0 MiB: want --pack lazy (336.5 MiB)"
             : ranks == 2
                 ? "memory: rank 0 needs 21.1 GiB (21.0 GiB of experts as float32, 168.5 MiB of "
                   "everything else), has 512.0 MiB: want 64 times the nodes or --pack lazy (336.5 "
                   "MiB)"
                 : "memory: rank 0 needs 10.6 GiB (10.5 GiB of experts as float32, 168.5 MiB of "
                   "everything else), has 512.0 MiB: want 32 times the nodes or --pack lazy (336.5 "
                   "MiB)"};
       }},
      {25, "SizesThatOverflow", 2,
       [](int) {
         return field("hidden_size=4611686018427387904",
                      "model: hidden_size is 4611686018427387904, want 0 to 524288");
       }},
  };
}

std::string as_on_others(int ranks) {
  return ranks == 2 ? " as on 1 rank" : " as on " + std::to_string(ranks - 1) + " ranks";
}

std::vector<BadCase> words() {
  return {
      {26,
       "AnotherSeedOnOneRank",
       2,
       [](int ranks) {
         return BadStart{.words = tiny({"--seed", "1"}),
                         .says =
                             "handshake: rank 1 was started with other settings: seed is 2, "
                             "want 1" +
                             as_on_others(ranks),
                         .rank1 = tiny({"--seed", "2"})};
       },
       {2, 4}},
      {27,
       "AnotherBuildOnOneRank",
       2,
       [](int ranks) {
         return BadStart{.words = tiny({}),
                         .says =
                             "handshake: rank 1 was started with other settings: version is 0.0.0, "
                             "want " SWITCHYARD_TEST_VERSION +
                             as_on_others(ranks),
                         .rank1 = tiny({}),
                         .rank1_program = SWITCHYARD_OTHER_BUILD};
       },
       {2, 4}},
      {28, "NegativeSteps", 2,
       [](int) {
         return BadStart{tiny({"--steps", "-1"}), "--steps: got '-1', want a whole number from 1"};
       }},
      {28, "ZeroSteps", 2,
       [](int) {
         return BadStart{tiny({"--steps", "0"}),
                         "--steps: got '0', want a whole number from 1 to 9223372036854775807"};
       }},
      {28, "NegativeTokens", 2,
       [](int) {
         return BadStart{{"run", "--model", "olmoe", "--tokens", "-1"},
                         "--tokens: got '-1', want a whole number from 0 to 1099511627776"};
       }},
      {28, "NegativeDeadline", 2,
       [](int) {
         return BadStart{tiny({"--deadline", "-1"}),
                         "--deadline: got '-1', want a number above 0 to 1e+06"};
       }},
      {29, "UnknownCommand", 2,
       [](int) {
         return BadStart{{"verfy"},
                         "got 'verfy', want a command, nearest is verify (switchyard --help lists "
                         "them)"};
       }},
      {29, "UnknownFlag", 2,
       [](int) {
         return BadStart{tiny({"--tokns", "4"}), "run: no option --tokns, nearest is --tokens"};
       }},
      {29,
       "UnknownFlagOnOneRank",
       2,
       [](int) {
         return BadStart{.words = tiny({}),
                         .says = "rank 1: run: no option --bogus, nearest is --tokens",
                         .rank1 = tiny({"--bogus"})};
       },
       {2, 4}},
  };
}
}  // namespace

std::vector<BadCase> bad_settings() {
  std::vector<BadCase> all = files();
  for (const auto& more : {shapes(), words()}) all.insert(all.end(), more.begin(), more.end());
  return all;
}
}  // namespace switchyard::tests
