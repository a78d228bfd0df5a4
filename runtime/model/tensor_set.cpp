// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>
#include <system_error>

#include "runtime/model/checked_json.hpp"
#include "runtime/model/safetensors.hpp"

namespace switchyard::runtime {
namespace {

constexpr std::int64_t kMaxIndexBytes = 64'000'000;

/// A shard is a file beside its index and nothing else.
void check_shard_name(const std::string& shard, const std::string& index) {
  const bool plain = !shard.empty() && shard.front() != '.' &&
                     shard.find_first_of(std::string("/\\\0", 3)) == std::string::npos &&
                     shard.find("..") == std::string::npos;
  if (!plain || !shard.ends_with(".safetensors")) {
    throw std::invalid_argument(index + ": shard, got '" + shown(shard) +
                                "', want the name of a .safetensors file in the same folder");
  }
}

/// Tensor name to shard name.
std::map<std::string, std::string> read_weight_map(const std::filesystem::path& file) {
  const std::string index = file.string();
  const nlohmann::json json = parse_checked(read_text(file, kMaxIndexBytes), index);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    throw std::invalid_argument(index + ": weight_map is missing, want an object");
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!shard.is_string()) {
      throw std::invalid_argument(index + ": shard of tensor " + shown(name) + ", got " +
                                  shown(shard.dump()) + ", want a string");
    }
    check_shard_name(shard.get<std::string>(), index);
    shard_of.emplace(name, shard.get<std::string>());
  }
  return shard_of;
}
}  // namespace

TensorSet::TensorSet(std::shared_ptr<const SafetensorsFile> file) : where_(file->name()) {
  for (const auto& [name, tensor] : file->tensors()) tensors_.emplace(name, &tensor);
  files_.push_back(std::move(file));
}

std::shared_ptr<const TensorSet> TensorSet::open_directory(const std::filesystem::path& directory) {
  std::error_code error;
  const auto status = std::filesystem::status(directory, error);
  if (error) throw std::system_error(error, directory.string());
  if (!std::filesystem::is_directory(status)) {
    throw std::invalid_argument(directory.string() + ": not a directory, want a checkpoint's");
  }
  const auto index = directory / "model.safetensors.index.json";
  const auto single = directory / "model.safetensors";
  if (std::filesystem::exists(index)) {
    std::shared_ptr<TensorSet> set(new TensorSet);
    set->where_ = directory.string();
    set->read_index(directory, index);
    return set;
  }
  if (!std::filesystem::exists(single)) {
    throw std::invalid_argument(directory.string() +
                                ": no weights, want model.safetensors or "
                                "model.safetensors.index.json");
  }
  return std::make_shared<const TensorSet>(std::make_shared<const SafetensorsFile>(single));
}

void TensorSet::read_index(const std::filesystem::path& directory,
                           const std::filesystem::path& index) {
  const auto shard_of = read_weight_map(index);
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> shards;
  for (const auto& [name, shard] : shard_of) {
    if (shards.contains(shard)) continue;
    try {
      shards[shard] = std::make_shared<const SafetensorsFile>(directory / shard);
    } catch (const std::system_error& problem) {
      throw std::system_error(problem.code(),
                              (directory / shard).string() + ", a shard of " + index.string());
    }
  }
  for (const auto& [name, shard] : shard_of) {
    const auto& tensors = shards[shard]->tensors();
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      throw std::invalid_argument(index.string() + ": tensor " + shown(name) +
                                  ": missing in its shard " + shard);
    }
    tensors_.emplace(name, &found->second);
  }
  for (const auto& [shard, file] : shards) {
    for (const auto& [name, tensor] : file->tensors()) {
      const auto listed = shard_of.find(name);
      if (listed == shard_of.end() || listed->second != shard) {
        throw std::invalid_argument(
            file->name() + ": tensor " + shown(name) + ": the index has it " +
            (listed == shard_of.end() ? "nowhere" : "in " + listed->second) + ", want " + shard);
      }
    }
    files_.push_back(file);
  }
}

const Tensor* TensorSet::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second;
}

const Tensor& TensorSet::at(const std::string& name) const {
  if (const Tensor* tensor = find(name)) return *tensor;
  throw std::invalid_argument("tensor " + shown(name) + ": missing in " + where_);
}

std::vector<std::string> TensorSet::names(const std::string& prefix) const {
  std::vector<std::string> result;
  for (auto at = tensors_.lower_bound(prefix);
       at != tensors_.end() && at->first.starts_with(prefix); ++at) {
    result.push_back(at->first);
  }
  return result;
}
}  // namespace switchyard::runtime
