// SPDX-License-Identifier: Apache-2.0
#include "runtime/verify/golden_file.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <set>
#include <stdexcept>
#include <system_error>

#include "runtime/model/checked_json.hpp"
#include "runtime/model/layout.hpp"
#include "runtime/model/layout_source.hpp"
#include "runtime/model/tensor_views.hpp"

namespace switchyard::runtime {
namespace {

using Shape = std::vector<std::int64_t>;

constexpr std::string_view kFormat = "moe-golden/1";

std::int64_t whole_number(std::string_view text, const std::string& what) {
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) {
    throw std::invalid_argument(what + ", got '" + shown(text) + "', want a whole number from 0");
  }
  return value;
}

/// The metadata of one file, whose keys must be there.
class Metadata {
 public:
  explicit Metadata(const SafetensorsFile& file) : file_(file) {
    const std::string format = text("format");
    if (format == kFormat) return;
    throw std::invalid_argument(file_.name() + ": metadata format, got '" + shown(format) +
                                "', want '" + std::string(kFormat) + "'");
  }
  [[nodiscard]] const std::string& text(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    if (found != file_.metadata().end()) return found->second;
    throw std::invalid_argument(file_.name() + ": metadata " + key + " is missing, want it");
  }
  [[nodiscard]] std::int64_t number(const std::string& key) const {
    return whole_number(text(key), file_.name() + ": metadata " + key);
  }

