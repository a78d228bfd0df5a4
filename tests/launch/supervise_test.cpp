// SPDX-License-Identifier: Apache-2.0
// Supervised jobs from outside: what is refused, what starts again, what one failure says.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"

namespace {
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::Start;
using testing::HasSubstr;
using testing::Not;

/// Many ranks on few processors, as under `mpirun --oversubscribe`.
const std::string kShared = "OMPI_MCA_rmaps_base_oversubscribe=1";

std::vector<std::string> small_run(std::vector<std::string> more) {
  std::vector<std::string> words{SWITCHYARD_PROGRAM,
                                 "run",
                                 "--model",
                                 "mixtral-8x7b",
                                 "--set",
                                 "hidden_size=64",
                                 "--set",
                                 "moe_intermediate_size=64",
                                 "--tokens",
                                 "32",
                                 "--steps",
                                 "4",
                                 "--deadline",
                                 "2"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::vector<std::string> supervise(std::vector<std::string> options,
                                   const std::vector<std::string>& more) {
  options.insert(options.begin(), {SWITCHYARD_PROGRAM, "supervise"});
  options.emplace_back("--");
  const std::vector<std::string> words = small_run(more);
  options.insert(options.end(), words.begin() + 1, words.end());
  return options;
}

/// The words with a variable that replaces this process's.
std::vector<std::string> in(const std::string& variable, std::vector<std::string> words) {
  words.insert(words.begin(), {"env", variable});
  return words;
}

std::string digest_of(const std::string& out) {
  const std::size_t at = out.rfind("output digest");
  return at == std::string::npos ? "" : out.substr(at, out.find('\n', at) - at);
}

TEST(Supervise, AKilledRankIsNamedAndTheRunStartsAgain) {
  const Outcome whole = run({.words = mpirun(2, small_run({}))});
  ASSERT_EQ(whole.status, 0) << whole.err;
  const Outcome outcome =
      run({.words = supervise({"--ranks", "3"}, {"--inject", "kill@rank=1,step=2,phase=combine"}),
           .environment = {kShared}});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err,
              HasSubstr("rank 1 was killed by signal 9 in combine, step 2, layer 0; start 2"));
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 0) << outcome.err;
  EXPECT_EQ(digest_of(outcome.out), digest_of(whole.out));
}

TEST(Supervise, AStepThatAlwaysFailsIsPoison) {
  const Outcome outcome = run(
      {.words = supervise({"--ranks", "2"}, {"--inject", "throw@rank=0,step=2,incarnation=any"}),
       .environment = {kShared}});
  EXPECT_EQ(outcome.status, 70) << outcome.err;
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("poison step 2: it failed 3 times"));
}

TEST(Supervise, UsageIsNeverStartedAgain) {
  const Outcome outcome =
      run({.words = supervise({"--ranks", "2"}, {"--sepets", "3"}), .environment = {kShared}});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("--sepets"));
}

TEST(Supervise, RootWithoutOptInIsExplained) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root";
  const Outcome outcome =
      run({.words = in("OMPI_ALLOW_RUN_AS_ROOT=0", supervise({"--ranks", "2"}, {}))});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"));
}

TEST(Supervise, ALauncherThatIsNotThereIsNamed) {
  const Outcome outcome = run({.words = in("PATH=/nowhere", supervise({"--ranks", "2"}, {}))});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("mpirun is not in PATH, want Open MPI's"));
}

TEST(Supervise, NoRankAndNoNumberAreRefused) {
  for (const char* ranks : {"0", "x"}) {
    const Outcome outcome = run({.words = supervise({"--ranks", ranks}, {})});
    EXPECT_EQ(outcome.status, 2);
    EXPECT_THAT(outcome.err,
                HasSubstr(std::string("--ranks: got '") + ranks + "', want a whole number from 1"));
  }
}

TEST(Supervise, LostHostsAreLeftOut) {
  const auto folder =
      std::filesystem::path(testing::TempDir()) / ("supervise_" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  {
    std::ofstream launcher(folder / "launcher");
    // The first start fails as if a daemon were lost, the second succeeds.
    launcher << "#!/bin/sh\necho \"$@\" >>" << (folder / "log").string() << "\n[ $(wc -l <"
             << (folder / "log").string() << ") -gt 1 ] || exit 205\n";
  }
  std::filesystem::permissions(folder / "launcher", std::filesystem::perms::owner_all);
  const Outcome outcome =
      run({.words = supervise({"--hosts", "a:4,b:2", "--shrink-on-loss", "--probe", "test {} = b",
                               "--mpirun", (folder / "launcher").string()},
                              {})});
  std::ifstream log(folder / "log");
  std::string first;
  std::string second;
  std::getline(log, first);
  std::getline(log, second);
  std::filesystem::remove_all(folder);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(first, HasSubstr("-n 6 --host a:4,b:2"));
  EXPECT_THAT(second, HasSubstr("-n 2 --host b:2"));
}

TEST(Supervise, ALauncherThatHangsBesideDeadRanksIsKilled) {
  const auto launcher =
      std::filesystem::path(testing::TempDir()) / ("hangs_" + std::to_string(::getpid()));
  // A child that has ended and is never collected, as Open MPI leaves them.
  std::ofstream(launcher) << "#!/bin/sh\ntrue &\nexec sleep 60\n";
  std::filesystem::permissions(launcher, std::filesystem::perms::owner_all);
  const Outcome outcome =
      run({.words = supervise(
               {"--ranks", "2", "--max-restarts", "0", "--mpirun", launcher.string()}, {}),
           .limit = std::chrono::seconds(20)});
  std::filesystem::remove(launcher);
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_EQ(outcome.status, 75) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("mpirun was killed by signal 9"));
}

TEST(Faults, AStoppedRankIsNamedByTheOthers) {
  const Outcome outcome =
      run({.words = mpirun(3, small_run({"--inject", "stop@rank=2,step=1,phase=dispatch"}))});
  EXPECT_EQ(outcome.status, 75) << outcome.err;
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err,
              HasSubstr("hang: rank 2 was stopped by a signal in dispatch, step 1, layer 0"));
  EXPECT_EQ(outcome.err_lines("waits: 2 s in dispatch"), 2) << outcome.err;
}

TEST(Faults, AHangInTheEndIsNamedByThoseInsideMpi) {
  const Outcome outcome =
      run({.words = mpirun(4, small_run({"--inject", "stop@rank=2,phase=finalize"}))});
  EXPECT_EQ(outcome.status, 75) << outcome.err;
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("hang: rank 2 was stopped by a signal in finalize"));
  EXPECT_EQ(outcome.err_lines("waits: in finalize, for all ranks"), 3) << outcome.err;
}

TEST(Faults, ACorruptFrameIsOneLineAndStatus70) {
  for (const char* transport : {"node", "p2p"}) {
    const Outcome outcome =
        run({.words = mpirun(
                 2, small_run({"--transport", transport, "--inject", "corrupt@rank=1,step=1"}))});
    EXPECT_EQ(outcome.status, 70) << outcome.err;
    EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("rank 1"));
  }
}

TEST(Faults, APlanThatIsMisspeltIsRefusedOnAllRanks) {
  const Outcome outcome = run({.words = mpirun(2, small_run({"--inject", "kill@rnak=1"}))});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("nearest is rank"));
}
}  // namespace
