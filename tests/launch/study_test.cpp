// SPDX-License-Identifier: Apache-2.0
// Studies from outside: real and simulated ranks in one table, what goes on after a kill, and what
// is refused.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/launch/program.hpp"

namespace {
using switchyard::tests::Outcome;
using switchyard::tests::run;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

/// A folder of its own, gone with the test.
class StudyFolderOfTest {
 public:
  explicit StudyFolderOfTest(const std::string& name)
      : path_(fs::temp_directory_path() /
              ("switchyard-study-" + name + std::to_string(::getpid()))) {
    fs::remove_all(path_);
  }
  ~StudyFolderOfTest() { fs::remove_all(path_); }
  StudyFolderOfTest(const StudyFolderOfTest&) = delete;
  StudyFolderOfTest& operator=(const StudyFolderOfTest&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ / name; }
  [[nodiscard]] std::string path() const { return path_; }
  [[nodiscard]] nlohmann::json result() const {
    std::ifstream stream(file("study.json"));
    return nlohmann::json::parse(stream, nullptr, false);
  }
  [[nodiscard]] std::string text(const std::string& name) const {
    std::ifstream stream(file(name));
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  [[nodiscard]] std::int64_t lines() const {
    const std::string all = text("points.jsonl");
    return std::count(all.begin(), all.end(), '\n');
  }

 private:
  fs::path path_;
};

std::vector<std::string> study(const StudyFolderOfTest& folder, std::vector<std::string> more) {
  std::vector<std::string> words{SWITCHYARD_PROGRAM,
                                 "study",
                                 "--to",
                                 folder.path(),
                                 "--model",
                                 "mixtral-8x7b",
                                 "--set",
                                 "hidden_size=64",
                                 "--set",
                                 "moe_intermediate_size=64",
                                 "--tokens",
                                 "64",
                                 "--tokens-per-rank",
                                 "32",
                                 "--steps",
                                 "2",
                                 "--oversubscribe"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Outcome start(const StudyFolderOfTest& folder, std::vector<std::string> more) {
  return run({.words = study(folder, std::move(more)), .limit = std::chrono::seconds(120)});
}

std::map<std::string, int> kinds_of(const nlohmann::json& result) {
  std::map<std::string, int> kinds;
  for (const auto& point : result.at("points")) ++kinds[point.at("kind").get<std::string>()];
  return kinds;
}

TEST(Study, RealAndSimulatedRanksStandInOneTable) {
  const StudyFolderOfTest folder("mixed");
  const Outcome outcome = start(
      folder, {"--real", "1,2,4", "--simulated", "1,2,4,8", "--fast", "4,8,16", "--machine",
               "cpu-100g", "--repetitions", "2", "--sweep", "strong", "--transport", "p2p",
               "--sweep", "skew=uniform,zipf:1.2", "--sweep", "placement=linear,round-robin"});
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("real against simulated"));
  EXPECT_THAT(outcome.out, HasSubstr("law of real: t(R) = a + b/R, a = "));
  const nlohmann::json result = folder.result();
  ASSERT_TRUE(result.is_object());
  EXPECT_EQ(result.at("complete"), true);
  EXPECT_EQ(result.at("digests_differ").size(), 0U);
  EXPECT_EQ(kinds_of(result),
            (std::map<std::string, int>{{"fast", 6}, {"real", 6}, {"simulated", 7}}));
  for (const auto& point : result.at("points")) {
    EXPECT_EQ(point.at("status"), "done");
    EXPECT_EQ(point.at("step_ms").at("repetitions").size(), point.at("kind") == "real" ? 2U : 1U);
    EXPECT_GT(point.at("step_ms").at("median"), 0);
    EXPECT_EQ(point.at("rows_by_rank").at(0).size(), point.at("ranks").get<std::size_t>());
    const bool real = point.at("kind") == "real";  // two starts of two steps
    EXPECT_EQ(point.at("step_ms").at("p99_of"), real ? 4 : 1);
  }
  // The same work sends the same bytes, whoever the ranks are.
  ASSERT_EQ(result.at("comparisons").size(), 4U);
  for (const auto& one : result.at("comparisons")) {
    if (one.at("kind") == "simulated") {
      EXPECT_EQ(one.at("wire_bytes_equal"), true);
    }
    const double error = one.at("simulated_ms").get<double>() / one.at("real_ms").get<double>() - 1;
    EXPECT_NEAR(one.at("error"), error, 1e-9);
  }
  EXPECT_EQ(folder.lines(), 1 + 6 * 2 + 7 + 6);
  EXPECT_THAT(folder.text("study.csv"),
              HasSubstr("\nsimulated,cpu-100g,8,64,8,2,uniform,linear,done,1,"));
}

TEST(Study, GoesOnAfterItWasKilledAndDoesNothingTwice) {
  const StudyFolderOfTest folder("killed");
  const std::vector<std::string> work{"--real", "1,2", "--repetitions", "3", "--sweep", "strong"};
  {
    auto words = study(folder, work);
    const std::vector<char*> argv = switchyard::tests::detail::pointers(words);
    auto environment = switchyard::tests::detail::clean_environment();
    const std::vector<char*> variables = switchyard::tests::detail::pointers(environment);
    pid_t child = -1;
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    ASSERT_EQ(posix_spawn(&child, argv[0], &files, nullptr, argv.data(), variables.data()), 0);
    posix_spawn_file_actions_destroy(&files);
    while (folder.lines() < 3) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ::kill(child, SIGKILL);
    int state = 0;
    ::waitpid(child, &state, 0);
    EXPECT_TRUE(WIFSIGNALED(state));
  }
  const std::string before = folder.text("points.jsonl");
  EXPECT_LT(folder.lines(), 7);
  EXPECT_FALSE(fs::exists(folder.file("study.json")));
  // Killed in the middle of a line.
  std::ofstream(folder.file("points.jsonl"), std::ios::app) << "{\"point\":\"real ranks=2 tok";
  const Outcome outcome = start(folder, work);
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_EQ(folder.lines(), 1 + 2 * 3);
  EXPECT_THAT(folder.text("points.jsonl"), testing::StartsWith(before));
  EXPECT_EQ(folder.result().at("complete"), true);
  // More repetitions are more of the same study.
  auto longer = work;
  longer[3] = "4";
  EXPECT_EQ(start(folder, longer).status, 0);
  EXPECT_EQ(folder.lines(), 1 + 2 * 4);
  const Outcome over = start(folder, longer);
  EXPECT_EQ(over.status, 0);
  EXPECT_EQ(folder.lines(), 1 + 2 * 4);
  EXPECT_THAT(over.out, HasSubstr("8 of 8 starts done"));
}

TEST(Study, ASignalLeavesAFolderThatGoesOn) {
  const StudyFolderOfTest folder("asked");
  auto words = study(folder, {"--real", "1", "--repetitions", "3", "--sweep", "strong"});
  // The second line is the first start: the study hears of the signal while the second one runs.
  const std::string script = "\"$@\" & p=$!; until [ \"$(wc -l < '" + folder.file("points.jsonl") +
                             "')\" -ge 2 ]; do sleep 0.01; done; kill -INT $p; wait $p";
  words.insert(words.begin(), {"bash", "-c", script, "bash"});
  const Outcome outcome = run({.words = words, .limit = std::chrono::seconds(60)});
  EXPECT_EQ(outcome.status, 75) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("asked to leave by a signal, "));
  EXPECT_LT(folder.lines(), 4);
  EXPECT_EQ(folder.result().at("complete"), false);
  EXPECT_EQ(start(folder, {"--real", "1", "--repetitions", "3", "--sweep", "strong"}).status, 0);
  EXPECT_EQ(folder.lines(), 4);
}

TEST(Study, AStartThatFailsIsKeptWithItsWordsAndTheOthersGoOn) {
  const StudyFolderOfTest folder("failing");
  const std::vector<std::string> work{"--real",  "1,3",    "--repetitions", "2",
                                      "--sweep", "strong", "--transport",   "two-level"};
  // mpirun that cannot start three ranks.
  const std::string launcher = folder.path() + ".mpirun";
  std::ofstream(launcher)
      << "#!/bin/sh\ncase \" $* \" in *\" -n 3 \"*) echo 'switchyard: error: no "
         "third rank today' >&2; exit 74;; esac\nexec mpirun \"$@\"\n";
  fs::permissions(launcher, fs::perms::owner_all);
  auto words = work;
  words.insert(words.end(), {"--mpirun", launcher});
  const Outcome outcome = start(folder, words);
  EXPECT_EQ(outcome.status, 1) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("2 of 2 failed: status 74, no third rank today"));
  EXPECT_THAT(outcome.err, HasSubstr("2 of 4 starts failed"));
  const nlohmann::json result = folder.result();
  EXPECT_EQ(result.at("points").at(0).at("status"), "done");
  EXPECT_EQ(result.at("points").at(1).at("status"), "failed");
  EXPECT_EQ(result.at("points").at(1).at("failures").at(0).at("message"), "no third rank today");
  EXPECT_EQ(start(folder, work).status, 1);  // they are not tried again unasked
  EXPECT_EQ(folder.lines(), 5);
  words = work;
  words.emplace_back("--retry-failed");
  EXPECT_EQ(start(folder, words).status, 0);
  EXPECT_EQ(folder.result().at("points").at(1).at("status"), "done");
  fs::remove(launcher);
}

TEST(Study, OneFolderHasOneStudyAndOneProcessAtATime) {
  const StudyFolderOfTest folder("one");
  const std::vector<std::string> work{"--real", "1", "--repetitions", "1", "--sweep", "strong"};
  ASSERT_EQ(start(folder, work).status, 0);
  auto other = work;
  other.insert(other.end(), {"--seed", "2"});
  const Outcome refused = start(folder, other);
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("has another study: there seed: 1, here seed: 2, want"));
  auto locked = study(folder, work);
  locked.insert(locked.begin(), {"flock", folder.file("lock")});
  const Outcome busy = run({.words = locked});
  EXPECT_EQ(busy.status, 75);
  EXPECT_THAT(busy.err, HasSubstr("is in use by process "));
  // What is in its own file is the same study.
  const Outcome again = run({.words = {SWITCHYARD_PROGRAM, "study", folder.file("study.textproto"),
                                       "--to", folder.path()}});
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(folder.lines(), 2);
  std::ofstream(folder.file("points.jsonl"), std::ios::app) << "rubbish\n";
  const Outcome damaged = start(folder, work);
  EXPECT_EQ(damaged.status, 2);
  EXPECT_THAT(damaged.err, HasSubstr("points.jsonl:3: got no line of a study"));
}

