// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The gated network of one expert over the rows that came to it. Rows are read from wherever they
/// lie and results are written to wherever they belong: the transport names both addresses. Weights
/// may lie in memory that others share, and several workers may share the work of one expert.
#include <cstddef>
#include <cstdint>
#include <span>

#include "experts/kernels/aligned.hpp"
#include "experts/kernels/dot.hpp"
#include "experts/kernels/isa.hpp"
#include "experts/kernels/pack.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts {

/// One expert, packed for the kernels: a block of plain bytes (panels and biases, no pointers) and
/// how to run it. Move-only; but for repack() immutable once made, so threads may share it.
class PackedExpert {
 public:
  PackedExpert() = default;
  /// Owns the block, on private huge pages where there are any. The source may go.
  /// @param stored  type of the panels; weights are rounded to it
  /// @throws std::invalid_argument  as pack()
  PackedExpert(const ExpertSpec& spec, const ExpertTensors& tensors, DType stored, Isa isa,
               Math math = Math::kFloat32);
  /// A view of a block that pack() wrote, here or in another process. It has to outlive the view.
  /// @throws std::invalid_argument  memory that is not 64-byte aligned
  PackedExpert(const ExpertSpec& spec, DType stored, const void* memory, Isa isa,
               Math math = Math::kFloat32);

  /// Of where things are in a block. Blocks outlive the program that packed them: whatever changes
  /// a byte of one counts this up.
  static constexpr std::uint32_t kLayoutVersion = 1;

  /// Bytes of the block, a multiple of 64. Neither size nor content depends on the instruction set.
  [[nodiscard]] static std::int64_t packed_bytes(const ExpertSpec& spec, DType stored);
  /// Writes the block.
  /// @param memory  [packed_bytes], 64-byte aligned
  /// @throws std::invalid_argument  a tensor of another shape: "expert: up is [5, 7], want [8, 7]"
  static void pack(const ExpertSpec& spec, const ExpertTensors& tensors, DType stored,
                   void* memory);

  /// What pack() would leave in a block that it wrote before some outputs changed: of the matrices
  /// before the middle those in `up`, of down those in `down`; biases are written as a whole.
  /// Nobody may run the expert meanwhile.
  /// @throws std::invalid_argument  as pack(); tensors of a type with scales
  static void repack(const ExpertSpec& spec, const ExpertTensors& tensors, DType stored, Outputs up,
                     Outputs down, void* memory);
  /// The same in the block that it owns.
  void repack(const ExpertTensors& tensors, Outputs up, Outputs down) {
    repack(spec_, tensors, stored_, up, down, memory_.as<std::byte>());
  }

  /// The type of panels that holds these tensors as they are: theirs, if they have one and its
  /// scales fit panels; else float32.
  [[nodiscard]] static DType own_type(const ExpertTensors& tensors);

  [[nodiscard]] const ExpertSpec& spec() const { return spec_; }
  [[nodiscard]] DType stored() const { return stored_; }
  [[nodiscard]] std::int64_t bytes() const;  ///< packed_bytes; 0 if empty

  /// Float32 products may add in any order from now on, where that is faster: to see what the one
  /// order costs. The bits of a result then depend on the number of rows.
  void add_in_any_order() { any_order_ = true; }
  /// Other kernels for the same type, to compare them: one of all_dots_of.
  void multiply_with(const dot::Kernels& dots) { dots_ = dots; }

  /// results[r] = F(rows[r]), or F(gates[r] * rows[r]) when gates are given, for all r.
  /// The bits of a result depend on its row, its gate and the weights alone.
  /// @param rows     addresses of [hidden] floats
  /// @param gates    empty, or one a row (weight on the input)
  /// @param results  addresses of [hidden] floats; may not overlap rows
  /// @param scratch  grown as needed and reused
  void run(std::span<const float* const> rows, std::span<const float> gates,
           std::span<float* const> results, AlignedBuffer& scratch) const;

  // The same in parts, for workers that share an expert: every part of run_up, by anyone and in any
  // order, and after all of them every part of run_down. The bits are those of run(). All workers
  // have to use the same instruction set and math.

  /// Parts of the middle and of the result: 32 outputs each, the last may have fewer.
  [[nodiscard]] std::int64_t up_parts() const { return (spec_.width + 31) / 32; }
  [[nodiscard]] std::int64_t down_parts() const { return (spec_.hidden + 31) / 32; }
  /// Bytes between the two halves for this many rows, a multiple of 64.
  [[nodiscard]] std::int64_t middle_bytes(std::int64_t num_rows) const;
  /// Leaves the activations of parts [first_part, end_part) in `middle`. Packs its rows itself, so
  /// that many parts at once cost less than one at a time.
  /// @param middle   [middle_bytes(rows.size())], 64-byte aligned; plain bytes, nobody's addresses
  void run_up(std::span<const float* const> rows, std::span<const float> gates,
              std::int64_t first_part, std::int64_t end_part, void* middle,
              AlignedBuffer& scratch) const;
  /// Writes elements [32 first_part, 32 end_part) of every result.
  /// @param num_rows  as run_up had it
  void run_down(std::int64_t num_rows, const void* middle, std::int64_t first_part,
                std::int64_t end_part, std::span<float* const> results,
                AlignedBuffer& scratch) const;

 private:
  [[nodiscard]] const std::byte* block() const {
    return outside_ != nullptr ? outside_ : memory_.as<std::byte>();
  }

  ExpertSpec spec_;
  DType stored_ = DType::kFloat32;
  Isa isa_ = Isa::kPortable;
  dot::Kernels dots_;  ///< none: the panels' own float32 products
  bool any_order_ = false;
  AlignedBuffer memory_;                ///< the block, if it is ours
  const std::byte* outside_ = nullptr;  ///< the block, if it is not
};
}  // namespace switchyard::experts
