// SPDX-License-Identifier: Apache-2.0
// Codes with scales beside them, as released: what is read, and what is refused by name.
#include "runtime/model/stored_matrix.hpp"

#include <cmath>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <nlohmann/json.hpp>

#include "experts/kernels/isa.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/layout_source.hpp"
#include "runtime/transformer/checkpoint_tensors.hpp"
#include "runtime/transformer/linear.hpp"
#include "tests/runtime/made_up_weights.hpp"

namespace switchyard::runtime {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using tests::SafetensorsWriter;
using tests::TempFolder;

constexpr std::int64_t kWidth = 200;   // no multiple of 128
constexpr std::int64_t kHidden = 160;  // a multiple of 32
constexpr std::int64_t kExperts = 3;

std::uint8_t code(std::int64_t expert, std::int64_t o, std::int64_t i) {
  return static_cast<std::uint8_t>((expert * 7 + o * 3 + i) % 127 + (i % 2 == 0 ? 0 : 128));
}
float scale(std::int64_t block_o, std::int64_t block_i) {
  return std::ldexp(1.0F + static_cast<float>(block_i), static_cast<int>(block_o) - 8);
}

/// Changes that make a file wrong.
struct Changes {
  std::string dtype = "F8_E4M3";
  std::int64_t scale_columns = 2;
  float first_scale = scale(0, 0);
  std::uint8_t first_code = 1;
  bool scales = true;
  bool stranger = false;
};

void add_fp8(SafetensorsWriter& file, const std::string& name, std::int64_t expert,
             std::int64_t out, std::int64_t in, const Changes& changes = {}) {
  std::vector<std::uint8_t> codes;
  for (std::int64_t o = 0; o < out; ++o) {
    for (std::int64_t i = 0; i < in; ++i) codes.push_back(code(expert, o, i));
  }
  codes[0] = changes.first_code;
  std::vector<float> scales;
  for (std::int64_t o = 0; o < (out + 127) / 128; ++o) {
    for (std::int64_t i = 0; i < changes.scale_columns; ++i) scales.push_back(scale(o, i));
  }
  scales[0] = changes.first_scale;
  file.add(name, changes.dtype, {out, in}, codes);
  if (!changes.scales) return;
  file.add(name + "_scale_inv", "F32", {(out + 127) / 128, changes.scale_columns}, scales);
}

SafetensorsWriter deepseek(const Changes& of_last = {}) {
  SafetensorsWriter file;
  tests::add(file, "p.gate.weight", {kExperts, kHidden}, [](const tests::Index&) { return 1.0F; });
  for (std::int64_t e = 0; e < kExperts; ++e) {
    const std::string at = "p.experts." + std::to_string(e) + ".";
    add_fp8(file, at + "gate_proj.weight", e, kWidth, kHidden);
    add_fp8(file, at + "up_proj.weight", e + 10, kWidth, kHidden);
    add_fp8(file, at + "down_proj.weight", e + 20, kHidden, kWidth,
            e + 1 == kExperts ? of_last : Changes{});
  }
  return file;
}

experts::BlockSpec spec_of() {
  experts::BlockSpec spec;
  spec.router.hidden = spec.expert.hidden = kHidden;
  spec.router.experts = kExperts;
  spec.router.top_k = 1;
  spec.expert.width = kWidth;
  return spec;
}

struct Opened {
  TempFolder folder;
  std::unique_ptr<experts::WeightSource> source;
  std::set<std::string> used;
  explicit Opened(const SafetensorsWriter& file) {
    file.write(folder / "block.safetensors");
    const auto set = std::make_shared<TensorSet>(
        std::make_shared<const SafetensorsFile>(folder / "block.safetensors"));
    source = block_source(set, {.family = "deepseek", .prefix = "p.", .router = {}}, spec_of(),
                          false, false, &used);
  }
};

TEST(StoredMatrix, Fp8StaysInItsFileWithTheScalesBesideIt) {
  Opened opened(deepseek());
  for (std::int64_t e = 0; e < kExperts; ++e) {
    const experts::ExpertTensors expert = opened.source->expert(e);
    ASSERT_EQ(expert.up.type, experts::DType::kFp8);
    ASSERT_EQ(expert.down.out, kHidden);
    for (std::int64_t o = 0; o < kHidden; ++o) {
      for (std::int64_t i = 0; i < kWidth; ++i) {
        const std::uint8_t bits = o == 0 && i == 0 ? 1 : code(e + 20, o, i);
        ASSERT_EQ(expert.down.at(o, i), experts::widen_fp8(bits) * scale(o / 128, i / 128))
            << o << ", " << i;
      }
    }
    EXPECT_EQ(expert.gate.at(199, 159), experts::widen_fp8(code(e, 199, 159)) * scale(1, 1));
  }
  EXPECT_TRUE(opened.used.contains("p.experts.1.up_proj.weight_scale_inv"));
}

std::string refusal(const Changes& changes) {
  try {
    Opened opened(deepseek(changes));
    static_cast<void>(opened.source->expert(0));  // another expert's data are not looked at
    static_cast<void>(opened.source->expert(kExperts - 1));
    return {};
  } catch (const std::invalid_argument& problem) {
    return problem.what();
  }
}

TEST(StoredMatrix, WhatIsWrongIsNamedWithFileAndTensor) {
  const std::string last = "tensor p.experts.2.down_proj.weight";
  EXPECT_EQ(refusal({}), "");
  EXPECT_THAT(refusal({.first_code = 0x7f}),
              AllOf(HasSubstr("block.safetensors: " + last + ": element [0, 0] is NaN"),
                    HasSubstr("code 127")));
  EXPECT_THAT(refusal({.first_code = 0xff}), HasSubstr("element [0, 0] is NaN (code 255)"));
  EXPECT_EQ(refusal({.first_code = 0x7e}), "");
  EXPECT_THAT(refusal({.first_scale = std::numeric_limits<float>::infinity()}),
              HasSubstr(last + "_scale_inv: scale of block [0, 0], got inf"));
  EXPECT_THAT(refusal({.first_scale = std::nanf("")}), HasSubstr("scale of block [0, 0]"));
  EXPECT_THAT(refusal({.first_scale = 1e37F}), HasSubstr("scale of block [0, 0]"));
  EXPECT_EQ(refusal({.first_scale = 1e-44F}), "");
  EXPECT_THAT(refusal({.scale_columns = 1}),
              HasSubstr(last + "_scale_inv: shape, got [2, 1], want [2, 2]"));
  EXPECT_THAT(refusal({.scales = false}), HasSubstr(last + "_scale_inv: missing in "));
  EXPECT_THAT(refusal({.dtype = "U8"}), HasSubstr(last + ": dtype, got U8, want F32"));
  EXPECT_THAT(refusal({.dtype = "F8_E5M2"}), HasSubstr("dtype, got F8_E5M2, want F32"));
  EXPECT_THAT(refusal({.dtype = "I8"}), HasSubstr(last + "_scale: missing in "));
}

/// A matrix outside the blocks in FP8, [200, 160], with scales of blocks of this size.
struct Dense {
  TempFolder folder;
  std::shared_ptr<const TensorSet> set;
  explicit Dense(const ScaleBlocks& blocks, std::uint8_t last_code = 0x38) {
    std::vector<std::uint8_t> codes;
    for (std::int64_t o = 0; o < kWidth; ++o) {
      for (std::int64_t i = 0; i < kHidden; ++i) codes.push_back(code(0, o, i));
    }
    codes.back() = last_code;
    const std::int64_t rows = (kWidth + blocks.out - 1) / blocks.out;
    const std::int64_t columns = (kHidden + blocks.in - 1) / blocks.in;
    std::vector<float> scales;
    for (std::int64_t i = 0; i < rows * columns; ++i) {
      scales.push_back(std::ldexp(1.5F, static_cast<int>(-i)));
    }
    scales[0] = 0x1p-140F;  // no normal number, nor are its products
    SafetensorsWriter file;
    file.add("q_b_proj.weight", "F8_E4M3", {kWidth, kHidden}, codes);
    file.add("q_b_proj.weight_scale_inv", "F32", {rows, columns}, scales);
    file.write(folder / "model.safetensors");
    set = std::make_shared<const TensorSet>(
        std::make_shared<const SafetensorsFile>(folder / "model.safetensors"));
  }
};

TEST(StoredMatrix, AttentionInFp8IsCodesTimesScalesOfAnyBlocks) {
  for (const ScaleBlocks& blocks :
       {ScaleBlocks{128, 128}, ScaleBlocks{64, 32}, ScaleBlocks{1, 128}, ScaleBlocks{256, 256}}) {
    SCOPED_TRACE(std::to_string(blocks.out) + " x " + std::to_string(blocks.in));
    const Dense dense(blocks);
    std::set<std::string> used;
    CheckpointTensors tensors(dense.set, &used, blocks);
    const experts::WeightView view = tensors.matrix("q_b_proj.weight", kWidth, kHidden);
    EXPECT_THAT(used, testing::ElementsAre("q_b_proj.weight", "q_b_proj.weight_scale_inv"));
    const std::int64_t columns = (kHidden + blocks.in - 1) / blocks.in;
    const Linear linear(view, {}, experts::best_isa());
    experts::Matrix unit(1, kHidden);
    for (std::int64_t i = 0; i < kHidden; ++i) {
      unit(0, i) = 1.0F;
      const experts::Matrix column = linear.apply(std::as_const(unit).view());
      unit(0, i) = 0.0F;
      for (std::int64_t o = 0; o < kWidth; ++o) {
        const std::int64_t block = o / blocks.out * columns + i / blocks.in;
        const float by = block == 0 ? 0x1p-140F : std::ldexp(1.5F, static_cast<int>(-block));
        const bool last = o + 1 == kWidth && i + 1 == kHidden;
        const float value = experts::widen_fp8(last ? 0x38 : code(0, o, i)) * by;
        ASSERT_EQ(view.at(o, i), value) << o << ", " << i;
        ASSERT_EQ(column(0, o), value) << o << ", " << i;
      }
    }
  }
}

TEST(StoredMatrix, EveryCodeThatIsNoNumberIsFoundInTheLastCornerToo) {
  for (const std::uint8_t bad : {std::uint8_t{0x7f}, std::uint8_t{0xff}}) {
    const Dense dense({128, 128}, bad);
    CheckpointTensors tensors(dense.set);
    EXPECT_THAT([&] { static_cast<void>(tensors.matrix("q_b_proj.weight", kWidth, kHidden)); },
                testing::ThrowsMessage<std::invalid_argument>(
                    HasSubstr("tensor q_b_proj.weight: element [199, 159] is NaN (code " +
                              std::to_string(bad) + ")")));
  }
  const Dense of_64({64, 64});  // and blocks that the file does not have
  CheckpointTensors tensors(of_64.set);
  EXPECT_THAT([&] { static_cast<void>(tensors.matrix("q_b_proj.weight", kWidth, kHidden)); },
              testing::ThrowsMessage<std::invalid_argument>(
                  HasSubstr("q_b_proj.weight_scale_inv: shape, got [4, 3], want [2, 2]")));
}

/// The tiny FP8 model with another "weight_block_size".
std::string checkpoint_with(const nlohmann::json& size) {
  const TempFolder folder;
  const std::filesystem::path from = SWITCHYARD_TEST_DATA "/golden/oracle/deepseek-v3-fp8-tiny";
  std::filesystem::copy(from, folder.path(), std::filesystem::copy_options::recursive);
  auto config = nlohmann::json::parse(tests::read_file(from / "config.json"));
  config["quantization_config"]["weight_block_size"] = size;
  tests::write_file(folder / "config.json", config.dump());
  try {
    const Checkpoint checkpoint(folder.path());
    return std::to_string(checkpoint.blocks().out) + " x " + std::to_string(checkpoint.blocks().in);
  } catch (const std::invalid_argument& problem) {
    return problem.what();
  }
}

TEST(StoredMatrix, BlocksOfAConfigAreTakenOrRefused) {
  EXPECT_EQ(checkpoint_with({64, 32}), "64 x 32");
  EXPECT_EQ(checkpoint_with(nullptr), "128 x 128");
  for (const nlohmann::json& wrong :
       {nlohmann::json{0, 128}, nlohmann::json{128}, nlohmann::json{1.5, 2}, nlohmann::json("128"),
        nlohmann::json{128, 128, 1}, nlohmann::json{-1, 128}}) {
    EXPECT_THAT(checkpoint_with(wrong), AllOf(HasSubstr("config.json: weight_block_size, got "),
                                              HasSubstr("want two numbers from 1, as [128, 128]")));
  }
}

TEST(StoredMatrix, Mxfp4WantsWholeBlocksAndScalesThatAreNumbers) {
  const TempFolder folder;
  SafetensorsWriter file;
  file.add("w_blocks", "U8", {1, 2, 16}, std::vector<std::uint8_t>(32, 0x31));  // 0.5, 1.5
  file.add("w_scales", "U8", {1, 2}, std::vector<std::uint8_t>{0, 252});
  file.add("v_blocks", "U8", {1, 1, 16}, std::vector<std::uint8_t>(16, 0x31));
  file.add("v_scales", "U8", {1, 1}, std::vector<std::uint8_t>{255});
  file.write(folder / "f.safetensors");
  const auto set = std::make_shared<const TensorSet>(
      std::make_shared<const SafetensorsFile>(folder / "f.safetensors"));
  Storage storage(set);
  const StoredMatrix w = find_matrix(*set, "w");
  require_shapes(w, {1, 64}, {});
  const experts::WeightView view = scaled_view(storage, w, 1, 64, 0, {});
  EXPECT_EQ(view.at(0, 0), 0x1p-128F);
  EXPECT_EQ(view.at(0, 1), 0x1.8p-127F);
  EXPECT_EQ(view.at(0, 33), 0x1.8p125F);
  EXPECT_THAT(
      [&] {
        require_shapes(w, {1, 40}, {});
      },
      testing::ThrowsMessage<std::invalid_argument>(
          HasSubstr("tensor w_blocks: inputs, got 40, want a multiple of 32")));
  EXPECT_THAT(
      [&] { static_cast<void>(scaled_view(storage, find_matrix(*set, "v"), 1, 32, 0, {})); },
      testing::ThrowsMessage<std::invalid_argument>(
          HasSubstr("tensor v_scales: scale of block [0, 0], got 255, want at most 252")));
}
}  // namespace
}  // namespace switchyard::runtime
