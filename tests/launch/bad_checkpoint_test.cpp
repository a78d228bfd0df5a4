// SPDX-License-Identifier: Apache-2.0
// Checkpoints and golden files that are missing, cut short, of something else or lie about
// themselves: one message from one rank, the right status on every rank, and no hang.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <string>
#include <vector>

#include "tests/launch/bad_input.hpp"

namespace {
using switchyard::tests::BadInput;
using switchyard::tests::bytes_of;
using switchyard::tests::data;
using switchyard::tests::expect_one_message;
using switchyard::tests::file_with;
using switchyard::tests::scratch;

/// A golden file cut to `keep` bytes, or with a header that says it is `length` bytes long.
std::string truncated(std::size_t keep) {
  return file_with("truncated.safetensors",
                   bytes_of(data("golden/moe/mixtral.safetensors")).substr(0, keep));
}
std::string with_header_length(std::uint64_t length) {
  std::string bytes = bytes_of(data("golden/moe/mixtral.safetensors"));
  for (int i = 0; i < 8; ++i)
    bytes[static_cast<std::size_t>(i)] = static_cast<char>(length >> (8 * i));
  return file_with("lying.safetensors", bytes);
}

/// A copy of a tiny checkpoint, changed by `change`.
std::string checkpoint(const std::string& name,
                       const std::function<void(const std::filesystem::path&)>& change) {
  const std::filesystem::path folder = scratch(name);
  std::filesystem::remove_all(folder);
  std::filesystem::copy(data("golden/models/mixtral-tiny"), folder,
                        std::filesystem::copy_options::recursive);
  change(folder);
  return folder.string();
}

const std::vector<BadInput>& bad_checkpoints() {
  static const std::vector<BadInput> inputs{
      {"MissingCheckpoint",
       [] {
         return std::vector<std::string>{"run", "--checkpoint", "/nowhere"};
       },
       74, "/nowhere"},
      {"CheckpointWithoutConfig",
       [] {
         return std::vector<std::string>{
             "run", "--checkpoint",
             checkpoint("no_config", [](auto& d) { std::filesystem::remove(d / "config.json"); })};
       },
       74, "config.json"},
      {"CheckpointWithoutAShard",
       [] {
         return std::vector<std::string>{
             "run", "--checkpoint", checkpoint("no_shard", [](auto& d) {
               std::filesystem::remove(d / "model-00002-of-00002.safetensors");
             })};
       },
       74, "model-00002-of-00002.safetensors"},
      {"CheckpointOfUnknownFamily",
       [] {
         return std::vector<std::string>{"run", "--checkpoint", checkpoint("family", [](auto& d) {
                                           std::ofstream(d / "config.json")
                                               << R"({"model_type": "gpt9"})";
                                         })};
       },
       2, "gpt9"},
      {"CheckpointWithTruncatedShard",
       [] {
         return std::vector<std::string>{"run", "--checkpoint", checkpoint("short", [](auto& d) {
                                           std::filesystem::resize_file(
                                               d / "model-00001-of-00002.safetensors", 5000);
                                         })};
       },
       2, "model-00001-of-00002.safetensors"},
      {"CheckpointOfOtherExperts",
       [] {
         return std::vector<std::string>{"run", "--checkpoint", checkpoint("experts", [](auto& d) {
                                           std::string text = bytes_of(d / "config.json");
                                           const std::string key = "\"num_local_experts\": ";
                                           text.insert(text.find(key) + key.size(), "1");
                                           std::ofstream(d / "config.json") << text;
                                         })};
       },
       2, "gate.weight"},
      {"GoldenFileMissing",
       [] {
         return std::vector<std::string>{"verify", "golden", "/nowhere/x.safetensors"};
       },
       74, "/nowhere/x.safetensors"},
      {"GoldenFileTruncated",
       [] {
         return std::vector<std::string>{"verify", "golden", truncated(9000)};
       },
       2, "truncated.safetensors"},
      {"GoldenFileEmpty",
       [] {
         return std::vector<std::string>{"verify", "golden", truncated(0)};
       },
       2, "truncated.safetensors"},
      {"HeaderThatIsHuge",
       [] {
         return std::vector<std::string>{"verify", "golden", with_header_length(1ULL << 62U)};
       },
       2, "lying.safetensors"},
      {"HeaderThatIsEmpty",
       [] {
         return std::vector<std::string>{"verify", "golden", with_header_length(0)};
       },
       2, "lying.safetensors"},
  };
  return inputs;
}

class BadCheckpoints : public testing::TestWithParam<BadInput> {};

TEST_P(BadCheckpoints, EndsOnTwoRanksWithOneMessageAndItsStatus) {
  expect_one_message(GetParam());
}
INSTANTIATE_TEST_SUITE_P(All, BadCheckpoints, testing::ValuesIn(bad_checkpoints()),
                         [](const auto& input) { return input.param.name; });
}  // namespace
