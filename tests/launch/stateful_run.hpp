// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A small stateful run, started as a user would.
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <unistd.h>
#include <vector>

#include "tests/launch/program.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace switchyard::tests {

/// Two layers of eight experts with a shared one, six steps.
inline std::vector<std::string> stateful_run(const std::vector<std::string>& more,
                                             const std::string& stateful = "--stateful") {
  std::vector<std::string> words{"run",
                                 "--model",
                                 "deepseek-v3",
                                 "--set",
                                 "hidden_size=96",
                                 "--set",
                                 "moe_intermediate_size=80",
                                 "--set",
                                 "shared_intermediate_size=40",
                                 "--set",
                                 "routed_experts=8",
                                 "--set",
                                 "n_group=4",
                                 "--set",
                                 "topk_group=4",
                                 "--set",
                                 "top_k=3",
                                 "--json",
                                 "-"};
  if (!stateful.empty()) words.push_back(stateful);
  const auto add = [&](const std::string& name, const std::string& value) {
    for (const std::string& word : more) {
      if (word == name) return;
    }
    words.insert(words.end(), {name, value});
  };
  add("--layers", "2");
  add("--steps", "6");
  add("--tokens", "67");
  words.insert(words.end(), more.begin(), more.end());
  return switchyard(words);
}

/// What a run came to.
struct Ended {
  std::string output;
  std::string state;
  bool operator==(const Ended&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, const Ended& ended) {
  return out << "output " << ended.output << ", state " << ended.state;
}

/// @param ranks  0: without mpirun
inline Ended ended(int ranks, const std::vector<std::string>& more = {}) {
  const std::vector<std::string> words = stateful_run(more);
  const Outcome outcome = run({.words = ranks > 0 ? mpirun(ranks, words) : words});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  if (!json.is_object()) return {};
  return {.output = json.value("output_digest", ""), .state = json.value("state_digest", "")};
}
}  // namespace switchyard::tests
