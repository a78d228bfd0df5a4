// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Golden files: one MoE block with its weights, its input and what the model's own code made of it
/// (format moe-golden/1, described in tests/golden/README.md).
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "experts/tensor.hpp"
#include "experts/weights.hpp"
#include "runtime/model/model.hpp"
#include "runtime/model/safetensors.hpp"

namespace switchyard::runtime {

/// Shapes agree with the metadata, and expert ids are in range; other values are as in the file.
struct GoldenBlock {
  explicit GoldenBlock(Model of) : model(std::move(of)) {}

  std::string name;  ///< of the case
  std::string family;
  std::string path;
  Model model;
  experts::BlockSpec spec;  ///< of the model; without the dense branch where the file has none
  std::shared_ptr<const TensorSet> tensors;
  std::unique_ptr<experts::WeightSource> weights;
  std::int64_t tokens = 0;
  std::int64_t experts = 0;  ///< that the router scores, identity experts included
  std::int64_t top_k = 0;
  experts::Matrix hidden_in;                ///< [tokens, hidden]
  experts::Matrix router_logits;            ///< [tokens, experts]
  experts::Matrix topk_weight;              ///< [tokens, top_k], in the order of topk_idx
  experts::Matrix combine;                  ///< [tokens, experts], zero where not chosen
  experts::Matrix output;                   ///< [tokens, hidden]
  std::vector<std::int64_t> topk_idx;       ///< [tokens, top_k]; order within a row means nothing
  std::vector<std::int64_t> expert_counts;  ///< [experts]
  std::vector<std::vector<int>> duplicate_rows;  ///< groups of tokens that the file says are equal
  std::vector<std::string>
      not_forward;                   ///< of the backward pass and the loss: known, not used here
  std::vector<std::string> unknown;  ///< tensors that mean nothing to us
};

/// @throws std::invalid_argument  naming file and key or tensor: another format, metadata missing
/// or
///                                at odds with the tensors, weights that the family wants and lacks
/// @throws std::system_error      I/O
[[nodiscard]] GoldenBlock read_golden(const std::filesystem::path& path);

/// Golden files of a path, sorted: the file itself, or every .safetensors below a folder but those
/// that are whole and of another kind (shards of checkpoints). A broken one is not skipped.
/// @throws std::system_error      no such path
[[nodiscard]] std::vector<std::filesystem::path> golden_files(const std::filesystem::path& path);

/// Compares packed (MXFP4) experts, as we decode them, with golden.unpacked.*, bit for bit.
/// @return  empty if equal or if the file has none, else where they differ first:
///          "golden.unpacked.down_proj: expert 1, input 3, output 5: bits 0x3f80, want 0x3f00"
[[nodiscard]] std::string check_unpacked(const GoldenBlock& block);
}  // namespace switchyard::runtime
