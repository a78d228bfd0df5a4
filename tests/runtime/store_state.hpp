// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A small run's state to be saved and compared, by a formula of names, places and steps.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/checkpoint/store.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace switchyard::store_tests {
using runtime::CheckpointInfo;
using runtime::DataType;
using runtime::Rectangle;
using runtime::SavedPiece;
using runtime::TensorInfo;

struct Held {
  TensorInfo tensor;
  std::vector<std::byte> bytes;
};

inline std::vector<std::byte> made_up_bytes(const TensorInfo& tensor, std::int64_t step) {
  std::uint64_t seed = static_cast<std::uint64_t>(step) * 0x9E3779B97F4A7C15U;
  for (const char c : tensor.name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes()));
  for (std::byte& byte : bytes) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<std::byte>(seed >> 56U);
  }
  return bytes;
}

/// The state after `step`. Experts have [width, 24] elements a matrix; one tensor is saved in
/// parts.
class State {
 public:
  static constexpr int kExperts = 5;
  explicit State(std::int64_t step, std::int64_t width = 40) : step_(step) {
    add({.name = "layer.0.router", .type = DataType::kFloat32, .shape = {5, 24}, .layer = 0});
    for (int e = 0; e < kExperts; ++e) {
      const std::string prefix = "layer.0.expert." + std::to_string(e);
      add({.name = prefix + ".down",
           .type = DataType::kBfloat16,
           .shape = {24, width},
           .layer = 0,
           .expert = e});
      add({.name = prefix + ".gate",
           .type = DataType::kFloat32,
           .shape = {width, 24},
           .layer = 0,
           .expert = e});
    }
    add({.name = "steps", .type = DataType::kInt64, .shape = {}});
    add({.name = "vocabulary", .type = DataType::kFloat16, .shape = {17, 6}});
    add({.name = "empty", .type = DataType::kUint8, .shape = {0, 3}});
    std::ranges::sort(tensors_, {}, [](const Held& held) { return held.tensor.name; });
  }

  [[nodiscard]] const std::vector<Held>& tensors() const { return tensors_; }
  [[nodiscard]] CheckpointInfo info() const {
    CheckpointInfo info;
    info.step = step_;
    info.run_id = "r";
    info.program_version = "0.1.0";
    info.model_name = "small";
    info.model_text = "name: \"small\"";
    info.seed = 7;
    info.counters = {{"routing", 1000U + static_cast<std::uint64_t>(step_)}, {"tokens", 64}};
    info.placement_epoch = 3;
    info.experts_of = {{0, 3}, {1, 2, 4}};
    info.load = {{0, {5, 4, 3, 2, static_cast<std::uint64_t>(step_)}}};
    info.labels = {{"digest", "abc"}};
    return info;
  }

  /// What this rank saves: experts in turns, rows of the vocabulary in parts, the rest on rank 0.
  [[nodiscard]] std::vector<SavedPiece> pieces(const comm::Group& group) const {
    return pieces(group.rank(), group.size());
  }
  [[nodiscard]] std::vector<SavedPiece> all_pieces() const { return pieces(0, 1); }
  [[nodiscard]] std::vector<SavedPiece> pieces(int rank, int ranks) const {
    std::vector<SavedPiece> result;
    for (const Held& held : tensors_) {
      const TensorInfo& tensor = held.tensor;
      if (tensor.name == "vocabulary") {
        const std::int64_t first = tensor.shape[0] * rank / ranks;
        const std::int64_t end = tensor.shape[0] * (rank + 1) / ranks;
        if (first == end) continue;
        const auto row = static_cast<std::size_t>(tensor.shape[1] * bytes_of(tensor.type));
        result.push_back({tensor,
                          {{first, 0}, {end - first, tensor.shape[1]}},
                          std::span(held.bytes)
                              .subspan(static_cast<std::size_t>(first) * row,
                                       static_cast<std::size_t>(end - first) * row)});
        continue;
      }
      const int home = tensor.expert < 0 ? 0 : static_cast<int>(tensor.expert) % ranks;
      if (home != rank || tensor.elements() == 0) continue;
      result.push_back({tensor, Rectangle::whole(tensor), held.bytes});
    }
    return result;
  }

  /// Empty: the checkpoint has exactly this state.
  [[nodiscard]] std::string differences(runtime::StoredCheckpoint& stored) const {
    std::string words;
    for (const Held& held : tensors_) {
      if (held.tensor.elements() == 0) continue;
      const TensorInfo* const found = stored.find(held.tensor.name);
      if (found == nullptr || *found != held.tensor) {
        words += held.tensor.name + " is missing or another; ";
        continue;
      }
      std::vector<std::byte> bytes(held.bytes.size());
      stored.read(held.tensor.name, bytes);
      if (bytes != held.bytes) words += held.tensor.name + " has other bytes; ";
    }
    return words;
  }

 private:
  void add(TensorInfo tensor) {
    auto bytes = made_up_bytes(tensor, step_);
    tensors_.push_back({std::move(tensor), std::move(bytes)});
  }
  std::int64_t step_;
  std::vector<Held> tensors_;
};
}  // namespace switchyard::store_tests
