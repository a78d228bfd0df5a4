// SPDX-License-Identifier: Apache-2.0
#include "runtime/verify/golden_file.hpp"

#include <cmath>
#include <cstring>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <set>

#include "experts/reference.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace switchyard::runtime {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using tests::TempFolder;

std::filesystem::path golden() {
  return SWITCHYARD_TEST_DATA "/golden";
}
std::filesystem::path golden_case(const std::string& name) {
  return golden() / "moe" / (name + ".safetensors");
}

/// A golden file with another header, and other data if asked for.
std::filesystem::path edited(const TempFolder& folder, const std::string& name,
                             const std::function<void(json& header, std::string& data)>& edit) {
  const std::string bytes = tests::read_file(golden_case(name));
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  json header = json::parse(bytes.substr(8, length));
  std::string data = bytes.substr(8 + length);
  edit(header, data);
  return tests::write_file(folder / "edited.safetensors", tests::file_of(header.dump(), data));
}

std::string refusal(const std::filesystem::path& path) {
  try {
    static_cast<void>(read_golden(path));
    return {};
  } catch (const std::invalid_argument& problem) {
    EXPECT_THAT(problem.what(), HasSubstr(path.filename().string()));
    return problem.what();
  }
}

std::string refusal_of_metadata(const std::string& key, const json& value) {
  const TempFolder folder;
  return refusal(edited(folder, "mixtral", [&](json& header, std::string&) {
    if (value.is_null()) {
      header["__metadata__"].erase(key);
    } else {
      header["__metadata__"][key] = value;
    }
  }));
}

/// The routing that the file has, slot by slot.
experts::Routing routing_of(const GoldenBlock& block) {
  experts::Routing routing;
  for (std::int64_t t = 0; t < block.tokens; ++t) {
    for (std::int64_t s = 0; s < block.top_k; ++s) {
      const auto slot = static_cast<std::size_t>(t * block.top_k + s);
      routing.experts.push_back(static_cast<std::int32_t>(block.topk_idx[slot]));
      routing.weights.push_back(block.topk_weight(t, s));
    }
    routing.offsets.push_back((t + 1) * block.top_k);
  }
  return routing;
}

double worst_difference(const experts::reference::Bounded& got, const experts::Matrix& want) {
  double worst = 0;
  for (std::int64_t r = 0; r < want.rows(); ++r) {
    for (std::int64_t c = 0; c < want.cols(); ++c) {
      const double value = got.values[static_cast<std::size_t>(r * got.cols + c)];
      worst = std::fmax(worst, std::abs(value - static_cast<double>(want(r, c))));
    }
  }
  return worst;
}

double rms(const experts::Matrix& matrix) {
  double sum = 0;
  for (std::int64_t r = 0; r < matrix.rows(); ++r) {
    for (const float x : matrix.row(r)) sum += static_cast<double>(x) * static_cast<double>(x);
  }
  return std::sqrt(sum / static_cast<double>(matrix.rows() * matrix.cols()));
}

TEST(GoldenFile, EveryTensorOfEveryFileIsUsedOrKnown) {
  const auto files = golden_files(golden() / "moe");
  EXPECT_EQ(files.size(), 28U);
  std::set<std::string> families;
  for (const auto& path : files) {
    SCOPED_TRACE(path.filename().string());
    const GoldenBlock block = read_golden(path);
    families.insert(block.family);
    EXPECT_EQ(block.name, path.stem().string());
    EXPECT_EQ(block.path, path.string());
    EXPECT_THAT(block.unknown, testing::IsEmpty());
    for (const std::string& name : block.not_forward) EXPECT_THAT(name, HasSubstr("golden."));
    EXPECT_EQ(block.duplicate_rows.size(), 2U);
    EXPECT_EQ(block.duplicate_rows.front(), (std::vector<int>{3, 7, 8}));
    EXPECT_EQ(block.topk_idx.size(), static_cast<std::size_t>(block.tokens * block.top_k));
    EXPECT_EQ(block.expert_counts.size(), static_cast<std::size_t>(block.experts));
    EXPECT_FALSE(block.spec.dense.has_value());
    EXPECT_EQ(check_unpacked(block), "");
  }
  EXPECT_EQ(families.size(), 23U);
}

/// Every layout is right way round only if somebody else's results come out of its weights.
TEST(GoldenFile, WeightsAsReadGiveTheLogitsAndOutputsOfTheOfficialCode) {
  for (const auto& path : golden_files(golden() / "moe")) {
    SCOPED_TRACE(path.filename().string());
    const GoldenBlock block = read_golden(path);
    const auto tokens = block.hidden_in.view();
    const auto logits =
        experts::reference::logits(block.spec.router, block.weights->router(), tokens);
    EXPECT_LE(worst_difference(logits, block.router_logits), 1e-5);
    const auto output =
        experts::reference::block(block.spec, *block.weights, tokens, routing_of(block));
    EXPECT_LE(worst_difference(output, block.output), 2e-5 * rms(block.output));
  }
}

TEST(GoldenFile, PackedExpertsAreComparedBitForBit) {
  const TempFolder folder;
  const std::string blocks = "model.layers.0.mlp.experts.down_proj_blocks";
  const auto path = edited(folder, "gpt_oss_mxfp4", [&](json& header, std::string& data) {
    const auto begin = header[blocks]["data_offsets"][0].get<std::size_t>();
    data[begin + 64 * 32 + 1] ^= 0x10;  // second byte of expert 1: input 3 of output 0
  });
  EXPECT_THAT(check_unpacked(read_golden(path)),
              testing::StartsWith("golden.unpacked.down_proj: expert 1, input 3, output 0: bits "));
  EXPECT_EQ(check_unpacked(read_golden(golden_case("gpt_oss_mxfp4"))), "");
}

