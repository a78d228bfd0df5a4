// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/checkpoint.hpp"

#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/model/layout.hpp"
#include "runtime/model/layout_source.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace switchyard::runtime {
namespace {

using testing::HasSubstr;
using tests::TempFolder;

std::filesystem::path models() {
  return SWITCHYARD_TEST_DATA "/golden/models";
}

/// A copy of a tiny model whose config.json was changed.
void copy_with_config(const std::string& name, const TempFolder& folder,
                      const std::map<std::string, nlohmann::json>& changes) {
  for (const auto& entry : std::filesystem::directory_iterator(models() / name)) {
    std::filesystem::copy_file(entry.path(), folder / entry.path().filename().string());
  }
  auto config = nlohmann::json::parse(tests::read_file(folder / "config.json"));
  for (const auto& [key, value] : changes) config[key] = value;
  tests::write_file(folder / "config.json", config.dump());
}

std::string refusal(const std::filesystem::path& folder, std::int64_t layer) {
  try {
    const Checkpoint checkpoint(folder);
    static_cast<void>(checkpoint.block(layer));
    return {};
  } catch (const std::invalid_argument& problem) {
    return problem.what();
  } catch (const std::system_error& problem) {
    return std::string("io: ") + problem.what();
  }
}

void expect_shape(const experts::WeightView& view, std::int64_t out, std::int64_t in) {
  ASSERT_FALSE(view.empty());
  EXPECT_EQ(view.out, out);
  EXPECT_EQ(view.in, in);
}

TEST(Checkpoint, EveryMoeLayerOfEveryTinyModelIsRead) {
  std::set<std::string> seen;
  for (const auto& entry : std::filesystem::directory_iterator(models())) {
    SCOPED_TRACE(entry.path().filename().string());
    seen.insert(entry.path().filename().string());
    const Checkpoint checkpoint(entry.path());
    const experts::BlockSpec spec = checkpoint.model().block();
    ASSERT_FALSE(checkpoint.model().moe_layers().empty());
    for (const std::int64_t layer : checkpoint.model().moe_layers()) {
      const auto source = checkpoint.block(layer);
      expect_shape(source->router().weight, spec.router.all_experts(), spec.router.hidden);
      for (std::int64_t e = 0; e < spec.router.experts; ++e) {
        const experts::ExpertTensors expert = source->expert(e);
        expect_shape(expert.gate, spec.expert.width, spec.expert.hidden);
        expect_shape(expert.up, spec.expert.width, spec.expert.hidden);
        expect_shape(expert.down, spec.expert.hidden, spec.expert.width);
        EXPECT_EQ(expert.down_bias.empty(), !spec.expert.biases);
      }
      EXPECT_EQ(source->shared().up.empty(), !spec.shared.has_value());
      EXPECT_EQ(source->dense().up.empty(), !spec.dense.has_value());
    }
  }
  EXPECT_EQ(seen.size(), 7U);
}

TEST(Checkpoint, ArcticsDenseBranchStandsBesideItsBlock) {
  const Checkpoint checkpoint(models() / "arctic-tiny");
  ASSERT_TRUE(checkpoint.model().block().dense.has_value());
  const auto shards = TensorSet::open_directory(models() / "arctic-tiny");
  const auto dense = checkpoint.block(1)->dense();
  const auto expect_bytes = [&](const experts::WeightView& view, const std::string& name) {
    const Tensor& tensor = shards->at("model.layers.1.residual_mlp." + name);
    const auto bytes = static_cast<std::size_t>(view.out * view.in) * sizeof(float);
    ASSERT_EQ(bytes, tensor.data.size());
    EXPECT_EQ(std::memcmp(view.data, tensor.data.data(), bytes), 0) << name;
  };
  expect_bytes(dense.gate, "w1.weight");
  expect_bytes(dense.up, "w3.weight");
  expect_bytes(dense.down, "w2.weight");
}

TEST(Checkpoint, ALayerWithoutExpertsIsRefusedByNumber) {
  EXPECT_THAT(refusal(models() / "deepseek-v3-tiny", 0),
              HasSubstr("layer 0 has no experts, want one of 1 2"));
  EXPECT_THAT(refusal(models() / "mixtral-tiny", 2), HasSubstr("layer 2 has no experts"));
  EXPECT_THAT(refusal(models() / "mixtral-tiny", -1), HasSubstr("layer -1 has no experts"));
}

TEST(Checkpoint, AConfigWithFewerExpertsThanTheFilesIsRefused) {
  const TempFolder folder;
  copy_with_config("gpt-oss-tiny", folder, {{"num_local_experts", 7}});
  EXPECT_THAT(refusal(folder.path(), 0), HasSubstr("want [7, 48]"));
  const TempFolder mixtral;
  copy_with_config("mixtral-tiny", mixtral, {{"num_local_experts", 9}});
  EXPECT_THAT(refusal(mixtral.path(), 0),
              HasSubstr("model.layers.0.block_sparse_moe.gate.weight: shape, got [8, 48]"));
}

TEST(Checkpoint, AnExpertTooManyIsRefusedByName) {
  const TempFolder folder;
  copy_with_config("mixtral-tiny", folder, {});
  tests::SafetensorsWriter shard;
  const std::string name = "model.layers.1.block_sparse_moe.experts.8.w1.weight";
  shard.add(name, "F32", {64, 48}, std::string(64 * 48 * 4, '\0'));
  shard.write(folder / "extra.safetensors");
  const auto path = folder / "model.safetensors.index.json";
  auto index = nlohmann::json::parse(tests::read_file(path));
  index["weight_map"][name] = "extra.safetensors";
  tests::write_file(path, index.dump());
  EXPECT_EQ(refusal(folder.path(), 0), "");
  EXPECT_THAT(refusal(folder.path(), 1),
              HasSubstr("extra.safetensors: tensor " + name + ": unexpected"));
}

TEST(Checkpoint, WhatIsMissingIsNamed) {
  const TempFolder folder;
  EXPECT_THAT(refusal(folder / "none", 0), HasSubstr("io: " + (folder / "none").string()));
  EXPECT_THAT(refusal(folder.path(), 0), HasSubstr("config.json: No such file"));
  EXPECT_THAT(refusal(models() / "mixtral-tiny" / "config.json", 0), HasSubstr("not a directory"));
  copy_with_config("mixtral-tiny", folder, {});
  std::filesystem::remove(folder / "model-00002-of-00002.safetensors");
  EXPECT_THAT(refusal(folder.path(), 0), HasSubstr("model-00002-of-00002.safetensors, a shard of"));
  std::filesystem::remove(folder / "model.safetensors.index.json");
  EXPECT_THAT(refusal(folder.path(), 0), HasSubstr("no weights, want model.safetensors"));
  tests::write_file(folder / "config.json", "{\"model_type\":\"mixtral\",");
  EXPECT_THAT(refusal(folder.path(), 0), HasSubstr("config.json: not JSON"));
  tests::write_file(folder / "config.json", "{\"model_type\":\"gpt2\"}");
  EXPECT_THAT(refusal(folder.path(), 0), HasSubstr("config.json: "));
}

/// Writes the tensors of one block and of what stands beside it as a file of holes: shapes are
/// real, data are zero and take no disk.
std::shared_ptr<const TensorSet> released_block(const std::vector<TensorShape>& model,
                                                const std::string& parent,
                                                const std::filesystem::path& path) {
  std::string entries;
  std::int64_t bytes = 0;
  for (const TensorShape& tensor : model) {
    if (!tensor.name.starts_with(parent)) continue;
    const std::int64_t end = bytes + 2 * tensor.elements();
    entries += (entries.empty() ? "" : ",");
    entries += "\"" + tensor.name +
               "\":{\"dtype\":\"BF16\",\"shape\":" + nlohmann::json(tensor.shape).dump() +
               ",\"data_offsets\":[" + std::to_string(bytes) + "," + std::to_string(end) + "]}";
    bytes = end;
  }
  const std::string padding((8 - (entries.size() + 2) % 8) % 8, ' ');  // misaligned data are copied
  const std::string header = tests::file_of("{" + entries + "}" + padding, "");
  tests::write_file(path, header);
  std::filesystem::resize_file(path, header.size() + static_cast<std::uintmax_t>(bytes));
  return std::make_shared<const TensorSet>(std::make_shared<const SafetensorsFile>(path));
}

TEST(Checkpoint, EveryPresetsBlockLiesAsItsFamilysLayoutSays) {
  const TempFolder folder;
  for (const std::string& name : Model::preset_names()) {
    SCOPED_TRACE(name);
    const Model model = Model::preset(name);
    const FamilyLayout layout = layout_of(model.family());
    const std::vector<TensorShape> shapes = model.tensors();
    const std::int64_t layer = model.moe_layers().front();
    std::string prefix;
    for (const std::string& pattern : layout.prefixes) {
      const std::string candidate = tensor_name("", pattern, layer);
      for (const TensorShape& tensor : shapes) {
        if (prefix.empty() && tensor.name.starts_with(candidate)) prefix = candidate;
      }
    }
    ASSERT_FALSE(prefix.empty()) << "no tensor of layer " << layer << " under a known prefix";
    const std::string parent =  // everything of the layer
        model.family() == "mistral_large_3" ? prefix : tensor_name(prefix, "../", 0);
    const auto tensors = released_block(shapes, parent, folder / "block.safetensors");
    EXPECT_EQ(find_prefix(*tensors, model.family(), layer), prefix);
    std::set<std::string> used;
    const auto source = block_weights(tensors, model, prefix, &used);
    for (const std::string& tensor : tensors->names(prefix)) {
      EXPECT_TRUE(used.contains(tensor) || belongs_elsewhere(layout, prefix, tensor)) << tensor;
    }
    const experts::BlockSpec spec = model.block();
    const experts::ExpertTensors last = source->expert(spec.router.experts - 1);
    expect_shape(last.down, spec.expert.hidden, spec.expert.width);
    std::filesystem::remove(folder / "block.safetensors");
  }
}
}  // namespace
}  // namespace switchyard::runtime
