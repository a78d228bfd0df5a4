// SPDX-License-Identifier: Apache-2.0
// Bad inputs 30 to 51: MPI, and what a run works on.
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>

#include "tests/faults/bad_inputs.hpp"

namespace switchyard::tests {
namespace {
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kHidden = 48;  // of mixtral-tiny, which has 8 experts and takes 2

std::string bytes_of_floats(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Equal rows for --input.
std::string rows(std::size_t count, float value) {
  return file_with("rows", bytes_of_floats(std::vector<float>(count * kHidden, value)));
}

/// A copy of mixtral-tiny whose routers look at the first element only, with this weight.
std::string with_routers(float weight) {
  const std::filesystem::path folder = scratch("routers");
  std::filesystem::remove_all(folder);
  std::filesystem::copy(data("golden/models/mixtral-tiny"), folder);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with("model-")) continue;
    std::string bytes = bytes_of(entry.path());
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    const auto header = nlohmann::json::parse(bytes.substr(8, length));
    for (const auto& [name, tensor] : header.items()) {
      if (!name.ends_with("gate.weight")) continue;
      const std::size_t begin = 8 + length + tensor["data_offsets"][0].get<std::size_t>();
      const std::size_t end = 8 + length + tensor["data_offsets"][1].get<std::size_t>();
      std::vector<float> values((end - begin) / sizeof(float), 0.0F);
      for (std::size_t i = 0; i < values.size(); i += kHidden) values[i] = weight;
      bytes.replace(begin, end - begin, bytes_of_floats(values));
    }
    std::ofstream(entry.path(), std::ios::binary) << bytes;
  }
  return folder.string();
}

std::vector<std::string> run_of(const std::string& checkpoint, const std::string& input,
                                const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"run", "--checkpoint", checkpoint, "--input", input};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::vector<std::string> few_tokens(const std::string& count) {
  return {
      "run",      "--model", "olmoe",  "--set", "hidden_size=8", "--set", "moe_intermediate_size=8",
      "--tokens", count,     "--json", "-"};
}

std::vector<std::string> continue_from(const std::vector<std::string>& prompt) {
  std::vector<std::string> words{"generate", "--checkpoint", data("golden/models/mixtral-tiny"),
                                 "--max-new-tokens", "2"};
  words.insert(words.end(), prompt.begin(), prompt.end());
  return words;
}

std::vector<BadCase> starts() {
  return {
      {30,
       "RanksWantedWithoutMpirun",
       2,
       [](int) {
         const std::string file = file_with("two", "rank { expert: 0 } rank {}");
         return BadStart{.words = tiny({"--placement", file}),
                         .says = file + ": placement for 2 ranks, want 1",
                         .by_mpirun = false};
       },
       {1}},
      {31, "FewerRanksInTheConfigThanThereAre", 2,
       [](int ranks) {
         std::string text;
         for (int r = 1; r < ranks; ++r) text += "rank {} ";
         const std::string file = file_with("fewer", text);
         return BadStart{tiny({"--placement", file}), file + ": placement for " +
                                                          std::to_string(ranks - 1) +
                                                          " ranks, want " + std::to_string(ranks)};
       }},
      // One thread calls MPI, whatever MPI says it would stand.
      {32, "ThreadLevelTooLowWorks", 0,
       [](int) {
         return BadStart{.words = tiny({}),
                         .says = "",
                         .environment = {"LD_PRELOAD=" SWITCHYARD_SINGLE_THREADED_MPI}};
       }},
      // `doctor` warns; a run works, and says so by its times.
      {33,
       "MoreRanksThanProcessorsWork",
       0,
       [](int) {
         return BadStart{few_tokens("16"), ""};
       },
       {8}},
  };
}

std::vector<BadCase> tokens() {
  return {
      {37,
       "NoTokenOnSomeRanksWorks",
       0,
       [](int) {
         return BadStart{few_tokens("1"), ""};
       },
       {1, 2, 4},
       [](const nlohmann::json& run, int) { return run.at("slots_per_step") == 8.0; }},
      {38,
       "NoTokenAtAllWorks",
       0,
       [](int) {
         return BadStart{few_tokens("0"), ""};
       },
       {1, 2, 4},
       [](const nlohmann::json& run, int) { return run.at("slots_per_step") == 0.0; }},
      {39,
       "AllTokensToTheSameExpertsAreCountedWhereTheyOverflow",
       0,
       [](int) {
         return BadStart{run_of(data("golden/models/mixtral-tiny"), rows(6, 1.0F),
                                {"--capacity-rule", "colossal", "--capacity-factor", "1",
                                 "--layers", "1", "--json", "-", "--routing-group", "6"}),
                         ""};
       },
       {1, 2, 4},
       // Two experts take 4 rows each of 6: no capacity is smaller.
       [](const nlohmann::json& run, int) {
         return run.at("slots_per_step") == 12.0 && run.at("dropped_per_step") == 4.0;
       }},
      {40, "ExpertsWithoutATokenWork", 0,
       [](int) {
         return BadStart{few_tokens("3"), ""};
       }},
      {41, "IdBeyondTheVocabulary", 2,
       [](int) {
         return BadStart{continue_from({"--prompt-ids", "1,96"}),
                         "prompt 0: id, got 96, want 0 to 95, the model's vocabulary"};
       }},
      {41, "IdNegative", 2,
       [](int) {
         return BadStart{continue_from({"--prompt-ids", "1,-2"}),
                         "--prompt-ids: got '-2' for id 1, want a whole number from 0"};
       }},
      {42, "SequenceTooLong", 2,
       [](int) {
         return BadStart{continue_from({"--prompt-tokens", "300"}),
                         "prompt 0: got 300 tokens and --max-new-tokens 2, want at most 256 "
                         "together, the model's context"};
       }},
      // Whichever rank is the first to meet it has the word.
      {43, "LogitNan", 2,
       [](int) {
         return BadStart{
             run_of(data("golden/models/mixtral-tiny"),
                    rows(3, std::numeric_limits<float>::quiet_NaN())),
             "rank #, layer 0, its tokens counted from #: token 0: logit of expert 0 is "
             "nan, want a finite number or -inf"};
       }},
      {44, "LogitInfinite", 2,
       [](int) {
         return BadStart{
             run_of(with_routers(kInfinity), rows(3, 1.0F)),
             "rank #, layer 0, its tokens counted from #: token 0: logit of expert 0 is "
             "inf, want a finite number or -inf"};
       }},
      {45, "AllExpertsHidden", 2,
       [](int) {
         return BadStart{run_of(with_routers(-kInfinity), rows(3, 1.0F)),
                         "rank #, layer 0, its tokens counted from #: token 0: 0 of 8 logits are "
                         "finite, want at least 2"};
       }},
      {46,
       "TiesAreTheSameEverywhere",
       0,
       [](int) {
         return BadStart{run_of(with_routers(0), rows(6, 1.0F), {"--json", "-"}), ""};
       },
       {1, 2, 4},
       [](const nlohmann::json& run, int) {
         return run.at("output_digest") ==
                "6932c4eed8bd39d6cf0d10eddeec6e7712d42cf161f0cf143eb0cbdae730ac8e";
       }},
  };
}
}  // namespace

std::vector<BadCase> bad_work() {
  std::vector<BadCase> all = starts();
  const auto more = tokens();
  all.insert(all.end(), more.begin(), more.end());
  return all;
}
}  // namespace switchyard::tests
