// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The memory of a whole model on a rank, for the decision what of it is packed ahead.
#include <cstdint>

#include "comm/group/group.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/model/model.hpp"
#include "runtime/packing/packing.hpp"

namespace switchyard::runtime {

/// What the fullest rank will be asked for.
struct ModelUse {
  std::int64_t sequences = 1;  ///< that are remembered at once
  std::int64_t context = 0;    ///< tokens of each
  std::int64_t tokens = 0;     ///< of its own in the largest pass
  bool made_up = false;        ///< weights are synthetic: there is no file to map
};

/// Experts by their placement over equal ranks; `rest` is everything else that the rank packs or
/// keeps, caches and rows of a step included. An embedding stays in its file, if it has one.
[[nodiscard]] RankMemory model_memory(const Model& model, experts::DType stored, int ranks,
                                      const ModelUse& use);

/// Decides what is packed ahead and puts it into the options. Collective.
/// @param memory  bytes that this rank may fill; 0: not known
/// @throws comm::CollectiveError  on every rank: some rank has no room
[[nodiscard]] Packing settle_packing(comm::Group& group, const Model& model, const ModelUse& use,
                                     PackMode mode, std::int64_t memory, LayerOptions& options);
}  // namespace switchyard::runtime
