// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What this processor can do at most, to hold kernels against: multiply-adds when nothing has to
/// be loaded, and bytes read when nothing has to be computed. The caller has the clock.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "experts/dtype.hpp"
#include "experts/kernels/aligned.hpp"
#include "experts/kernels/isa.hpp"

namespace switchyard::experts {

/// Bytes of the last cache that the processor tells of; 0 if it does not.
[[nodiscard]] std::int64_t last_cache_bytes();

/// Does independent chains of float32 multiply-adds for about a millisecond, on this thread.
/// @return  operations done, two a multiply-add
[[nodiscard]] double probe_multiply_adds(Isa isa);

/// The same of what the kernels of this math and type use: tiles, or dot products in vectors.
/// Float32 multiply-adds where there are none, or none worth a probe.
[[nodiscard]] double probe_products(Isa isa, Math math, DType stored);
/// What that measures: "float32", "amx-bf16", "avx512-bf16", "amx-int8" or "avx512-vnni".
[[nodiscard]] std::string_view probed_products(Isa isa, Math math, DType stored);

/// Reads memory that no cache holds, on this thread, the fastest way that we know: with a page
/// prefetched ahead, or, where that is slower, the next block of 32 KiB, its eight pages in turns.
class ReadProbe {
 public:
  /// Three times the last cache, 256 MiB at least.
  ReadProbe();
  /// Reads the next part, 32 MiB or so. @return  bytes read
  [[nodiscard]] double read(Isa isa);

 private:
  AlignedBuffer memory_;
  std::size_t next_ = 0;
};
}  // namespace switchyard::experts
