// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Commands that a user got wrong, the files they name, and how each has to end: one message from
/// one rank, the right status on every rank, and no hang.
#include <filesystem>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <iterator>
#include <ostream>
#include <string>
#include <vector>

#include "tests/launch/program.hpp"

namespace switchyard::tests {

/// A file of the repository's tests.
inline std::string data(const std::string& name) {
  return std::string(SWITCHYARD_TEST_DATA) + "/" + name;
}

/// A path for a file of this process.
inline std::string scratch(const std::string& name) {
  const auto folder =
      std::filesystem::path(testing::TempDir()) / ("bad_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  return (folder / name).string();
}

inline std::string file_with(const std::string& name, const std::string& bytes) {
  std::ofstream(scratch(name), std::ios::binary) << bytes;
  return scratch(name);
}

inline std::string bytes_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// A small run with these flags beside.
inline std::vector<std::string> tiny(std::vector<std::string> more) {
  std::vector<std::string> words{
      "run",      "--model", "olmoe", "--set", "hidden_size=8", "--set", "moe_intermediate_size=8",
      "--tokens", "16"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// A command, made when it is run, and how it ends.
struct BadInput {
  std::string name;
  std::function<std::vector<std::string>()> args;
  int status;
  std::string message;  ///< or a part of it
};

inline void PrintTo(const BadInput& input, std::ostream* out) {
  *out << input.name;
}

/// Runs it on two ranks and looks at how it ends.
inline void expect_one_message(const BadInput& input) {
  const Outcome outcome = run({.words = mpirun(2, switchyard(input.args()))});
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_EQ(outcome.status, input.status) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, testing::HasSubstr(input.message));
  EXPECT_EQ(outcome.err_lines("switchyard: error: "), 1) << outcome.err;
  EXPECT_THAT(outcome.err, testing::Not(testing::HasSubstr("terminate called")));
}
}  // namespace switchyard::tests
