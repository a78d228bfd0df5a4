// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How experts are packed: the options of every command that runs a checkpoint, and what it says.
#include <memory>
#include <vector>

#include "launch/command.hpp"
#include "runtime/packing/pack_cache.hpp"
#include "runtime/packing/whole_model.hpp"

namespace switchyard::launch {

/// --pack, --pack-cache, --memory-per-rank.
[[nodiscard]] std::vector<Option> pack_options();
/// Bytes: what --memory-per-rank says, else a rank's part of what this machine has.
[[nodiscard]] std::int64_t memory_of(const Options& options);
/// Collective. Null without --pack-cache. @throws comm::CollectiveError  a folder cannot be made
[[nodiscard]] std::shared_ptr<runtime::PackCache> pack_cache_of(Context& context);
/// Decides what a whole model packs ahead, by --pack and what fits. Collective.
/// @throws comm::CollectiveError  some rank has no room
runtime::Packing settle_packing(Context& context, const runtime::Model& model,
                                const runtime::ModelUse& use, runtime::LayerOptions& layer);
/// "packing" of a result.
void put(nlohmann::ordered_json& json, const runtime::PackReport& report);
}  // namespace switchyard::launch
