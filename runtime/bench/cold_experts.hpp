// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// So many packed experts that no cache holds them when they take turns. Private to `bench ffn`.
#include <cstdint>
#include <memory>
#include <vector>

#include "experts/synthetic.hpp"
#include "runtime/bench/ffn.hpp"

namespace switchyard::runtime::bench {

/// What is compared: on private pages; on pages that a node's ranks could share; with additions in
/// any order.
enum class Variant { kPlain, kShared, kFreeOrder };

/// Immutable once made.
class ColdExperts {
 public:
  /// Experts whose weights differ; the others are copies of them, in turn, elsewhere in memory.
  static constexpr std::int64_t kDistinct = 2;

  /// @throws std::bad_alloc, std::system_error  there is not so much memory
  ColdExperts(const FfnSettings& settings, experts::DType stored);

  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] std::int64_t expert_bytes() const { return expert_bytes_; }
  [[nodiscard]] experts::DType stored() const { return stored_; }
  [[nodiscard]] const experts::BlockSpec& block() const { return block_; }
  /// Where the weights of the experts that differ come from.
  [[nodiscard]] experts::SyntheticSource source() const { return {block_, seed_, 0, false, false}; }

  /// The one whose turn it is.
  [[nodiscard]] const experts::PackedExpert& expert(std::int64_t turn, experts::Math math,
                                                    Variant variant) const {
    const auto& set = variant == Variant::kShared      ? shared_views_
                      : variant == Variant::kFreeOrder ? free_views_
                                                       : private_views_;
    return set[static_cast<std::size_t>(math)][static_cast<std::size_t>(turn % count_)];
  }
  /// float32 matrices, if settings.openblas.
  [[nodiscard]] const experts::ExpertTensors& plain(std::int64_t turn) const {
    return plain_[static_cast<std::size_t>(turn) % plain_.size()];
  }

 private:
  using Views = std::vector<experts::PackedExpert>;

  void fill(std::byte* memory);
  void map_shared_pages();
  void copy_plain(std::int64_t count);
  [[nodiscard]] std::vector<Views> views(const std::byte* memory) const;

  experts::BlockSpec block_;
  experts::DType stored_;
  experts::Isa isa_;
  std::uint64_t seed_;
  std::int64_t expert_bytes_;
  std::int64_t count_;
  experts::AlignedBuffer private_;
  std::shared_ptr<void> shared_;      ///< unmaps it
  std::vector<Views> private_views_;  ///< [maths], [count]
  std::vector<Views> shared_views_;   ///< the same, or empty
  std::vector<Views> free_views_;     ///< the same, or empty
  std::vector<experts::ExpertTensors> plain_;
};
}  // namespace switchyard::runtime::bench
