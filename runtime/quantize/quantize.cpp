// SPDX-License-Identifier: Apache-2.0
#include "runtime/quantize/quantize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <system_error>
#include <unistd.h>

#include "experts/kernels/quantise.hpp"
#include "runtime/model/checked_json.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/layout.hpp"
#include "runtime/model/layout_network.hpp"
#include "runtime/model/layout_source.hpp"
#include "runtime/report/whole_file.hpp"

namespace switchyard::runtime {
namespace {

using experts::DType;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::int64_t kMaxTextBytes = 64'000'000;

/// Sums over the weights of a layer.
struct Sums {
  QuantizedLayer result;
  double squares = 0;
  double errors = 0;
  double largest = 0;
};

/// A matrix of routed experts, and the layer that they are in.
struct ExpertMatrix {
  NetworkMatrix lies;
  std::int64_t layer = 0;
};

/// Those of all layers, by name.
std::map<std::string, ExpertMatrix> expert_matrices(const Checkpoint& checkpoint) {
  const auto& tensors = checkpoint.tensors();
  const Model& model = checkpoint.model();
  const experts::BlockSpec block = model.block();
  std::map<std::string, ExpertMatrix> found;
  for (const std::int64_t layer : model.moe_layers()) {
    std::set<std::string> used;
    const NetworkReader reader(tensors, find_prefix(*tensors, model.family(), layer),
                               layout_of(model.family()).experts, block.expert,
                               block.router.experts, checkpoint.blocks(), used);
    for (NetworkMatrix& matrix : reader.matrices()) {
      require_float(tensors->at(matrix.name), matrix.name);
      const std::string name = matrix.name;
      found.emplace(name, ExpertMatrix{std::move(matrix), layer});
    }
  }
  return found;
}

std::string file_dtype(DType type) {
  return type == DType::kFp8 ? "F8_E4M3" : type == DType::kInt8 ? "I8" : "U8";
}

std::span<const std::byte> bytes_of(const experts::QuantisedMatrix& matrix) {
  if (!matrix.byte_scales.empty()) return std::as_bytes(std::span(matrix.byte_scales));
  return std::as_bytes(std::span(matrix.scales));
}

std::int64_t blocks_for(std::int64_t extent, std::int64_t block) {
  return (extent + block - 1) / block;
}

/// A tensor of a shard that is being written.
struct Entry {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::int64_t size = 0;  ///< bytes
};

std::int64_t elements_of(const Entry& entry) {
  std::int64_t count = 1;
  for (const std::int64_t extent : entry.shape) count *= extent;
  return count;
}

/// Codes and scales of a matrix or a stack of them, which lie by output whatever the numbers did.
std::pair<Entry, Entry> coded(const NetworkMatrix& lies, const Tensor& tensor, DType type) {
  const experts::BlockShape block = experts::blocks_of(type);
  std::vector<std::int64_t> shape = {lies.out, lies.in};
  if (lies.stacked) shape.insert(shape.begin(), lies.networks);
  Entry codes{lies.name, file_dtype(type), shape, 0};
  Entry scales{lies.name + (type == DType::kFp8 ? "_scale_inv" : "_scale"), "F32", shape, 0};
  std::int64_t& rows = scales.shape[scales.shape.size() - 2];
  rows = blocks_for(rows, block.outputs);
  scales.shape.back() = blocks_for(lies.in, block.inputs);
  codes.size = experts::bytes_of(type, elements_of(codes));
  scales.size = elements_of(scales) * (type == DType::kMxfp4 ? 1 : 4);
  if (type != DType::kMxfp4) return {codes, scales};
  if (lies.in % experts::kMxfp4Block != 0) {
    throw std::invalid_argument(tensor.file + ": tensor " + shown(lies.name) + ": inputs, got " +
                                std::to_string(lies.in) + ", want a multiple of 32 for mxfp4");
  }
  codes.name += "_blocks";
  codes.shape.back() /= experts::kMxfp4Block;
  codes.shape.push_back(experts::kMxfp4Block / 2);
  scales.name = lies.name + "_scales";
  scales.dtype = "U8";
  return {codes, scales};
}

/// Matrix `index` of a tensor, its inputs side by side.
class Rows {
 public:
  Rows(const Tensor& tensor, const NetworkMatrix& lies, std::int64_t index) {
    const std::int64_t size = lies.out * lies.in;
    const Numbers numbers = storage_.place(tensor, index * size, size);
    view_ = {numbers.data, numbers.type, lies.out, lies.in, lies.in, 1};
    if (lies.order == Order::kLinear) return;
    turned_.resize(static_cast<std::size_t>(size));
    const experts::WeightView from{numbers.data, numbers.type, lies.in, lies.out, lies.out, 1};
    std::vector<float> line(static_cast<std::size_t>(lies.out));
    for (std::int64_t i = 0; i < lies.in; ++i) {
      experts::widen_inputs(from, i, 0, lies.out, line.data());
      for (std::int64_t o = 0; o < lies.out; ++o) {
        turned_[static_cast<std::size_t>(o * lies.in + i)] = line[static_cast<std::size_t>(o)];
      }
    }
    view_ = {turned_.data(), DType::kFloat32, lies.out, lies.in, lies.in, 1};
  }
  [[nodiscard]] const experts::WeightView& view() const { return view_; }

