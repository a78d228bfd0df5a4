// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/tools/released_state.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "experts/kernels/quantise.hpp"
#include "runtime/model/checked_json.hpp"
#include "runtime/model/layout.hpp"
#include "runtime/model/layout_source.hpp"
#include "runtime/state/layer_state.hpp"

namespace switchyard::runtime {
namespace {
using experts::Stream;
constexpr const char* kLayers = "layers";  ///< label of a run

/// Mapped tensors by where they lie in memory.
class Places {
 public:
  explicit Places(const TensorSet& tensors) {
    for (const std::string& name : tensors.names()) {
      const Tensor& tensor = tensors.at(name);
      if (!tensor.data.empty()) all_.emplace(tensor.data.data(), std::pair(name, &tensor));
    }
  }
  /// Name and tensor; null: nobody's, a copy.
  [[nodiscard]] std::pair<std::string, const Tensor*> at(const void* data) const {
    const auto* const address = static_cast<const std::byte*>(data);
    auto next = all_.upper_bound(address);
    if (next == all_.begin()) return {};
    const auto& found = std::prev(next)->second;
    return address < found.second->data.data() + found.second->data.size()
               ? found
               : std::pair<std::string, const Tensor*>{};
  }

 private:
  std::map<const std::byte*, std::pair<std::string, const Tensor*>> all_;
};

experts::WeightView view_of(experts::WeightSource& source, const StateTensor& tensor) {
  if (tensor.id == kRouterId) {
    const experts::RouterTensors router = source.router();
    return tensor.stream == Stream::kRouterSecond  ? router.second
           : tensor.stream == Stream::kRouterThird ? router.third
                                                   : router.weight;
  }
  const experts::ExpertTensors network =
      tensor.id == experts::kSharedId ? source.shared() : source.expert(tensor.id);
  return tensor.stream == Stream::kGate     ? network.gate
         : tensor.stream == Stream::kUp     ? network.up
         : tensor.stream == Stream::kLinear ? network.linear
                                            : network.down;
}

/// The tensor that a vector of the state is; empty: it has none to itself.
std::string name_of_vector(const TensorSet& tensors, const FamilyLayout& layout,
                           const std::string& prefix, std::int64_t layer,
                           const StateTensor& vector) {
  std::vector<std::string> names;
  if (vector.stream == Stream::kSelectionBias) {
    for (const std::string& pattern : layout.selection_bias) {
      names.push_back(tensor_name(prefix, pattern, layer));
    }
  } else if (vector.id == kRouterId) {
    for (const RouterForm& form : layout.routers) {
      names.push_back(tensor_name(prefix, bias_pattern(form.weight), layer));
    }
  } else {
    for (const NetworkForm& form :
         vector.id == experts::kSharedId ? layout.shared : layout.experts) {
      if (form.stack != Stack::kNone || form.halves != Halves::kSeparate) continue;
      const std::string& pattern = vector.stream == Stream::kGateBias ? form.gate
                                   : vector.stream == Stream::kUpBias ? form.up
                                                                      : form.down;
      names.push_back(tensor_name(prefix, bias_pattern(pattern), vector.id));
    }
  }
  for (const std::string& name : names) {
    const Tensor* const found = tensors.find(name);
    if (found != nullptr && found->elements() == vector.out) return name;
  }
  return {};
}

[[noreturn]] void refuse(const std::string& tensor, const std::string& what) {
  throw std::invalid_argument("checkpoint: " + tensor + ": " + what);
}

TensorInfo info_of_state(const StateTensor& tensor, std::int64_t layer) {
  TensorInfo info{.name = tensor.name, .shape = {tensor.out}, .layer = layer};
  if (!tensor.vector) info.shape.push_back(tensor.in);
  if (tensor.id != kRouterId && tensor.id != experts::kSharedId) info.expert = tensor.id;
  return info;
}

/// One layer's, from what its source hands out.
class LayerParts {
 public:
  LayerParts(const Checkpoint& released, const Places& places, std::int64_t layer)
      : tensors_(*released.tensors()),
        places_(places),
        layout_(layout_of(released.model().family())),
        prefix_(find_prefix(tensors_, released.model().family(), layer)),
        layer_(layer),
        source_(released.block(layer)) {}

  void add_to(std::vector<ReleasedPart>& parts, const experts::BlockSpec& block) {
    for (std::int32_t id = 0; id < block.router.experts; ++id) {
      const LayerState outline(block, layer_, source_, std::span(&id, 1));
      for (const StateTensor& tensor : outline.tensors()) {
        if (tensor.id == id || id == 0) parts.push_back(part_of(tensor));
      }
    }
  }

