// SPDX-License-Identifier: Apache-2.0
// Feeds every kept input to its target once: what fuzzing found stays found, without clang.
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "tests/fuzz/targets.hpp"

namespace switchyard::fuzz {
namespace {

using Target = void (*)(Bytes);

const std::map<std::string, Target>& targets() {
  static const std::map<std::string, Target> all{
      {"config_json", config_json},
      {"config_text", config_text},
      {"frame", frame},
      {"manifest", manifest},
      {"model_text", model_text},
      {"offer", offer},
      {"packed_file", packed_file},
      {"placement_text", placement_text},
      {"routing_trace", routing_trace},
      {"safetensors", safetensors},
      {"safetensors_index", safetensors_index},
      {"saved_manifest", saved_manifest},
      {"saved_shard", saved_shard},
      {"sentencepiece", sentencepiece},
      {"tokenizer_json", tokenizer_json},
      {"trace_text", trace_text},
  };
  return all;
}

TEST(Replay, EveryFolderOfInputsHasATarget) {
  for (const auto& folder :
       std::filesystem::directory_iterator(SWITCHYARD_TEST_DATA "/fuzz/corpus")) {
    EXPECT_TRUE(targets().contains(folder.path().filename().string())) << folder.path();
  }
}

class Replay : public testing::TestWithParam<std::string> {};

TEST_P(Replay, KeptInputsAreReadOrRefused) {
  int inputs = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(SWITCHYARD_TEST_DATA "/fuzz/corpus/" + GetParam())) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    SCOPED_TRACE(entry.path().filename().string());
    EXPECT_NO_THROW(targets().at(GetParam())(std::as_bytes(std::span(bytes))));
    ++inputs;
  }
  EXPECT_GT(inputs, 0);
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& [name, target] : targets()) all.push_back(name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, Replay, testing::ValuesIn(names()),
                         [](const auto& which) { return which.param; });

// 200,000 open braces took the stack of a parser that counts no depth.
TEST(Replay, NestingWithoutEndIsRefusedByEveryTextFormat) {
  for (const char* piece : {"{", "[", "set {", "rank {", "{\"a\":", "<"}) {
    std::string text = "\x01\x01";
    for (int i = 0; i < 200000; ++i) text += piece;
    for (const auto& [name, target] : targets()) {
      SCOPED_TRACE(name + " of " + piece);
      EXPECT_NO_THROW(target(std::as_bytes(std::span(text))));
      EXPECT_NO_THROW(target(std::as_bytes(std::span(text).subspan(2))));
    }
  }
}
}  // namespace
}  // namespace switchyard::fuzz
