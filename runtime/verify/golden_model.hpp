// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// `verify golden` of whole models: a checkpoint folder with a golden.safetensors beside it (format
/// moe-golden-model/1, described in tests/golden/README.md), run from ids to logits and on to
/// greedily chosen tokens.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/transformer/transformer.hpp"
#include "runtime/verify/golden.hpp"

namespace switchyard::runtime {

struct GoldenModel {
  explicit GoldenModel(const std::filesystem::path& folder) : checkpoint(folder) {}

  std::string name;  ///< of the case
  Checkpoint checkpoint;
  std::shared_ptr<const TensorSet> golden;
  std::int64_t sequences = 0;
  std::int64_t length = 0;               ///< tokens of each prompt
  std::int64_t continued = 0;            ///< greedy tokens behind each
  std::vector<std::int64_t> input_ids;   ///< [sequences, length]
  std::vector<std::int64_t> greedy_ids;  ///< [sequences, continued]
  std::int64_t other_files = 0;  ///< tensors of golden_grads.safetensors: of the backward pass
};

/// @throws std::invalid_argument  what is wrong, with the file; std::system_error for I/O
[[nodiscard]] GoldenModel read_golden_model(const std::filesystem::path& folder);

/// Folders of whole models at or below a path, sorted: those with config.json and
/// golden.safetensors.
[[nodiscard]] std::vector<std::filesystem::path> golden_models(const std::filesystem::path& path);

/// Sequence s is at home on rank s modulo ranks; ranks without any enter all the same. Limits of
/// tests/golden/README.md: everything on the way 5e-5 of its root mean square, router logits 1e-5,
/// combine weights 2e-6 x the largest (at least 1), expert sets and greedy ids exact. Prefilled in
/// pieces, another cut for each sequence, the logits must have the bits that they have in one call.
/// Collective; equal on every rank but for the words of a failure on one.
[[nodiscard]] GoldenResult check_golden_model(comm::Group& group, const GoldenModel& golden,
                                              const TransformerOptions& options);
}  // namespace switchyard::runtime
