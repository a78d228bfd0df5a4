// SPDX-License-Identifier: Apache-2.0
// Float32 products of widened weights for dot_rows.inl, for any processor.
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

struct Chain {
  const float* wide;  ///< [depth][32]
  std::int64_t depth;

  template <unsigned kRows>
  void run(const Block& b, std::int64_t row, std::int64_t first_input, bool first) const {
    static_assert(kRows == 1);
    const auto* x =
        reinterpret_cast<const float*>(b.rows + row * b.layout.row_stride) + first_input;
    float* sums = b.sums + row * kColumns;
    for (std::int64_t c = 0; c < kColumns; ++c) {
      float sum = first ? 0.0F : sums[c];
      for (std::int64_t k = 0; k < depth; ++k) {
        sum = __builtin_fmaf(wide[k * kColumns + c], x[k], sum);
      }
      sums[c] = sum;
    }
  }
};
}  // namespace
}  // namespace switchyard::experts::dot
