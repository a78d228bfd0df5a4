// SPDX-License-Identifier: Apache-2.0
// Stateful runs that stop and go on: by other ranks, placements and types, to the same end.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <string>
#include <vector>

#include "tests/launch/stateful_run.hpp"

namespace switchyard::tests {
namespace {
using testing::HasSubstr;
namespace fs = std::filesystem;

std::vector<std::string> steps_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("step-")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void flip(const fs::path& file, std::int64_t at) {
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  stream.seekg(at);
  const char old = static_cast<char>(stream.get());
  stream.seekp(at);
  stream.put(static_cast<char>(old ^ 1));
}

std::vector<std::string> saved_to(const TempFolder& folder,
                                  const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"--save-to", folder.path().string()};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

nlohmann::json result_of(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  return nlohmann::json::parse(outcome.out, nullptr, false);
}

TEST(Resume, EndsAsTheUninterruptedRunOnAnyRanksAndPlacement) {
  const TempFolder folder;
  const std::string placement = (folder / "replicas.textproto").string();
  std::ofstream(placement) << "version: 1\nrank { expert: [0, 1, 2, 3, 7] }\nrank { expert: [0, 4] "
                              "}\nrank { expert: [5, 6, 7, 0] }\n";
  const Ended whole = ended(1, {"--steps", "9"});
  ended(3, saved_to(folder, {"--steps", "2", "--placement", placement}));
  ended(10, saved_to(folder, {"--steps", "4", "--save-every", "1"}));  // more ranks than experts
  ended(1, saved_to(folder, {"--steps", "5", "--save", "sync"}));
  ended(2, saved_to(folder, {"--steps", "6", "--placement", "round-robin", "--warmup", "0"}));
  const Outcome last =
      run({.words = mpirun(3, stateful_run(saved_to(folder, {"--steps", "9", "--placement",
                                                             placement, "--pack", "lazy"})))});
  const auto json = result_of(last);
  EXPECT_EQ(json["first_step"], 6);
  EXPECT_EQ(json["steps"], 3);
  EXPECT_EQ(json["output_digest"], whole.output);
  EXPECT_EQ(json["state_digest"], whole.state);
  EXPECT_EQ(steps_in(folder.path().string()).size(), 2U) << "--keep 2";

  // Once more at its end: nothing is computed, and the same comes out.
  EXPECT_EQ(ended(2, saved_to(folder, {"--steps", "9"})), whole);
}

TEST(Resume, TakesTheSavedStateInOtherStoredTypes) {
  const TempFolder folder;
  const Ended saved = ended(2, saved_to(folder));
  for (const char* weights : {"bfloat16", "int8"}) {
    EXPECT_EQ(ended(3, saved_to(folder, {"--weights", weights})), saved) << weights;
    const Outcome on =
        run({.words = mpirun(2, stateful_run({"--save-to", folder.path().string() + "-" + weights,
                                              "--weights", weights, "--steps", "3"}))});
    EXPECT_EQ(on.status, 0) << on.err;
    const Ended whole = ended(1, {"--weights", weights});
    EXPECT_EQ(ended(3, {"--save-to", folder.path().string() + "-" + weights, "--weights", weights}),
              whole);
    fs::remove_all(folder.path().string() + "-" + weights);
  }
}

TEST(Resume, AsynchronousBytesAreSynchronousBytes) {
  const TempFolder async;
  const TempFolder sync;
  const std::vector<std::string> often{"--save-every", "1", "--keep", "9"};
  auto one = saved_to(async, often);
  auto other = saved_to(sync, often);
  other.insert(other.end(), {"--save", "sync"});
  EXPECT_EQ(ended(3, one), ended(3, other));
  int files = 0;
  for (const std::string& step : steps_in(async.path().string())) {  // some may have been left out
    for (const auto& entry : fs::directory_iterator(async.path().string() + "/" + step)) {
      const std::string name = entry.path().filename();
      EXPECT_EQ(read_file(entry.path()), read_file(sync.path().string() + "/" + step + "/" + name))
          << step << "/" << name;
      ++files;
    }
  }
  EXPECT_GE(files, 4);
  EXPECT_EQ(steps_in(sync.path().string()).size(), 6U);
}

TEST(Resume, ADamagedStepIsSkippedByName) {
  const TempFolder folder;
  const Ended whole = ended(2, {"--steps", "8"});
  ended(2, saved_to(folder, {"--save-every", "3", "--save", "sync"}));
  ASSERT_EQ(steps_in(folder.path().string()).size(), 2U);
  const std::string newest = folder.path().string() + "/" + steps_in(folder.path().string()).back();
  flip(newest + "/shard-00001-of-00002.sy", 5000);
  const Outcome outcome =
      run({.words = mpirun(3, stateful_run(saved_to(folder, {"--steps", "8"})))});
  const auto json = result_of(outcome);
  EXPECT_EQ(json["first_step"], 3);
  EXPECT_EQ(json["output_digest"], whole.output);
  EXPECT_EQ(json["state_digest"], whole.state);
  EXPECT_EQ(outcome.err_lines("skip step 6: "), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("shard-00001-of-00002.sy"));
}

TEST(Resume, NeverStartsAnewInSilence) {
  const TempFolder folder;
  ended(2, saved_to(folder, {"--steps", "2"}));
  flip(folder.path().string() + "/" + steps_in(folder.path().string())[0] +
           "/shard-00000-of-00002.sy",
       5000);
  const Outcome refused = run({.words = mpirun(2, stateful_run(saved_to(folder)))});
  EXPECT_EQ(refused.status, 2) << refused.err;
  EXPECT_EQ(ended(2, saved_to(folder, {"--fresh"})), ended(1));
}

TEST(Resume, OfAnotherRunIsRefusedByName) {
  const TempFolder folder;
  ended(2, saved_to(folder, {"--steps", "2"}));
  const auto refusal = [&](const std::vector<std::string>& more) {
    const Outcome outcome = run({.words = mpirun(2, stateful_run(saved_to(folder, more)))});
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
    return outcome.err;
  };
  EXPECT_THAT(refusal({"--seed", "2"}), HasSubstr("was saved with seed 1, got 2"));
  EXPECT_THAT(refusal({"--tokens", "66"}), HasSubstr("was saved with tokens 67, got 66"));
  EXPECT_THAT(refusal({"--layers", "1"}), HasSubstr("was saved with layers"));
  EXPECT_THAT(refusal({"--routing", "uniform"}), HasSubstr("was saved with routing model"));
  EXPECT_THAT(refusal({"--set", "hidden_size=64"}), HasSubstr("was saved with a model "));
  EXPECT_THAT(refusal({"--steps", "1"}), HasSubstr("--steps: got 1, want more than 2"));
  const Outcome model =
      run({.words = switchyard({"run", "--stateful", "--model", "olmoe", "--set", "hidden_size=64",
                                "--set", "moe_intermediate_size=32", "--tokens", "9", "--save-to",
                                folder.path().string()})});
  EXPECT_EQ(model.status, 2);
  EXPECT_THAT(model.err, HasSubstr("was saved with model deepseek-v3"));
}

/// Starts a run without an end, has a signal sent when it has saved something, and waits for it.
/// @param whom  a shell command that prints who gets the signal
Outcome signalled(const std::string& folder, const std::string& signal, const std::string& whom,
                  const std::string& save) {
  std::string line = "mpirun --oversubscribe -n 3";
  for (const std::string& word : stateful_run(
           {"--save-to", folder, "--save-every", "3", "--steps", "10000000", "--save", save})) {
    line += " '" + word + "'";
  }
  line += " & job=$!; until ls -d '" + folder + "'/step-* >/dev/null 2>&1; do sleep 0.02; done; ";
  line += "kill -" + signal + " $(" + whom + "); wait $job";
  return run({.words = {"bash", "-c", line}});
}

TEST(Resume, ASignalToAnyRankSavesAndLeavesWith75) {
  int case_number = 0;
  for (const std::string& whom : {std::string("echo $job"), std::string("pgrep -P $job | head -1"),
                                  std::string("pgrep -P $job | tail -1")}) {
    const TempFolder folder;
    const std::string signal = ++case_number == 3 ? "TERM" : "USR1";
    const Outcome left =
        signalled(folder.path().string(), signal, whom, case_number == 2 ? "sync" : "async");
    EXPECT_EQ(left.status, 75) << left.err;
    EXPECT_EQ(left.err_lines("asked to leave by a signal"), 1) << left.err;
    const std::string newest = steps_in(folder.path().string()).back();
    const std::int64_t step = std::stoll(newest.substr(5));
    EXPECT_THAT(left.err, HasSubstr("after step " + std::to_string(step) + " of"));
    const std::string steps = std::to_string(step + 2);
    EXPECT_EQ(ended(2, saved_to(folder, {"--steps", steps})), ended(1, {"--steps", steps}));
  }
}

TEST(Resume, ASignalToARunThatSavesNothingEndsItWithOneLine) {
  std::string line = "mpirun --oversubscribe -n 2";
  for (const std::string& word : stateful_run({"--steps", "10000000"}, ""))
    line += " '" + word + "'";
  line += " & job=$!; until [ $(pgrep -P $job | wc -l) = 2 ]; do sleep 0.02; done; ";
  // Until its handler stands, a signal would end it like any program.
  line +=
      "rank=$(pgrep -P $job | tail -1); until grep -q 'SigCgt:.*[4567cdef]...$' "
      "/proc/$rank/status && sleep 0.3; do sleep 0.02; done; kill -TERM $rank; wait $job";
  const Outcome left = run({.words = {"bash", "-c", line}});
  EXPECT_EQ(left.status, 75) << left.err;
  EXPECT_EQ(left.err_lines("nothing is saved without --save-to"), 1) << left.err;
}
}  // namespace
}  // namespace switchyard::tests
