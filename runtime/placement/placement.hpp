// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which rank holds a copy of which logical expert. Changes no bit of any result.
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

/// Whether an expert may have no host: one that was lost with its rank.
enum class Hosts { kAtLeastOne, kAny };

/// Stands for all layers where a layer's number is wanted.
inline constexpr std::int64_t kEveryLayer = -1;

/// Immutable once made; every expert has at least one host, unless it was made otherwise.
class Placement {
 public:
  /// Consecutive blocks, the first (experts mod ranks) ranks hold one more. Ranks beyond the number
  /// of experts are idle.
  [[nodiscard]] static Placement linear(std::int64_t experts, int ranks);
  /// Expert e on rank e mod ranks.
  [[nodiscard]] static Placement round_robin(std::int64_t experts, int ranks);
  /// @param experts_of  [ranks], logical ids
  /// @throws std::invalid_argument  "placement: expert 9 on rank 1, want 0 to 7"; an expert without
  ///         a host, or twice on a rank
  [[nodiscard]] static Placement from_lists(std::vector<std::vector<std::int32_t>> experts_of,
                                            std::int64_t experts, Hosts hosts = Hosts::kAtLeastOne);
  /// A placement.proto in text format. @throws std::invalid_argument with file, line and column
  /// @param layer  its number in the model
  [[nodiscard]] static Placement from_file(const std::filesystem::path& file, std::int64_t experts,
                                           int ranks, std::int64_t layer = kEveryLayer);
  /// "linear", "round-robin" or a file that exists.
  [[nodiscard]] static Placement from_name(const std::string& name, std::int64_t experts, int ranks,
                                           std::int64_t layer = kEveryLayer);
  /// Whether that is a file in which layers have placements of their own.
  [[nodiscard]] static bool layered(const std::string& name);
  /// Ranks that a file is for. @throws std::invalid_argument  as from_file; none, or layers differ
  [[nodiscard]] static int ranks_in(const std::string& file);

  [[nodiscard]] int ranks() const { return static_cast<int>(experts_of_.size()); }
  [[nodiscard]] std::int64_t experts() const { return static_cast<std::int64_t>(hosts_of_.size()); }
  /// Logical ids on a rank, ascending.
  [[nodiscard]] std::span<const std::int32_t> experts_of(int rank) const {
    return experts_of_[static_cast<std::size_t>(rank)];
  }
  /// Ranks with a copy, ascending; none of one that was lost.
  [[nodiscard]] std::span<const std::int32_t> hosts_of(std::int32_t expert) const {
    return hosts_of_[static_cast<std::size_t>(expert)];
  }
  /// Experts without a host, ascending.
  [[nodiscard]] std::span<const std::int32_t> lost() const { return lost_; }
  /// Ranks that hold no expert.
  [[nodiscard]] int idle_ranks() const;

  [[nodiscard]] bool operator==(const Placement& other) const = default;

 private:
  Placement(std::vector<std::vector<std::int32_t>> experts_of, std::int64_t experts,
            Hosts hosts = Hosts::kAtLeastOne);
  std::vector<std::vector<std::int32_t>> experts_of_;
  std::vector<std::vector<std::int32_t>> hosts_of_;
  std::vector<std::int32_t> lost_;
};

/// One layer's placement, in a file of several.
struct LayerPlacement {
  std::int64_t layer = kEveryLayer;
  Placement placement;
};

/// What from_file reads back: a file's text.
[[nodiscard]] std::string to_text(std::span<const LayerPlacement> placements);
}  // namespace switchyard::runtime
