// SPDX-License-Identifier: Apache-2.0
#include "launch/supervise/speech.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <utility>

namespace switchyard::launch {
namespace {
/// What mpirun says between two rules when a job ends badly; all of it is in the report anyway.
constexpr std::array<std::string_view, 6> kKnown{
    "mpirun noticed that",           "mpirun detected that one or more processes",
    "mpirun has exited due to",      "Primary job  terminated normally, but",
    "MPI_ABORT was invoked on rank", "orterun noticed that"};
constexpr std::array<std::string_view, 6> kNoise{"more process has sent help message",
                                                 "more processes have sent help message",
                                                 "Set MCA parameter \"orte_base_help_aggregate\"",
                                                 "Forwarding signal",
                                                 "ORTE_ERROR_LOG",
                                                 "PMIX ERROR"};
constexpr std::size_t kLongestBlock = 60;

bool is_rule(const std::string& line) {
  return line.size() >= 60 && line.find_first_not_of('-') == std::string::npos;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

/// The number behind these words; -1: they are not there.
int number_after(const std::string& text, const char* words) {
  const std::size_t at = text.find(words);
  int number = -1;
  if (at == std::string::npos) return -1;
  return std::sscanf(text.c_str() + at + std::string_view(words).size(), "%d", &number) == 1
             ? number
             : -1;
}
}  // namespace

void Speech::understand(const std::string& text) {
  Notice notice;
  if (text.find("noticed that process rank") != std::string::npos) {
    notice = {.rank = number_after(text, "process rank "),
              .signal = number_after(text, "exited on signal ")};
  } else if (text.find("exited with non-zero status") != std::string::npos) {
    // "Process name: [[12345,1],2]"
    const std::size_t comma = text.find("],", text.find("Process name:"));
    if (comma == std::string::npos) return;
    notice = {.rank = number_after(text.substr(comma), "],"),
              .status = number_after(text, "Exit code:")};
  } else if (text.find("has exited due to process rank") != std::string::npos) {
    notice = {.rank = number_after(text, "process rank "), .improper = true};
  } else {
    return;
  }
  if (notice.rank >= 0 && !notice_) notice_ = notice;
}

std::vector<std::string> Speech::hear(const std::string& line) {
  if (line.find("switchyard: error: ") != std::string::npos) {
    errors_.push_back(line);
    return {};
  }
  if (is_rule(line)) {
    if (!in_block_) {
      in_block_ = true;
      block_ = {line};
      return {};
    }
    block_.push_back(line);
    return end();
  }
  if (in_block_) {
    block_.push_back(line);
    // A line of dashes of somebody else: no notice is this long.
    return block_.size() > kLongestBlock ? end() : std::vector<std::string>{};
  }
  const auto said = [&line](std::string_view words) {
    return line.find(words) != std::string::npos;
  };
  if (std::ranges::any_of(kNoise, said)) return {};
  return {line};
}

std::vector<std::string> Speech::end() {
  if (!in_block_) return {};
  in_block_ = false;
  std::vector<std::string> block = std::exchange(block_, {});
  const std::string text = joined(block);
  const auto said = [&text](std::string_view words) {
    return text.find(words) != std::string::npos;
  };
  if (!std::ranges::any_of(kKnown, said)) return block;
  understand(text);
  return {};
}
}  // namespace switchyard::launch
