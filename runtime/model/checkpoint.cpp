// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/checkpoint.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "experts/ffn.hpp"
#include "runtime/model/checked_json.hpp"
#include "runtime/model/layout.hpp"
#include "runtime/model/layout_source.hpp"

namespace switchyard::runtime {
namespace {

constexpr std::int64_t kMaxConfigBytes = 16'000'000;

Model read_model(const std::filesystem::path& directory) {
  std::error_code error;
  const auto status = std::filesystem::status(directory, error);
  if (error) throw std::system_error(error, directory.string());
  if (!std::filesystem::is_directory(status)) {
    throw std::invalid_argument(directory.string() + ": not a directory, want a checkpoint's");
  }
  const auto file = directory / "config.json";
  const std::string text = read_text(file, kMaxConfigBytes);
  static_cast<void>(parse_checked(text, file.string()));
  try {
    return Model::from_config_json(text, "");
  } catch (const std::invalid_argument& problem) {
    throw std::invalid_argument(file.string() + ": " + problem.what());
  }
}

/// Of "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}.
ScaleBlocks read_blocks(const std::filesystem::path& directory) {
  const auto file = directory / "config.json";
  const auto config = parse_checked(read_text(file, kMaxConfigBytes), file.string());
  ScaleBlocks blocks;
  const auto quantised = config.find("quantization_config");
  if (quantised == config.end() || !quantised->is_object()) return blocks;
  const auto size = quantised->find("weight_block_size");
  if (size == quantised->end() || size->is_null()) return blocks;
  const bool pair = size->is_array() && size->size() == 2 && (*size)[0].is_number_unsigned() &&
                    (*size)[1].is_number_unsigned();
  if (pair) blocks = {(*size)[0].get<std::int64_t>(), (*size)[1].get<std::int64_t>()};
  constexpr std::int64_t kMost = std::int64_t{1} << 30U;
  const auto good = [](std::int64_t extent) { return extent >= 1 && extent <= kMost; };
  if (pair && good(blocks.out) && good(blocks.in)) return blocks;
  throw std::invalid_argument(file.string() + ": weight_block_size, got " + shown(size->dump()) +
                              ", want two numbers from 1, as [128, 128]");
}

/// Refuses what stands among a block's tensors and is none of them: a ninth expert of eight, a
/// scale of a quantised weight.
void refuse_strangers(const TensorSet& tensors, const FamilyLayout& layout,
                      const std::string& prefix, const std::set<std::string>& used) {
  for (const std::string& name : tensors.names(prefix)) {
    if (used.contains(name) || belongs_elsewhere(layout, prefix, name)) continue;
    throw std::invalid_argument(tensors.at(name).file + ": tensor " + shown(name) +
                                ": unexpected, want only what the model's " + layout.family +
                                " block has");
  }
}
}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& directory)
    : model_(read_model(directory)),
      blocks_(read_blocks(directory)),
      tensors_(TensorSet::open_directory(directory)) {}

std::unique_ptr<experts::WeightSource> Checkpoint::block(std::int64_t layer,
                                                         std::set<std::string>* used) const {
  const std::vector<std::int64_t> layers = model_.moe_layers();
  if (std::ranges::find(layers, layer) == layers.end()) {
    std::string known;
    for (const std::int64_t each : layers) known += " " + std::to_string(each);
    throw std::invalid_argument(tensors_->where() + ": layer " + std::to_string(layer) +
                                " has no experts, want one of" + known);
  }
  const std::string prefix = find_prefix(*tensors_, model_.family(), layer);
  const FamilyLayout layout = layout_of(model_.family());
  std::set<std::string> own;
  auto source = block_weights(tensors_, model_, prefix, &own, blocks_);
  refuse_strangers(*tensors_, layout, prefix, own);
  if (used == nullptr) return source;
  used->merge(own);
  for (const std::string& pattern : layout.training_only) {
    used->insert(tensor_name(prefix, pattern, 0));
  }
  return source;
}

experts::DType own_type(experts::WeightSource& block, std::int64_t experts) {
  const experts::DType first = experts::PackedExpert::own_type(block.outline(0));
  for (std::int64_t e = 1; e < experts; ++e) {
    if (experts::PackedExpert::own_type(block.outline(e)) != first) return experts::DType::kFloat32;
  }
  return first;
}

experts::DType own_type(const Checkpoint& checkpoint) {
  const std::int64_t experts = checkpoint.model().block().router.experts;
  std::optional<experts::DType> common;
  for (const std::int64_t layer : checkpoint.model().moe_layers()) {
    const experts::DType type = own_type(*checkpoint.block(layer), experts);
    if (common && *common != type) return experts::DType::kFloat32;
    common = type;
  }
  return common.value_or(experts::DType::kFloat32);
}

std::unique_ptr<experts::WeightSource> block_weights(std::shared_ptr<const TensorSet> tensors,
                                                     const Model& model, const std::string& prefix,
                                                     std::set<std::string>* used,
                                                     const ScaleBlocks& blocks) {
  const BlockPlace place{
      .family = model.family(), .prefix = prefix, .router = {}, .blocks = blocks};
  return block_source(std::move(tensors), place, model.block(), model.router_bias(),
                      model.selection_bias(), used);
}
}  // namespace switchyard::runtime
