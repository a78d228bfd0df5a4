// SPDX-License-Identifier: Apache-2.0
/// @file
/// The four sentences of mpi_main.cpp, proved by running tests that fail on purpose.
#include <array>
#include <cstdio>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>

namespace {
using testing::HasSubstr;
using testing::Not;

struct Outcome {
  int status = -1;
  std::string text;  ///< stdout and stderr of all ranks
};

/// One test of harness_subject on three ranks.
Outcome run_subject(const std::string& test) {
  const std::string line = std::string("timeout 30 ") + SWITCHYARD_MPIEXEC +
                           " -n 3 " SWITCHYARD_HARNESS_SUBJECT
                           " --gtest_color=no --gtest_filter=Subject." +
                           test + " 2>&1";
  FILE* const pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed: " + line);
  Outcome outcome;
  std::array<char, 4096> bytes{};
  for (std::size_t got = 0; (got = std::fread(bytes.data(), 1, bytes.size(), pipe)) > 0;) {
    outcome.text.append(bytes.data(), got);
  }
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 256;
  return outcome;
}

int occurrences(const std::string& text, const std::string& words) {
  int count = 0;
  for (auto at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) ++count;
  return count;
}

constexpr int kTimedOut = 124;

TEST(Harness, RankZeroReportsAndTheOthersAreSilentWhenAllIsWell) {
  const Outcome outcome = run_subject("Passes");
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  EXPECT_EQ(occurrences(outcome.text, "[  PASSED  ] 1 test"), 1) << outcome.text;
  EXPECT_THAT(outcome.text, Not(HasSubstr("[rank 1/3]")));
}

TEST(Harness, ARankThatFailsSpeaksWithItsNumberAndTheVerdictIsTheMaximum) {
  const Outcome outcome = run_subject("FailsOnRankOne");
  EXPECT_NE(outcome.status, 0);
  EXPECT_NE(outcome.status, kTimedOut);
  EXPECT_THAT(outcome.text, HasSubstr("[rank 1/3] Subject.FailsOnRankOne: "));
  EXPECT_EQ(occurrences(outcome.text, "this is the odd one"), 1) << outcome.text;
  EXPECT_THAT(outcome.text, Not(HasSubstr("[rank 2/3]")));
}

TEST(Harness, AFailedAssertAbortsTheJobSoThatNobodyWaits) {
  const Outcome outcome = run_subject("AssertsOnRankOneWhileTheOthersWait");
  EXPECT_NE(outcome.status, 0);
  EXPECT_NE(outcome.status, kTimedOut) << "the other ranks waited";
  EXPECT_THAT(outcome.text, HasSubstr("[rank 1/3]"));
  EXPECT_THAT(outcome.text, HasSubstr("left early"));
}

TEST(Harness, AnExceptionAbortsTheJobSoThatNobodyWaits) {
  const Outcome outcome = run_subject("ThrowsOnRankOneWhileTheOthersWait");
  EXPECT_NE(outcome.status, 0);
  EXPECT_NE(outcome.status, kTimedOut) << "the other ranks waited";
  EXPECT_THAT(outcome.text, HasSubstr("[rank 1/3]"));
  EXPECT_THAT(outcome.text, HasSubstr("thrown early"));
}
}  // namespace