TEST(GoldenFile, OtherFormatsAreRefusedByName) {
  EXPECT_THAT(refusal_of_metadata("format", "moe-golden/2"),
              HasSubstr("metadata format, got 'moe-golden/2', want 'moe-golden/1'"));
  EXPECT_THAT(refusal(golden() / "models/mixtral-tiny/golden.safetensors"),
              HasSubstr("got 'moe-golden-model/1'"));
  EXPECT_THAT(refusal_of_metadata("format", nullptr), HasSubstr("metadata format is missing"));
}

TEST(GoldenFile, MetadataThatAreMissingOrAtOddsAreRefused) {
  for (const char* key :
       {"family", "case", "config", "tensor_prefix", "num_tokens", "num_experts", "top_k"}) {
    EXPECT_THAT(refusal_of_metadata(key, nullptr),
                HasSubstr("metadata " + std::string(key) + " is missing"));
  }
  EXPECT_THAT(refusal_of_metadata("num_tokens", "23"),
              HasSubstr("golden.hidden_in: shape, got [24, 32], want [23, 32]"));
  EXPECT_THAT(refusal_of_metadata("num_tokens", "-1"), HasSubstr("want a whole number from 0"));
  EXPECT_THAT(refusal_of_metadata("num_tokens", "24 "), HasSubstr("got '24 '"));
  EXPECT_THAT(refusal_of_metadata("num_experts", "9"),
              HasSubstr("metadata num_experts, got 9, want 8 by the config"));
  EXPECT_THAT(refusal_of_metadata("top_k", "3"), HasSubstr("metadata top_k, got 3, want 2"));
  EXPECT_THAT(refusal_of_metadata("duplicate_rows", "3,24"),
              HasSubstr("duplicate_rows, got row 24, want 0 to 23"));
  EXPECT_THAT(refusal_of_metadata("duplicate_rows", "3,,4"), HasSubstr("duplicate_rows, got ''"));
  EXPECT_THAT(refusal_of_metadata("family", "gpt2"), HasSubstr("gpt2"));
  EXPECT_THAT(refusal_of_metadata("config", "{"), HasSubstr("metadata config: not JSON"));
  EXPECT_THAT(refusal_of_metadata("tensor_prefix", "model.layers.1.mlp."),
              HasSubstr("tensor model.layers.1.mlp.gate.weight: missing in "));
}

TEST(GoldenFile, TensorsThatAreMissingOrOfAnotherTypeAreRefused) {
  const TempFolder folder;
  const auto rename = [&](const std::string& from, const std::string& to) {
    return edited(folder, "mixtral", [&](json& header, std::string&) {
      header[to] = header[from];
      header.erase(from);
    });
  };
  EXPECT_THAT(refusal(rename("golden.output", "golden.outputs")),
              HasSubstr("tensor golden.output: missing in "));
  EXPECT_THAT(refusal(edited(folder, "mixtral",
                             [](json& header, std::string&) {
                               header["golden.expert_counts"]["dtype"] = "U64";
                             })),
              HasSubstr("tensor golden.expert_counts: dtype, got U64, want I64"));
  EXPECT_THAT(refusal(edited(folder, "mixtral",
                             [](json& header, std::string& data) {
                               const json& at = header["golden.topk_idx"]["data_offsets"];
                               data[at[0].get<std::size_t>() + 8 * 5] = 8;
                             })),
              HasSubstr("golden.topk_idx of token 2, got expert 8, want 0 to 7"));
}

TEST(GoldenFile, ATensorThatNobodyUsesIsListed) {
  const TempFolder folder;
  const std::string expert = "model.layers.0.block_sparse_moe.experts.8.w1.weight";
  for (const std::string& name : {std::string("golden.outputs"), expert, "golden.grad." + expert,
                                  std::string("golden.unpacked.w1"), std::string("golden.Rx")}) {
    const auto path = edited(folder, "mixtral", [&](json& header, std::string& data) {
      header[name] = {
          {"dtype", "U8"}, {"shape", {1}}, {"data_offsets", {data.size(), data.size() + 1}}};
      data += 'x';
    });
    EXPECT_THAT(read_golden(path).unknown, testing::ElementsAre(name));
  }
}

TEST(GoldenFile, FoldersAreSearchedForFilesOfTheFormatAndBrokenOnesKept) {
  EXPECT_EQ(golden_files(golden()).size(), 28U) << "whole models have another format";
  EXPECT_EQ(golden_files(golden_case("olmoe")).size(), 1U);
  EXPECT_TRUE(golden_files(golden() / "models").empty());
  EXPECT_THROW(static_cast<void>(golden_files(golden() / "none")), std::system_error);
  const TempFolder folder;
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::copy_file(golden_case("olmoe"), folder / "sub/b.safetensors");
  tests::write_file(folder / "a.safetensors", "broken");
  tests::write_file(folder / "c.txt", "not one");
  tests::write_file(folder / "d.safetensors", tests::file_of("{}", ""));
  EXPECT_THAT(golden_files(folder.path()),
              testing::ElementsAre(folder / "a.safetensors", folder / "sub/b.safetensors"));
}
}  // namespace
}  // namespace switchyard::runtime
