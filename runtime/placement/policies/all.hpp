// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The policies themselves, each in the file of its name.
#include <optional>

#include "runtime/placement/policies/draft.hpp"
#include "runtime/placement/policies/policy.hpp"

namespace switchyard::runtime {

/// Longest first: experts by falling load, each to the rank with the least that has a slot left.
/// One copy of each. Source: Graham 1969, "Bounds on multiprocessing timing anomalies".
[[nodiscard]] Placement pack_longest_first(const LayerLoad& load, const MachineShape& shape,
                                           const PolicyOptions& options);

/// DeepSeek's expert-parallel load balancer: groups of experts to nodes, copies within a node,
/// copies to ranks. Where the shape does not divide (groups by nodes, ranks by nodes) it is the
/// global one, as published.
/// Source: the README of github.com/deepseek-ai/EPLB.
[[nodiscard]] Placement eplb_hierarchical(const LayerLoad& load, const MachineShape& shape,
                                          const PolicyOptions& options);
/// The same, blind to nodes and groups.
[[nodiscard]] Placement eplb_global(const LayerLoad& load, const MachineShape& shape,
                                    const PolicyOptions& options);

/// Experts that tokens choose together come to the same node (on one node: to the same rank), as
/// far as no rank gets much more than its share: swaps and moves from pack_longest_first, each the
/// one that saves most rows between nodes after deduplication. Without tokens it is
/// pack_longest_first.
[[nodiscard]] Placement keep_together(const LayerLoad& load, const MachineShape& shape,
                                      const PolicyOptions& options);

/// One copy after the other of the expert with most rows a copy, all packed as pack_longest_first
/// does, until the bound (bound.hpp) is near or no slot is left: the fewest copies that do.
[[nodiscard]] Placement copy_busiest(const LayerLoad& load, const MachineShape& shape,
                                     const PolicyOptions& options);

/// linear, and the busiest experts on every rank that has a slot left: as many of them, from the
/// busiest down, as leave the busiest rank with the fewest rows, options.copy_rows added for each.
/// Source: He et al. 2022, "FasterMoE" (PPoPP), section 4.2, with the memory budget instead of a
/// broadcast in every step.
[[nodiscard]] Placement shadow_popular(const LayerLoad& load, const MachineShape& shape,
                                       const PolicyOptions& options);

/// The best of all others, then moves, swaps, new and moved copies of the busiest rank's experts;
/// with tokens, judged by how a plan splits their rows over copies (runtime/layer/plan.hpp).
[[nodiscard]] Placement search_best(const LayerLoad& load, const MachineShape& shape,
                                    const PolicyOptions& options);
}  // namespace switchyard::runtime
