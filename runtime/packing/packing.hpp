// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which experts of a rank are packed ahead and which when a step needs them: what fits into memory
/// decides, before anything is loaded.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/group/group.hpp"
#include "experts/dtype.hpp"

namespace switchyard::runtime {
class PackCache;

/// kAuto: all ahead where they fit, else as many as fit.
enum class PackMode { kAuto, kEager, kLazy };
[[nodiscard]] std::string_view name_of(PackMode mode);
[[nodiscard]] std::vector<PackMode> pack_modes();
/// @throws std::invalid_argument  listing them
[[nodiscard]] PackMode pack_mode_from(std::string_view name);

/// Bytes for experts that may still be packed ahead on this rank.
class PackBudget {
 public:
  explicit PackBudget(std::int64_t bytes) : left_(bytes) {}
  /// Takes them if there are as many.
  [[nodiscard]] bool take(std::int64_t bytes) {
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }

 private:
  std::int64_t left_;
};

/// What one rank fills, in bytes.
struct RankMemory {
  std::int64_t experts = 0;  ///< all of its routed ones, packed
  std::int64_t expert = 0;   ///< one of them
  std::int64_t rest = 0;     ///< whatever else it cannot do without
};

/// What the decision is made from.
struct PackRequest {
  PackMode mode = PackMode::kAuto;
  bool cached = false;      ///< experts are mapped from files: nobody has to make room for them
  bool made_up = false;     ///< of synthetic weights, which kAuto does not make again every step
  std::int64_t memory = 0;  ///< bytes that this rank may fill; 0: not known
  int threads = 1;          ///< each needs room for an expert of its own
  int rank = 0;
  int ranks = 1;
  experts::DType stored = experts::DType::kFloat32;
  /// Of the fullest rank (of `rank`, as things are) for another type or number of ranks.
  std::function<RankMemory(experts::DType stored, int ranks)> need;
  std::string otherwise = {};  ///< more that would help: "fewer --layers"
};

/// Bytes of experts that may be packed ahead; none: all of them are.
/// @throws std::invalid_argument  "memory: rank 0 needs 9.1 GiB (...), has 7.8 GiB: want ...", with
///                                the nearest choices that fit
[[nodiscard]] std::optional<std::int64_t> packed_ahead(const PackRequest& request);

/// What all ranks decided.
struct Packing {
  bool as_needed = false;             ///< on some rank, so that no rank shares its experts
  std::optional<std::int64_t> ahead;  ///< bytes, of this rank
  std::int64_t experts_bytes = 0;     ///< packed, of this rank
};
/// @throws comm::CollectiveError  on every rank, if one has no room
[[nodiscard]] Packing decide_packing(comm::Group& group, const PackRequest& request);
/// What rank 0 says of it before it loads.
[[nodiscard]] std::string describe(const Packing& packing);

/// What layers have of it on one rank.
struct PackStats {
  std::int64_t experts = 0;    ///< of this rank, in all layers
  std::int64_t as_needed = 0;  ///< of these, packed when a task needs them
  double seconds = 0;          ///< that packing them took
  PackStats& operator+=(const PackStats& other);
};
/// The same of all ranks.
struct PackReport {
  std::int64_t experts = 0;
  std::int64_t as_needed = 0;
  std::int64_t read = 0;     ///< that were in the cache
  std::int64_t written = 0;  ///< to the cache
  bool cached = false;
  double seconds = 0;   ///< that packing as needed took, slowest rank
  double slowdown = 1;  ///< the time of the steps over what they would have taken without it
};
/// Collective. @param steps_s  of the steps that the stats count, slowest rank
[[nodiscard]] PackReport report_packing(comm::Group& group, const PackStats& stats,
                                        const PackCache* cache, double steps_s);
/// "57 of 64 experts packed as needed, 41.3 % of the time: 1.70 times as long as packed ahead";
/// empty: all were packed ahead, and nowhere kept.
[[nodiscard]] std::string describe(const PackReport& report);

/// "7.8 GiB"
[[nodiscard]] std::string gibibytes(std::int64_t bytes);
}  // namespace switchyard::runtime
