// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How packed rows go through the panels of a matrix: which run of inputs, which panels, which rows
/// come next, and what is fetched meanwhile. Part of dot_network.cpp.
#include <algorithm>
#include <array>

#include "experts/kernels/dot_network.hpp"
#include "experts/kernels/dot_packing.hpp"
#include "experts/kernels/pack.hpp"

namespace switchyard::experts {
namespace {

/// Bytes of a run of inputs of a panel: of one that is gone through once; of one that several
/// blocks of rows go through; of that, where the rows come from the third cache.
constexpr std::int64_t kRunBytes = 64 * 1024;
constexpr std::int64_t kSharedRunBytes = 128 * 1024;
/// Panels that share a pass over the rows: few, so that the rows stay in the second cache beside
/// the panels and those that come next; more where the rows come from the third.
constexpr std::int64_t kFewPanels = 2;
constexpr std::int64_t kMostPanels = 8;
constexpr std::int64_t kRowsInCache = 1280 * 1024;

/// Bytes of a panel up to an input that is a multiple of 128.
std::int64_t offset_in_panel(DType stored, std::int64_t input) {
  return panel_stride(input, stored);
}
}  // namespace

/// Rows that go through together, and the room for them.
struct DotNetwork::Batch {
  Batch(const DotNetwork& network, std::int64_t rows, AlignedBuffer& scratch, std::int64_t most)
      : num_rows(rows) {
    sums = scratch.as<float>();
    notes =
        scratch.as<std::byte>() + most * kMostPanels * dot::kColumns * std::int64_t{sizeof(float)};
    room = notes + most * network.notes_stride();
  }
  std::int64_t num_rows;
  float* sums;                   ///< [num_rows rounded up to 16][32 * most panels]
  std::byte* notes;              ///< [num_rows][notes_stride]
  std::byte* room;               ///< for packed rows
  const std::byte* x = nullptr;  ///< rows to be multiplied
  dot::Packing packing;          ///< of x
  std::int64_t second_plane = 0;
};

using Panels = std::array<const std::byte*, kMostPanels>;

/// Products over some panels.
struct DotNetwork::Work {
  std::int64_t depth = 0;
  std::int64_t num_panels = 0;
  Panels panels{};
  Panels later{};  ///< to fetch at the end, or none
};

/// How the panels of a matrix are gone through.
struct DotNetwork::Pass {
  Pass(const DotNetwork& network, const Batch& batch, std::int64_t depth) {
    const dot::Kernels& dots = network.dots_;
    const std::int64_t stride = panel_stride(depth, network.stored_);
    const bool once = batch.num_rows <= dots.rows_a_block;
    const bool many = batch.packing.bytes > kRowsInCache;
    const std::int64_t most = once || many || !dots.tiles ? kRunBytes : kSharedRunBytes;
    const std::int64_t runs = std::max<std::int64_t>(1, stride / most);
    run = dot::round_up((depth + runs - 1) / runs, dot::kGroup);
    run_bytes = offset_in_panel(network.stored_, std::min(run, dot::round_up(depth, dot::kGroup)));
    block_rows = dots.tiles ? dots.rows_a_block : batch.num_rows;
    if (!once) panels = many ? kMostPanels : kFewPanels;
  }
  /// What to fetch of a matrix that begins here, instead of a panel's successor.
  [[nodiscard]] Panels begin(const std::byte* matrix, std::int64_t stride) const {
    Panels made{};
    for (std::size_t i = 0; matrix != nullptr && i < static_cast<std::size_t>(panels); ++i) {
      made[i] = matrix + static_cast<std::int64_t>(i) * std::max(stride, run_bytes);
    }
    return made;
  }
  std::int64_t run = 0;         ///< inputs at a time
  std::int64_t run_bytes = 0;   ///< of a panel
  std::int64_t block_rows = 0;  ///< rows at a time
  std::int64_t panels = 1;      ///< at a time
};

template <class Expect, class Finish>
void DotNetwork::products(const Batch& batch, const Pass& pass, const Work& work,
                          const Expect& expect, const Finish& finish) const {
  const bool kept = pass.run < work.depth;  // sums between runs
  dot::Block b;
  b.layout = batch.packing.layout;
  b.second_plane = batch.second_plane;
  b.notes_stride = notes_stride();
  b.parts = panels_for(batch.num_rows, pass.block_rows);
  for (std::int64_t k = 0; k < work.depth; k += pass.run) {
    const std::int64_t next = k + pass.run;
    const std::int64_t at = offset_in_panel(stored_, k);
    b.depth = std::min(pass.run, work.depth - k);
    b.first = k == 0;
    for (b.part = 0; b.part < b.parts; ++b.part) {
      const std::int64_t first = b.part * pass.block_rows;
      float* sums = batch.sums + (kept ? first * work.num_panels * dot::kColumns : 0);
      b.num_rows = std::min(pass.block_rows, batch.num_rows - first);
      b.rows = batch.x + batch.packing.at(first, k * dots_.element_bytes);
      b.notes = batch.notes + first * b.notes_stride + k / dot::kGroup * dots_.group_note_bytes;
      for (std::int64_t i = 0; i < work.num_panels; ++i) {
        const auto panel = static_cast<std::size_t>(i);
        b.panel = work.panels[panel] + at;
        b.sums = sums + i * pass.block_rows * dot::kColumns;
        if (next < work.depth) {
          const std::int64_t from = offset_in_panel(stored_, next);
          b.fetch = work.panels[panel] + from;
          b.fetch_bytes = offset_in_panel(stored_, std::min(next + pass.run, work.depth)) - from;
        } else {
          b.fetch = work.later[panel];
          b.fetch_bytes = pass.run_bytes;
        }
        dots_.accumulate(b);
        if (i == 0 && next >= work.depth) expect(first, b.num_rows);
      }
      if (next >= work.depth) finish(first, b.num_rows, sums);
    }
  }
}
}  // namespace switchyard::experts