 private:
  ReleasedPart part_of(const StateTensor& tensor) const {
    ReleasedPart part{.state = info_of_state(tensor, layer_), .tensor = {}, .source = source_};
    if (tensor.vector) {
      part.tensor = name_of_vector(tensors_, layout_, prefix_, layer_, tensor);
      if (part.tensor.empty()) {
        refuse(tensor.name, "has no tensor to itself among released weights of " + layout_.family);
      }
      part.out = 1;
      part.vector = values_of(part.tensor);
      return part;
    }
    part.view = view_of(*source_, tensor);
    const auto [name, holder] = places_.at(part.view.data);
    if (holder == nullptr || experts::is_scaled(part.view.type)) {
      refuse(tensor.name, "released as another type, want float32, bfloat16 or float16");
    }
    part.tensor = name;
    const auto bytes = static_cast<const std::byte*>(part.view.data) - holder->data.data();
    part.first = bytes / (part.view.type == experts::DType::kFloat32 ? 4 : 2);
    part.out = part.view.out_stride;
    part.in = part.view.in_stride;
    return part;
  }
  [[nodiscard]] std::vector<float> values_of(const std::string& name) const {
    const Tensor& tensor = tensors_.at(name);
    const auto type = tensor.dtype == "F32"    ? experts::DType::kFloat32
                      : tensor.dtype == "BF16" ? experts::DType::kBfloat16
                                               : experts::DType::kFloat16;
    if (tensor.dtype != "F32" && tensor.dtype != "BF16" && tensor.dtype != "F16") {
      refuse(name, "released as " + tensor.dtype + ", want F32, BF16 or F16");
    }
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    const experts::WeightView view{
        .data = tensor.data.data(), .type = type, .out = 1, .in = tensor.elements()};
    experts::widen_inputs(view, 0, 0, tensor.elements(), values.data());
    return values;
  }

  const TensorSet& tensors_;
  const Places& places_;
  FamilyLayout layout_;
  std::string prefix_;
  std::int64_t layer_;
  std::shared_ptr<experts::WeightSource> source_;
};
}  // namespace

std::vector<ReleasedPart> parts_of_state(const Checkpoint& released,
                                         const std::vector<std::int64_t>& layers) {
  const Places places(*released.tensors());
  std::vector<ReleasedPart> parts;
  for (const std::int64_t layer : layers) {
    LayerParts(released, places, layer).add_to(parts, released.model().block());
  }
  return parts;
}

void read_part(const ReleasedPart& part, std::int64_t at, std::span<float> to) {
  if (part.view.empty()) {
    std::copy_n(part.vector.begin() + at, to.size(), to.begin());
    return;
  }
  const std::int64_t width = part.state.shape[1];
  while (!to.empty()) {
    const std::int64_t input = at % width;
    const std::int64_t count = std::min(width - input, static_cast<std::int64_t>(to.size()));
    experts::widen_inputs(part.view, at / width, input, count, to.data());
    to = to.subspan(static_cast<std::size_t>(count));
    at += count;
  }
}

std::vector<std::int64_t> layers_of_run(const CheckpointInfo& info) {
  std::vector<std::int64_t> layers;
  const auto found = info.labels.find(kLayers);
  if (found == info.labels.end()) return layers;
  const std::string& text = found->second;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    std::int64_t layer = -1;
    const auto [stop, error] = std::from_chars(at, end, layer);
    if (error != std::errc() || layer < 0) {
      throw std::invalid_argument("checkpoint: layers, got '" + shown(text) + "', want numbers");
    }
    layers.push_back(layer);
    at = stop + (stop < end ? 1 : 0);
  }
  return layers;
}

std::string run_text(const CheckpointInfo& info) {
  nlohmann::ordered_json json{{"format", 1},
                              {"step", info.step},
                              {"run_id", info.run_id},
                              {"program_version", info.program_version},
                              {"model_name", info.model_name},
                              {"model_text", info.model_text},
                              {"seed", info.seed},
                              {"counters", info.counters},
                              {"placement_epoch", info.placement_epoch},
                              {"experts_of", info.experts_of},
                              {"labels", info.labels}};
  json["load"] = nlohmann::ordered_json::object();
  for (const auto& [layer, rows] : info.load) json["load"][std::to_string(layer)] = rows;
  for (const auto& [layer, lists] : info.experts_in) {
    json["experts_in"][std::to_string(layer)] = lists;
  }
  return json.dump(2) + "\n";
}

CheckpointInfo run_from_text(const std::string& text, const std::string& where) {
  const nlohmann::json json = parse_checked(text, where);
  try {
    if (json.at("format") != 1) {
      throw std::invalid_argument(where + ": format, got " + json.at("format").dump() + ", want 1");
    }
    CheckpointInfo info;
    json.at("step").get_to(info.step);
    json.at("run_id").get_to(info.run_id);
    json.at("program_version").get_to(info.program_version);
    json.at("model_name").get_to(info.model_name);
    json.at("model_text").get_to(info.model_text);
    json.at("seed").get_to(info.seed);
    json.at("counters").get_to(info.counters);
    json.at("placement_epoch").get_to(info.placement_epoch);
    json.at("experts_of").get_to(info.experts_of);
    json.at("labels").get_to(info.labels);
    for (const auto& [layer, rows] : json.at("load").items()) {
      std::int64_t number = -1;
      std::from_chars(layer.data(), layer.data() + layer.size(), number);
      rows.get_to(info.load[number]);
    }
    const auto experts_in = json.value("experts_in", nlohmann::json::object());
    for (const auto& [layer, lists] : experts_in.items()) {
      std::int64_t number = -1;
      std::from_chars(layer.data(), layer.data() + layer.size(), number);
      lists.get_to(info.experts_in[number]);
    }
    if (info.step < 0 || layers_of_run(info).empty()) {
      throw std::invalid_argument(where + ": want a step and layers of a run");
    }
    return info;
  } catch (const nlohmann::json::exception& error) {
    throw std::invalid_argument(where + ": not a saved run: " + shown(error.what()));
  }
}
}  // namespace switchyard::runtime
