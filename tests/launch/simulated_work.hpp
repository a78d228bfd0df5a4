// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The same small work on real ranks and on simulated ones.
#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/launch/program.hpp"

namespace switchyard::tests {

/// What a real and a simulated run are both asked for, where `more` does not say otherwise.
inline std::vector<std::string> small_work(const std::vector<std::string>& more = {}) {
  const std::vector<std::array<std::string, 2>> usual{{"--model", "deepseek-v3"},
                                                      {"--set", "hidden_size=96"},
                                                      {"--set", "moe_intermediate_size=80"},
                                                      {"--set", "shared_intermediate_size=40"},
                                                      {"--set", "routed_experts=40"},
                                                      {"--set", "n_group=4"},
                                                      {"--set", "topk_group=2"},
                                                      {"--layers", "2"},
                                                      {"--tokens", "67"},
                                                      {"--steps", "2"},
                                                      {"--json", "-"}};
  std::vector<std::string> words;
  for (const auto& [name, value] : usual) {
    const std::string field = value.substr(0, value.find('=') + 1);
    const bool other = std::ranges::any_of(more, [&](const std::string& word) {
      if (name == "--tokens" && word.starts_with("trace:")) return true;  // which says how many
      return field.empty() ? word == name : word.starts_with(field);
    });
    if (!other) words.insert(words.end(), {name, value});
  }
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

inline std::vector<std::string> simulator(std::vector<std::string> words) {
  words.insert(words.begin(), SWITCHYARD_SIM_PROGRAM);
  return words;
}

inline nlohmann::json result_of(const std::vector<std::string>& words) {
  const Outcome outcome = run({.words = words});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  return nlohmann::json::parse(outcome.out, nullptr, false);
}

inline nlohmann::json simulated(const std::vector<std::string>& more) {
  return result_of(simulator(small_work(more)));
}

inline nlohmann::json really(int ranks, const std::vector<std::string>& more) {
  auto words = small_work(more);
  words.insert(words.begin(), "run");
  return result_of(mpirun(ranks, switchyard(words)));
}
}  // namespace switchyard::tests
