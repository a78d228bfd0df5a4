// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// An expert's network by the kernels of dot.hpp: rows packed row by row, panels cut into runs of
/// inputs, sums kept in memory between runs, and what comes next fetched meanwhile.
#include <cstddef>
#include <cstdint>
#include <span>

#include "experts/kernels/aligned.hpp"
#include "experts/kernels/dot.hpp"
#include "experts/kernels/panel.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts {

/// Where the parts of a packed expert are.
struct ExpertPanels {
  const std::byte* up = nullptr;      ///< gate and up, 16 columns each; or up alone
  const std::byte* linear = nullptr;  ///< trilinear units
  const std::byte* down = nullptr;
  const float* up_bias = nullptr;  ///< [panels, 32], or none
  const float* down_bias = nullptr;
};

/// Parts are those of PackedExpert. The middle is packed rows of bfloat16, or float32 rows where
/// the second product has scales of its own to find.
class DotNetwork {
 public:
  DotNetwork(const ExpertSpec& spec, DType stored, const ExpertPanels& panels,
             const dot::Kernels& dots, const panel::Kernels& kernels, panel::Act act)
      : spec_(spec), stored_(stored), panels_(panels), dots_(dots), kernels_(kernels), act_(act) {}

  /// Bytes of the middle for this many rows, a multiple of 64.
  [[nodiscard]] static std::int64_t middle_bytes(const ExpertSpec& spec, const dot::Kernels& dots,
                                                 std::int64_t num_rows);

  void run(std::span<const float* const> rows, std::span<const float> gates,
           std::span<float* const> results, AlignedBuffer& scratch) const;
  void run_up(std::span<const float* const> rows, std::span<const float> gates,
              std::int64_t first_part, std::int64_t end_part, std::byte* middle,
              AlignedBuffer& scratch) const;
  void run_down(std::int64_t num_rows, const std::byte* middle, std::int64_t first_part,
                std::int64_t end_part, std::span<float* const> results,
                AlignedBuffer& scratch) const;

 private:
  struct Batch;
  struct Pass;
  struct Work;
  /// The middle has far larger values than most of its own: in 8 bits with a scale for 128 of
  /// them it would cost more than everything else together.
  [[nodiscard]] bool two_planes() const { return dots_.element_bytes == 1; }
  [[nodiscard]] std::int64_t notes_stride() const;
  [[nodiscard]] std::int64_t plane_bytes(std::int64_t depth) const;
  [[nodiscard]] std::int64_t packed_bytes(std::int64_t num_rows) const;
  [[nodiscard]] std::int64_t scratch_bytes(std::int64_t num_rows, bool middle_too) const;
  /// For each block of rows calls expect(first row, rows) before its last products, to fetch what
  /// will be written, and finish(first row, rows, sums) once its sums are complete.
  /// sums: [panels][rows of a block][32]
  template <class Expect, class Finish>
  void products(const Batch& batch, const Pass& pass, const Work& work, const Expect& expect,
                const Finish& finish) const;
  void up(const Batch& batch, std::int64_t first_part, std::int64_t end_part, std::byte* middle,
          const std::byte* next) const;
  void down(const Batch& batch, std::int64_t first_part, std::int64_t end_part,
            float* const* results, const std::byte* next) const;
  void pack(Batch& batch, const float* const* rows, const float* gates, std::int64_t depth,
            bool planes) const;
  void take_middle(Batch& batch, const std::byte* middle) const;

  const ExpertSpec& spec_;
  DType stored_;
  ExpertPanels panels_;
  dot::Kernels dots_;
  panel::Kernels kernels_;
  panel::Act act_;
};
}  // namespace switchyard::experts