 private:
  const SafetensorsFile& file_;
};

experts::Matrix read_matrix(const TensorSet& tensors, const std::string& name, std::int64_t rows,
                            std::int64_t cols) {
  const Tensor& tensor = tensors.at(name);
  require_dtype(tensor, name, "F32");
  require_shape(tensor, name, {rows, cols});
  experts::Matrix matrix(rows, cols);
  const std::vector<float> values = read_floats(tensor, 0, rows * cols);
  std::copy(values.begin(), values.end(), matrix.data());
  return matrix;
}

std::vector<std::int64_t> read_integers(const TensorSet& tensors, const std::string& name,
                                        const Shape& shape) {
  const Tensor& tensor = tensors.at(name);
  require_dtype(tensor, name, "I64");
  require_shape(tensor, name, shape);
  std::vector<std::int64_t> values(static_cast<std::size_t>(tensor.elements()));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

/// "3,7,8; 0,19" to {{3, 7, 8}, {0, 19}}.
std::vector<std::vector<int>> parse_groups(std::string_view text, std::int64_t tokens,
                                           const std::string& file) {
  std::vector<std::vector<int>> groups;
  std::string number;
  const auto finish = [&] {
    const std::int64_t row = whole_number(number, file + ": metadata duplicate_rows");
    if (row >= tokens) {
      throw std::invalid_argument(file + ": metadata duplicate_rows, got row " + number +
                                  ", want 0 to " + std::to_string(tokens - 1));
    }
    groups.back().push_back(static_cast<int>(row));
    number.clear();
  };
  if (text.empty()) return groups;
  groups.emplace_back();
  for (const char c : text) {
    if (c == ' ') continue;
    if (c != ',' && c != ';') {
      number += c;
      continue;
    }
    finish();
    if (c == ';') groups.emplace_back();
  }
  finish();
  return groups;
}

/// Where the config says that the router is, if it does; "" if not.
std::string router_tensor(const std::string& config, const std::string& file) {
  const nlohmann::json json = parse_checked(config, file + ": metadata config");
  if (!json.is_object() || !json.contains("router_tensor")) return {};
  if (json["router_tensor"].is_string()) return json["router_tensor"].get<std::string>();
  throw std::invalid_argument(file + ": config key router_tensor, want a string");
}

Model read_model(const std::string& config, const std::string& family, const std::string& file) {
  try {
    return Model::from_config_json(config, family);
  } catch (const std::invalid_argument& problem) {
    throw std::invalid_argument(file + ": metadata config: " + problem.what());
  }
}

void require_equal(std::int64_t got, std::int64_t want, const std::string& file,
                   const std::string& key) {
  if (got == want) return;
  throw std::invalid_argument(file + ": metadata " + key + ", got " + std::to_string(got) +
                              ", want " + std::to_string(want) + " by the config");
}

/// The dense branch of a layer (Arctic's) is no part of its block; a golden block has it only if
/// its tensors are in the file.
bool has_dense(const TensorSet& tensors, const FamilyLayout& layout, const std::string& prefix) {
  for (const NetworkForm& form : layout.dense) {
    if (tensors.find(tensor_name(prefix, form.down, 0)) != nullptr) return true;
  }
  return false;
}

/// True for what the backward pass and the loss need: cotangent, mask, values, and gradients of the
/// input and of the weights that the block has.
bool is_not_forward(const std::string& name, const std::set<std::string>& weights) {
  for (const std::string_view known :
       {"golden.R", "golden.aux_loss", "golden.aux_loss_masked", "golden.aux_mask"}) {
    if (name == known) return true;
  }
  for (const std::string_view beginning : {"golden.grad.", "golden.aux_grad."}) {
    if (!name.starts_with(beginning)) continue;
    const std::string of = name.substr(beginning.size());
    return of == "hidden_in" || weights.contains(of);
  }
  return false;
}

/// Checks golden.unpacked.* if they are there. @return their names
std::set<std::string> check_unpacked_shapes(const TensorSet& tensors,
                                            const experts::BlockSpec& spec) {
  const std::int64_t experts = spec.router.experts;
  const std::int64_t hidden = spec.expert.hidden;
  const std::int64_t width = spec.expert.width;
  const std::map<std::string, Shape> wanted = {
      {"golden.unpacked.gate_up_proj", {experts, hidden, 2 * width}},
      {"golden.unpacked.down_proj", {experts, width, hidden}}};
  std::set<std::string> names;
  for (const auto& [name, shape] : wanted) {
    const Tensor* tensor = tensors.find(name);
    if (tensor == nullptr) continue;
    require_dtype(*tensor, name, "BF16");
    require_shape(*tensor, name, shape);
    names.insert(name);
  }
  return names;
}

void check_expert_ids(const GoldenBlock& block) {
  for (std::size_t i = 0; i < block.topk_idx.size(); ++i) {
    if (block.topk_idx[i] >= 0 && block.topk_idx[i] < block.experts) continue;
    throw std::invalid_argument(block.path + ": golden.topk_idx of token " +
                                std::to_string(static_cast<std::int64_t>(i) / block.top_k) +
                                ", got expert " + std::to_string(block.topk_idx[i]) +
                                ", want 0 to " + std::to_string(block.experts - 1));
  }
}

void read_tensors(GoldenBlock& block) {
  const TensorSet& tensors = *block.tensors;
  const std::int64_t hidden = block.spec.router.hidden;
  block.hidden_in = read_matrix(tensors, "golden.hidden_in", block.tokens, hidden);
  block.router_logits = read_matrix(tensors, "golden.router_logits", block.tokens, block.experts);
  block.topk_weight = read_matrix(tensors, "golden.topk_weight", block.tokens, block.top_k);
  block.combine = read_matrix(tensors, "golden.combine", block.tokens, block.experts);
  block.output = read_matrix(tensors, "golden.output", block.tokens, hidden);
  block.topk_idx = read_integers(tensors, "golden.topk_idx", {block.tokens, block.top_k});
  block.expert_counts = read_integers(tensors, "golden.expert_counts", {block.experts});
  check_expert_ids(block);
}

/// Sorts every tensor of the file into used, known and unknown.
void sort_tensors(GoldenBlock& block, const FamilyLayout& layout, const std::string& prefix,
                  const std::set<std::string>& weights) {
  std::set<std::string> used = {"golden.hidden_in",    "golden.router_logits", "golden.topk_weight",
                                "golden.combine",      "golden.output",        "golden.topk_idx",
                                "golden.expert_counts"};
  used.merge(check_unpacked_shapes(*block.tensors, block.spec));
  for (const std::string& name : block.tensors->names()) {
    if (used.contains(name) || weights.contains(name)) continue;
    const bool known = is_not_forward(name, weights) || belongs_elsewhere(layout, prefix, name);
    (known ? block.not_forward : block.unknown).push_back(name);
  }
}

/// Files of another kind are those that say so: a format of another name, or none.
bool is_golden(const std::filesystem::path& path) {
  try {
    const SafetensorsFile file(path);
    const auto format = file.metadata().find("format");
    return format != file.metadata().end() && format->second.starts_with("moe-golden/");
  } catch (const std::exception&) {
    return true;  // broken: reading it will say how
  }
}
}  // namespace

GoldenBlock read_golden(const std::filesystem::path& path) {
  const auto file = std::make_shared<const SafetensorsFile>(path);
  const Metadata metadata(*file);
  const std::string& config = metadata.text("config");
  const std::string router = router_tensor(config, file->name());
  GoldenBlock block(read_model(config, metadata.text("family"), file->name()));
  block.name = metadata.text("case");
  block.family = metadata.text("family");
  block.path = file->name();
  block.tensors = std::make_shared<const TensorSet>(file);
  block.tokens = metadata.number("num_tokens");
  block.experts = metadata.number("num_experts");
  block.top_k = metadata.number("top_k");
  const BlockPlace place{
      .family = block.model.family(), .prefix = metadata.text("tensor_prefix"), .router = router};
  const FamilyLayout layout = layout_of(place.family);
  block.spec = block.model.block();
  if (!has_dense(*block.tensors, layout, place.prefix)) {
    block.spec.dense.reset();
    block.spec.dense_mode = experts::DenseMode::kNone;
  }
  require_equal(block.experts, block.spec.router.all_experts(), block.path, "num_experts");
  require_equal(block.top_k, block.spec.router.top_k, block.path, "top_k");
  read_tensors(block);
  std::set<std::string> weights;
  block.weights = block_source(block.tensors, place, block.spec, block.model.router_bias(),
                               block.model.selection_bias(), &weights);
  sort_tensors(block, layout, place.prefix, weights);
  const auto groups = file->metadata().find("duplicate_rows");
  if (groups != file->metadata().end()) {
    block.duplicate_rows = parse_groups(groups->second, block.tokens, block.path);
  }
  return block;
}

std::vector<std::filesystem::path> golden_files(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (error) throw std::system_error(error, path.string());
  if (!std::filesystem::is_directory(status)) return {path};
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (entry.path().extension() != ".safetensors" || entry.is_directory()) continue;
    if (is_golden(entry.path())) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}
}  // namespace switchyard::runtime
