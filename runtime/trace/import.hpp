// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Routing that other programs have written down, as traces.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/trace/trace.hpp"

namespace switchyard::runtime {

/// What a format does not say.
struct ImportSettings {
  std::int64_t experts = 0;  ///< 0: the highest that was chosen, and one
  std::int64_t top_k = 0;    ///< 0: as the file says
  std::string model;         ///< empty: not known
};

/// Megatron-Core's --moe-routing-trace-path: lines of JSON, a file a rank, {step, layer, rank,
/// num_tokens, topk, top_indices: [[...]]}. Tokens of a step stand by rank, then as they came; no
/// rank is kept. Read twice; a step's layer is in memory at a time. Written to `output`.
/// @throws std::invalid_argument  "FILE:3: topk, got 4, want 8 as in the lines before"
/// @throws std::system_error      a file that cannot be read, or written
void import_megatron(const std::vector<std::string>& files, const ImportSettings& settings,
                     const std::string& output);

/// SGLang's expert distribution recorder, and what its EPLB begins with: {"logical_count":
/// [steps][layers][experts]}, or without steps, or the array alone. Counts only.
/// @param settings  top_k is needed: tokens are slots over top_k
[[nodiscard]] RoutingTrace import_sglang(const std::string& text, const std::string& where,
                                         const ImportSettings& settings);
}  // namespace switchyard::runtime