 private:
  Storage storage_{nullptr};
  std::vector<float> turned_;
  experts::WeightView view_;
};

void add_errors(const experts::WeightView& weight, const experts::WeightView& codes,
                const std::string& name, const Tensor& tensor, Sums& sums) {
  std::vector<float> before(static_cast<std::size_t>(weight.in));
  std::vector<float> after(before.size());
  for (std::int64_t o = 0; o < weight.out; ++o) {
    experts::widen_inputs(weight, o, 0, weight.in, before.data());
    experts::widen_inputs(codes, o, 0, weight.in, after.data());
    for (std::size_t i = 0; i < before.size(); ++i) {
      const double value = static_cast<double>(before[i]);
      const double error = std::abs(static_cast<double>(after[i]) - value);
      if (!std::isfinite(value)) {
        throw std::invalid_argument(tensor.file + ": tensor " + shown(name) + ": element [" +
                                    std::to_string(o) + ", " + std::to_string(i) +
                                    "] is no finite number, want one");
      }
      sums.squares += value * value;
      sums.errors += error * error;
      sums.largest = std::max(sums.largest, error);
    }
  }
  sums.result.weights += weight.out * weight.in;
}

/// One shard: headers first, for all sizes are known, then the data in the same order.
class ShardWriter {
 public:
  ShardWriter(const fs::path& file, const std::vector<Entry>& entries)
      : file_("--output", file.string()) {
    Json header;
    header["__metadata__"] = {{"format", "pt"}};
    std::int64_t at = 0;
    for (const Entry& entry : entries) {
      header[entry.name] = {
          {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {at, at + entry.size}}};
      at += entry.size;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const std::uint64_t length = text.size();
    std::byte prefix[sizeof length];
    for (std::size_t i = 0; i < sizeof length; ++i) {
      prefix[i] = static_cast<std::byte>(length >> (8 * i) & 0xffU);
    }
    file_.write(prefix);
    file_.write(std::as_bytes(std::span(text)));
  }
  void write(std::span<const std::byte> bytes) { file_.write(bytes); }
  void commit() { file_.commit(); }

 private:
  WholeFile file_;
};

/// A shard of `from` again, its experts as codes; adds to the sums of their layers.
std::vector<Entry> rewrite(const TensorSet& tensors, const std::vector<std::string>& names,
                           const std::map<std::string, ExpertMatrix>& experts, DType type,
                           const fs::path& to, std::map<std::int64_t, Sums>& layers) {
  std::vector<Entry> entries;
  for (const std::string& name : names) {
    const Tensor& tensor = tensors.at(name);
    const auto expert = experts.find(name);
    if (expert != experts.end()) {
      auto [codes, scales] = coded(expert->second.lies, tensor, type);
      entries.push_back(std::move(codes));
      entries.push_back(std::move(scales));
    } else {
      entries.push_back(
          {name, tensor.dtype, tensor.shape, static_cast<std::int64_t>(tensor.data.size())});
    }
  }
  ShardWriter out(to, entries);
  for (const std::string& name : names) {
    const Tensor& tensor = tensors.at(name);
    const auto expert = experts.find(name);
    if (expert == experts.end()) {
      out.write(tensor.data);
      continue;
    }
    Sums& sums = layers[expert->second.layer];
    std::vector<std::byte> scales;
    for (std::int64_t i = 0; i < expert->second.lies.networks; ++i) {
      const Rows rows(tensor, expert->second.lies, i);
      const experts::WeightView& weight = rows.view();
      const experts::QuantisedMatrix matrix = experts::quantise(weight, type);
      add_errors(weight, matrix.view, name, tensor, sums);
      const auto bytes = bytes_of(matrix);
      out.write(std::as_bytes(std::span(matrix.codes)));
      scales.insert(scales.end(), bytes.begin(), bytes.end());
      sums.result.bytes_after += static_cast<std::int64_t>(matrix.codes.size() + bytes.size());
    }
    out.write(scales);
    sums.result.bytes_before += static_cast<std::int64_t>(tensor.data.size());
  }
  out.commit();
  return entries;
}

void write_text(const fs::path& file, const std::string& text) {
  WholeFile out("--output", file.string());
  out.write(std::as_bytes(std::span(text)));
  out.commit();
}

Json quantization_config(DType type) {
  if (type == DType::kMxfp4) return {{"quant_method", "mxfp4"}};
  if (type == DType::kInt8) return {{"quant_method", "switchyard_int8"}, {"group_size", 128}};
  return {{"quant_method", "fp8"},
          {"fmt", "e4m3"},
          {"weight_block_size", {128, 128}},
          {"activation_scheme", "dynamic"}};
}

/// A folder that goes again, unless it was kept.
class Partial {
 public:
  explicit Partial(fs::path path) : path_(std::move(path)) {
    std::error_code error;
    fs::create_directory(path_, error);
    if (error) throw std::system_error(error, "--output: cannot make " + path_.string());
  }
  ~Partial() {
    std::error_code ignored;
    if (!kept_) fs::remove_all(path_, ignored);
  }
  Partial(const Partial&) = delete;
  Partial& operator=(const Partial&) = delete;
  void keep_as(const fs::path& name) {
    fs::rename(path_, name);
    kept_ = true;
  }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  bool kept_ = false;
};
}  // namespace

std::vector<QuantizedLayer> quantize_checkpoint(const fs::path& from, DType type,
                                                const fs::path& output) {
  const fs::path to = output.has_filename() ? output : output.parent_path();  // "folder/"
  if (fs::exists(fs::symlink_status(to))) {
    throw std::invalid_argument("--output: " + to.string() + " exists, want a new folder");
  }
  const Checkpoint checkpoint(from);
  const auto& tensors = checkpoint.tensors();
  const auto experts = expert_matrices(checkpoint);

  std::map<fs::path, std::vector<std::string>> shards;
  for (const std::string& name : tensors->names()) {
    shards[fs::path(tensors->at(name).file).filename()].push_back(name);
  }
  Partial folder(to.string() + ".partial-" + std::to_string(::getpid()));
  std::map<std::int64_t, Sums> layers;
  Json index{{"metadata", {{"total_size", 0}}}, {"weight_map", Json::object()}};
  std::int64_t total = 0;
  for (const auto& [shard, names] : shards) {
    for (const Entry& entry :
         rewrite(*tensors, names, experts, type, folder.path() / shard, layers)) {
      index["weight_map"][entry.name] = shard.string();
      total += entry.size;
    }
  }
  index["metadata"]["total_size"] = total;
  const std::string index_name = "model.safetensors.index.json";
  if (fs::exists(from / index_name)) write_text(folder.path() / index_name, index.dump(2) + "\n");
  Json config = Json::parse(read_text(from / "config.json", kMaxTextBytes));
  config["quantization_config"] = quantization_config(type);
  write_text(folder.path() / "config.json", config.dump(2) + "\n");
  for (const auto& entry : fs::directory_iterator(from)) {
    const fs::path name = entry.path().filename();
    if (!entry.is_regular_file() || name.extension() == ".safetensors" || name == "config.json" ||
        name == index_name) {
      continue;
    }
    fs::copy_file(entry.path(), folder.path() / name);
  }
  folder.keep_as(to);

  std::vector<QuantizedLayer> results;
  for (auto& [layer, sums] : layers) {
    const double rms = std::sqrt(sums.squares / static_cast<double>(sums.result.weights));
    sums.result.layer = layer;
    if (rms > 0) {
      sums.result.rms_error = std::sqrt(sums.errors / sums.squares);
      sums.result.largest_error = sums.largest / rms;
    }
    results.push_back(sums.result);
  }
  return results;
}
}  // namespace switchyard::runtime
