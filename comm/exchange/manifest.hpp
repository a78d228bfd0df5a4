// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What one rank sends to another node: every row once, however many ranks there want it, and a
/// manifest that says who wants which. wire.proto specifies its bytes.
#include <cstdint>
#include <span>
#include <vector>

#include "comm/exchange/exchange.hpp"

namespace switchyard::comm {

/// More stages than a rank has experts help nobody, and each costs messages.
inline constexpr int kMaxStages = 16;

/// The rows of one offer for one node.
struct NodeLoad {
  std::vector<std::int64_t> rows;  ///< as Offer::rows, each once, in the order of their stages
  std::vector<std::int64_t> stage_rows;  ///< [stages], how many of them in stages up to each
  std::int64_t results = 0;              ///< that all ranks of the node return together
  std::vector<std::byte> manifest;

  /// @param ranks    of the node, rising
  /// @throws std::invalid_argument  more than 2^31 - 1 results, or bytes of manifest
  /// @param numbers  scratch, kept between calls
  void pack(const Offer& offer, int stages, std::span<const int> ranks,
            std::vector<std::int32_t>& numbers);
};

/// What a manifest says to one rank of the node; its addresses are inside the manifest.
struct ManifestShare {
  std::int32_t rows = 0;
  std::int32_t results = 0;
  std::int32_t note_bytes = 0;
  const std::int32_t* list = nullptr;           ///< [rows], into the rows of the load
  const std::int32_t* stage_results = nullptr;  ///< [stages]
  const std::byte* note = nullptr;
};

struct Manifest {
  const std::int32_t* stage_rows = nullptr;  ///< [stages]
  std::vector<ManifestShare> shares;         ///< [ranks of the node]
};

/// Reads a manifest, whose memory must stay.
/// @param bytes    4-byte aligned
/// @param rows     in the load, as the header says
/// @param results  likewise
/// @throws ProtocolError  "manifest from rank 2: row 9 of rank 1, want 0 to 7"
void read_manifest(std::span<const std::byte> bytes, int from, int stages,
                   std::span<const int> ranks, std::int64_t rows, std::int64_t results,
                   Manifest& manifest);

/// Results of rank r up to each stage, where an offer has no stages of its own: all in the last.
/// Rows: all in the first.
[[nodiscard]] std::int64_t rows_until(const Offer& offer, int stages, int rank, int stage);
[[nodiscard]] std::int64_t results_until(const Offer& offer, int stages, int rank, int stage);
}  // namespace switchyard::comm