TEST(Study, RefusesWhatItCannotDoInOneLine) {
  const StudyFolderOfTest folder("refused");
  const std::string no_lines = folder.path() + ".textproto";
  std::ofstream(no_lines) << "version: 1\nranks: 4\n";
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{}, "sweep strong: got no ranks"},
      {{"--real", "1,x"}, "--real: got '1,x', want whole numbers"},
      {{"--real", "1", "--sweep", "skwe"}, "--sweep: got 'skwe', want strong, weak"},
      {{"--real", "1", "--sweep", "top-k=1,9"}, "top_k"},
      {{"--real", "1", "--weights", "float31"}, "--weights: got 'float31'"},
      {{"--real", "1", "--transport", "pigeon"}, "--transport: got 'pigeon'"},
      {{"--real", "1", "--mpirun", "/nowhere/mpirun"}, "--mpirun: got /nowhere/mpirun"},
      {{"--simulated", "4"}, "--machine: got none for simulated ranks"},
      {{"--simulated", "4", "--machine", "nix"}, "--machine: got 'nix'"},
      {{"--real", "1", "--confidence", "2"}, "--confidence: got '2'"},
      {{"/nowhere/study.textproto"}, "/nowhere/study.textproto"},
      {{no_lines}, ":2:"},
  };
  for (const auto& [words, expected] : cases) {
    const Outcome outcome = start(folder, words);
    EXPECT_EQ(outcome.status, expected.starts_with("/nowhere") ? 74 : 2) << expected << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(expected));
    EXPECT_EQ(outcome.err_lines("switchyard: error: "), 1) << outcome.err;
  }
  EXPECT_FALSE(fs::exists(folder.path()));
  auto words = study(folder, {"--real", "4096", "--mpirun", "/bin/true"});
  std::erase(words, "--oversubscribe");
  words.insert(words.begin(), {"env", "OMPI_MCA_rmaps_base_oversubscribe=0"});
  EXPECT_THAT(run({.words = words}).err, HasSubstr("--real: got 4096, want at most "));
  const Outcome nested =
      run({.words = study(folder, {"--real", "1"}), .environment = {"OMPI_COMM_WORLD_RANK=0"}});
  EXPECT_THAT(nested.err, HasSubstr("study: got it under mpirun, want it alone"));
  fs::remove(no_lines);
}
}  // namespace
