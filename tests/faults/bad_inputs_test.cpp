// SPDX-License-Identifier: Apache-2.0
// Each of the 75 bad inputs at 1, 2 and 4 ranks: one message from one rank, to the letter, the
// right status, no hang, and nothing of MPI's own. Started as `supervise` starts it: without
// mpirun's report and its second of patience.
#include "tests/faults/bad_inputs.hpp"

#include <chrono>
#include <cstdlib>
#include <gmock/gmock.h>
#include <linux/capability.h>
#include <set>
#include <string>
#include <string_view>
#include <sys/prctl.h>
#include <vector>

namespace switchyard::tests {
namespace {
using testing::HasSubstr;
using testing::Not;

struct Started {
  BadCase input;
  int ranks;
};

void PrintTo(const Started& started, std::ostream* out) {
  *out << started.input.name << " at " << started.ranks;
}

std::vector<Started> all_starts() {
  std::vector<Started> all;
  for (const auto& group : {bad_settings(), bad_work(), bad_saved(), bad_machine()}) {
    for (const BadCase& input : group) {
      for (const int ranks : input.ranks) all.push_back({input, ranks});
    }
  }
  return all;
}

/// Root reads what nobody may; what this process starts from here on does not.
void be_as_others() {
  static const bool done = [] {
    return ::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) +
               ::prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0) ==
           0;
  }();
  static_cast<void>(done);  // no root to begin with
}

std::vector<std::string> command_of(const BadStart& start, int ranks) {
  auto words = switchyard(start.words);
  words.insert(words.begin(), start.before.begin(), start.before.end());
  if (!start.by_mpirun) return words;
  std::vector<std::string> line{"mpirun",         "-q", "--mca", "odls_base_sigkill_timeout", "0",
                                "--oversubscribe"};
  const auto add = [&](int count, std::vector<std::string> program) {
    for (const std::string& word : {std::string("-n"), std::to_string(count)}) line.push_back(word);
    line.insert(line.end(), program.begin(), program.end());
  };
  if (start.rank1.empty()) {
    add(ranks, words);
    return line;
  }
  auto other = switchyard(start.rank1);
  if (!start.rank1_program.empty()) other[0] = start.rank1_program;
  add(1, words);
  line.emplace_back(":");
  add(1, other);
  if (ranks == 2) return line;
  line.emplace_back(":");
  add(ranks - 2, words);
  return line;
}

/// What stands behind "error: " in the line that has it, as BadStart says it; empty: there is none.
std::string message_of(const std::string& err, int ranks) {
  constexpr std::string_view kError = "switchyard: error: ";
  const auto at = err.find(kError);
  if (at == std::string::npos) return "";
  const auto begin = at + kError.size();
  std::string words = err.substr(begin, err.find('\n', begin) - begin);
  const std::string all =
      ranks == 2 ? " (and 1 other rank)" : " (and " + std::to_string(ranks - 1) + " other ranks)";
  constexpr std::string_view kFirst = "rank 0: ";
  if (words.starts_with(kFirst)) {
    words.erase(0, kFirst.size());
    if (words.ends_with(all)) words.resize(words.size() - all.size());
  }
  return words;
}

/// A line of words, where # is any number.
testing::Matcher<const std::string&> line_of(const std::string& says) {
  std::string pattern;
  for (const char c : says) {
    if (c == '#') {
      pattern += "[0-9a-f]+";
    } else {
      if (std::string_view("\\.[]{}()*+?^$|").find(c) != std::string_view::npos) pattern += '\\';
      pattern += c;
    }
  }
  return says.find('#') == std::string::npos ? testing::Matcher<const std::string&>(says)
                                             : testing::MatchesRegex(pattern);
}

class BadInputs : public testing::TestWithParam<Started> {};

TEST_P(BadInputs, EndInOneMessageOrWork) {
  be_as_others();
  const auto& [input, ranks] = GetParam();
  if (input.root && ::geteuid() != 0) GTEST_SKIP() << "needs root";
  const BadStart start = input.start(ranks);
  const auto begin = std::chrono::steady_clock::now();
  const Outcome outcome =
      run({.words = command_of(start, ranks), .environment = start.environment});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_EQ(outcome.status, input.status) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.err_lines("error: "), input.status == 0 ? 0 : 1) << outcome.err;
  EXPECT_THAT(message_of(outcome.err, ranks), line_of(start.says)) << outcome.err;
  for (const std::string& note : start.notes) {
    EXPECT_THAT(outcome.err, HasSubstr(": " + note + "\n"));
  }
  EXPECT_THAT(outcome.err, Not(HasSubstr("terminate called")));
  for (const char* banner :
       {"libprotobuf", "MPI_ABORT", "mpirun detected", "PMIX ERROR", "----------"}) {
    EXPECT_THAT(outcome.err, Not(HasSubstr(banner)));
  }
  if (input.holds) {
    const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
    EXPECT_TRUE(!json.is_discarded() && input.holds(json, ranks)) << outcome.out;
  }
  // Only where somebody counts: on a busy machine seconds prove nothing.
  if (const char* const limit = std::getenv("SWITCHYARD_BAD_INPUT_SECONDS"); limit != nullptr) {
    EXPECT_LE(took.count(), std::atof(limit));
  }
}

std::string name_of(const testing::TestParamInfo<Started>& which) {
  const std::string number = std::to_string(which.param.input.number);
  return "N" + std::string(2 - number.size(), '0') + number + "_" + which.param.input.name + "_np" +
         std::to_string(which.param.ranks);
}
INSTANTIATE_TEST_SUITE_P(All, BadInputs, testing::ValuesIn(all_starts()), name_of);

TEST(BadInputList, EveryNumberHasItsTestOrSaysWhereItIs) {
  std::set<int> numbers;
  for (const Started& started : all_starts()) numbers.insert(started.input.number);
  for (const Elsewhere& elsewhere : proved_elsewhere()) {
    EXPECT_TRUE(numbers.insert(elsewhere.number).second) << elsewhere.number << " is here too";
    EXPECT_THAT(elsewhere.where, Not(testing::IsEmpty()));
  }
  EXPECT_EQ(numbers.size(), 75U);
  EXPECT_EQ(*numbers.begin(), 1);
  EXPECT_EQ(*numbers.rbegin(), 75);
}
}  // namespace
}  // namespace switchyard::tests
