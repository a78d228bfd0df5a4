// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The gated network of one expert over the rows that came to it. Rows are read from wherever they
/// lie and results are written to wherever they belong: the transport names both addresses.
#include <cstdint>
#include <span>

#include "experts/kernels/aligned.hpp"
#include "experts/kernels/isa.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts {

/// One expert, packed for the kernels. Move-only; immutable once made, so threads may share it.
class PackedExpert {
 public:
  PackedExpert() = default;
  /// Copies (packs) the weights; the source may go.
  /// @param stored  type of the panels; float32 weights are rounded when it is bfloat16
  /// @throws std::invalid_argument  a tensor of another shape: "expert: up is [5, 7], want [8, 7]"
  PackedExpert(const ExpertSpec& spec, const ExpertTensors& tensors, DType stored, Isa isa);

  [[nodiscard]] const ExpertSpec& spec() const { return spec_; }
  [[nodiscard]] std::int64_t bytes() const;

  /// results[r] = F(rows[r]), or F(gates[r] * rows[r]) when gates are given, for all r.
  /// The bits of a result depend on its row, its gate and the weights alone.
  /// @param rows     addresses of [hidden] floats
  /// @param gates    empty, or one a row (weight on the input)
  /// @param results  addresses of [hidden] floats; may not overlap rows
  /// @param scratch  grown as needed and reused
  void run(std::span<const float* const> rows, std::span<const float> gates,
           std::span<float* const> results, AlignedBuffer& scratch) const;

 private:
  ExpertSpec spec_;
  DType stored_ = DType::kFloat32;
  Isa isa_ = Isa::kPortable;
  AlignedBuffer up_panels_;  ///< gate, up (and linear) interleaved
  AlignedBuffer down_panels_;
  AlignedBuffer biases_;
};
}  // namespace switchyard::experts
