// SPDX-License-Identifier: Apache-2.0
// The loop over one group of int8 inputs by AVX-512 VNNI, in assembly: GCC 12 copies the sums
// around the intrinsic, and stores half of them every step.
//
// Sums of row r: zmm2r and zmm(2r + 1). vpdpbusd takes one unsigned side: the weights, moved up by
// 128. What that adds to a sum depends on the row alone, and its note takes it off again; all of it
// is exact.
#include "experts/kernels/dot_ahead.inl"

namespace switchyard::experts::dot {
namespace {

inline constexpr unsigned kByteRows = 12;

/// What the loop keeps of the rows of a group.
struct alignas(64) ByteGroup {
  std::int32_t products[kByteRows * kColumns];  ///< of the first plane of two
  std::int32_t offsets[16];                     ///< of notes
  float scales[16];
};

/// @tparam kSecond  the second plane: 254 times the products come before
/// @tparam kLast    the last plane: the sums go through the scales to `sums`
template <unsigned kRows, bool kSecond, bool kLast>
[[gnu::always_inline]] inline void add_bytes(const std::byte* rows, std::int64_t stride,
                                             const std::byte* weights, const std::byte* scales,
                                             ByteGroup& group, Ahead& ahead, float* sums) {
  const std::byte* x0 = rows;
  const std::byte* x1 = rows + (kRows > 3 ? 3 : 0) * stride;
  const std::byte* x2 = rows + (kRows > 6 ? 6 : 0) * stride;
  const std::byte* x3 = rows + (kRows > 9 ? 9 : 0) * stride;
  std::int64_t count;
  static_assert(kPlaneRadix == 256 - 2);
  __asm__ volatile(
      ".macro sy_start r, low, high\n"
      ".if \\r < %c[rows]\n"
      ".if %c[last]\n"
      "vpbroadcastd %c[offsets]+4*\\r(%[group]), %%zmm\\low\n"
      ".else\n"
      "vpxord %%zmm\\low, %%zmm\\low, %%zmm\\low\n"
      ".endif\n"
      "vmovdqa64 %%zmm\\low, %%zmm\\high\n"
      ".if %c[second]\n"
      "vmovdqa64 128*\\r(%[group]), %%zmm28\n"
      "vmovdqa64 128*\\r+64(%[group]), %%zmm29\n"
      "vpslld $8, %%zmm28, %%zmm30\n"
      "vpslld $8, %%zmm29, %%zmm31\n"
      "vpaddd %%zmm28, %%zmm28, %%zmm28\n"
      "vpaddd %%zmm29, %%zmm29, %%zmm29\n"
      "vpsubd %%zmm28, %%zmm30, %%zmm28\n"
      "vpsubd %%zmm29, %%zmm31, %%zmm29\n"
      "vpaddd %%zmm28, %%zmm\\low, %%zmm\\low\n"
      "vpaddd %%zmm29, %%zmm\\high, %%zmm\\high\n"
      ".endif\n"
      ".endif\n"
      ".endm\n"
      ".macro sy_end r, low, high\n"
      ".if \\r < %c[rows]\n"
      ".if %c[last]\n"
      "vmulps %c[scales]+4*\\r(%[group])%{1to16%}, %%zmm28, %%zmm30\n"
      "vmulps %c[scales]+4*\\r(%[group])%{1to16%}, %%zmm29, %%zmm31\n"
      "vcvtdq2ps %%zmm\\low, %%zmm\\low\n"
      "vcvtdq2ps %%zmm\\high, %%zmm\\high\n"
      "vfmadd213ps 128*\\r(%[sums]), %%zmm30, %%zmm\\low\n"
      "vfmadd213ps 128*\\r+64(%[sums]), %%zmm31, %%zmm\\high\n"
      "vmovaps %%zmm\\low, 128*\\r(%[sums])\n"
      "vmovaps %%zmm\\high, 128*\\r+64(%[sums])\n"
      ".else\n"
      "vmovdqa64 %%zmm\\low, 128*\\r(%[group])\n"
      "vmovdqa64 %%zmm\\high, 128*\\r+64(%[group])\n"
      ".endif\n"
      ".endif\n"
      ".endm\n"
      ".macro sy_row r, low, high, x:vararg\n"
      ".if \\r < %c[rows]\n"
      "vpbroadcastd .Lat_x\\x, %%zmm26\n"
      "vpdpbusd %%zmm26, %%zmm24, %%zmm\\low\n"
      "vpdpbusd %%zmm26, %%zmm25, %%zmm\\high\n"
      ".endif\n"
      ".endm\n"
      ".macro sy_rows of\n"
      "\\of 0, 0, 1\n"
      "\\of 1, 2, 3\n"
      "\\of 2, 4, 5\n"
      "\\of 3, 6, 7\n"
      "\\of 4, 8, 9\n"
      "\\of 5, 10, 11\n"
      "\\of 6, 12, 13\n"
      "\\of 7, 14, 15\n"
      "\\of 8, 16, 17\n"
      "\\of 9, 18, 19\n"
      "\\of 10, 20, 21\n"
      "\\of 11, 22, 23\n"
      ".endm\n"
      "sy_rows sy_start\n"
      "mov $0x80808080, %k[count]\n"
      "vpbroadcastd %k[count], %%zmm27\n"
      "mov $8, %k[count]\n"
      ".p2align 5\n"
      "1:\n"
      ".set .Lat_x, 0\n"
      ".rept 4\n"
      ".if %c[near]\n"
      "prefetcht0 (%[ahead])\n"
      "prefetcht0 64(%[ahead])\n"
      ".else\n"
      "prefetcht1 (%[ahead])\n"
      "prefetcht1 64(%[ahead])\n"
      ".endif\n"
      "add %[step], %[ahead]\n"
      "vpxord 32*.Lat_x(%[w]), %%zmm27, %%zmm24\n"
      "vpxord 32*.Lat_x+64(%[w]), %%zmm27, %%zmm25\n"
      "sy_row 0, 0, 1, (%[x0])\n"
      "sy_row 1, 2, 3, (%[x0],%[stride])\n"
      "sy_row 2, 4, 5, (%[x0],%[stride],2)\n"
      "sy_row 3, 6, 7, (%[x1])\n"
      "sy_row 4, 8, 9, (%[x1],%[stride])\n"
      "sy_row 5, 10, 11, (%[x1],%[stride],2)\n"
      "sy_row 6, 12, 13, (%[x2])\n"
      "sy_row 7, 14, 15, (%[x2],%[stride])\n"
      "sy_row 8, 16, 17, (%[x2],%[stride],2)\n"
      "sy_row 9, 18, 19, (%[x3])\n"
      "sy_row 10, 20, 21, (%[x3],%[stride])\n"
      "sy_row 11, 22, 23, (%[x3],%[stride],2)\n"
      ".set .Lat_x, .Lat_x+4\n"
      ".endr\n"
      "add $16, %[x0]\n"
      "add $16, %[x1]\n"
      "add $16, %[x2]\n"
      "add $16, %[x3]\n"
      "add $512, %[w]\n"
      "dec %[count]\n"
      "jnz 1b\n"
      ".if %c[last]\n"
      "vmovaps (%[column_scales]), %%zmm28\n"
      "vmovaps 64(%[column_scales]), %%zmm29\n"
      ".endif\n"
      "sy_rows sy_end\n"
      ".purgem sy_start\n"
      ".purgem sy_end\n"
      ".purgem sy_row\n"
      ".purgem sy_rows\n"
      : [x0] "+r"(x0), [x1] "+r"(x1), [x2] "+r"(x2), [x3] "+r"(x3), [w] "+r"(weights),
        [ahead] "+r"(ahead.next), [count] "=&r"(count)
      : [stride] "r"(stride), [step] "r"(ahead.step), [group] "r"(&group), [sums] "r"(sums),
        [column_scales] "r"(scales), [rows] "i"(kRows), [second] "i"(kSecond ? 1 : 0),
        [last] "i"(kLast ? 1 : 0), [near] "i"(kRows <= kNearRows ? 1 : 0),
        [offsets] "i"(offsetof(ByteGroup, offsets)), [scales] "i"(offsetof(ByteGroup, scales))
      : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
        "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18",
        "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28",
        "xmm29", "xmm30", "xmm31");
}
}  // namespace
}  // namespace switchyard::experts::dot
