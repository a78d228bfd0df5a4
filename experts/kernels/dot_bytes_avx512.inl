// SPDX-License-Identifier: Apache-2.0
// The loop over one group of int8 inputs by AVX-512 VNNI, in assembly: GCC 12 copies the sums
// around the intrinsic, and stores half of them every step.
//
// Sums of row r: zmm2r and zmm(2r + 1). vpdpbusd takes one unsigned side: the weights, moved up by
// 128. What that adds to a sum depends on the row alone, and its note takes it off again; all of it
// is exact.
//
// Rows of two planes are words here: a dword of the first plane has inputs 0 and 2 of four, one of
// the second 1 and 3, as weights widen without a shuffle, the first two moved up by 128. Twice the
// products of one plane, like two planes of bytes, and the sums stay in registers between them.
#include "experts/kernels/dot_ahead.inl"

namespace switchyard::experts::dot {
namespace {

inline constexpr unsigned kByteRows = 12;

/// What the loop knows of the rows of a group.
struct alignas(64) ByteGroup {
  Note notes[kByteRows];
  std::int64_t to_words = 0;  ///< from the end of a group of the first plane to the second's
};

/// Adds a group of inputs of kRows rows to `sums`.
/// @tparam kWords  rows of two planes
template <unsigned kRows, bool kWords>
[[gnu::always_inline]] inline void add_bytes(const std::byte* rows, std::int64_t stride,
                                             const std::byte* weights, const std::byte* scales,
                                             const ByteGroup& group, Ahead& ahead, float* sums) {
  const std::byte* x0 = rows;
  const std::byte* x1 = rows + (kRows > 3 ? 3 : 0) * stride;
  const std::byte* x2 = rows + (kRows > 6 ? 6 : 0) * stride;
  const std::byte* x3 = rows + (kRows > 9 ? 9 : 0) * stride;
  std::int64_t count;
  __asm__ volatile(
      ".macro sy_start r, low, high\n"
      ".if \\r < %c[rows]\n"
      "vpbroadcastd %c[offset]+8*\\r(%[group]), %%zmm\\low\n"
      "vmovdqa64 %%zmm\\low, %%zmm\\high\n"
      ".endif\n"
      ".endm\n"
      ".macro sy_end r, low, high\n"
      ".if \\r < %c[rows]\n"
      "vmulps %c[scale]+8*\\r(%[group])%{1to16%}, %%zmm28, %%zmm30\n"
      "vmulps %c[scale]+8*\\r(%[group])%{1to16%}, %%zmm29, %%zmm31\n"
      "vcvtdq2ps %%zmm\\low, %%zmm\\low\n"
      "vcvtdq2ps %%zmm\\high, %%zmm\\high\n"
      "vfmadd213ps 128*\\r(%[sums]), %%zmm30, %%zmm\\low\n"
      "vfmadd213ps 128*\\r+64(%[sums]), %%zmm31, %%zmm\\high\n"
      "vmovaps %%zmm\\low, 128*\\r(%[sums])\n"
      "vmovaps %%zmm\\high, 128*\\r+64(%[sums])\n"
      ".endif\n"
      ".endm\n"
      ".macro sy_row r, low, high, x:vararg\n"
      ".if \\r < %c[rows]\n"
      "vpbroadcastd .Lat_x\\x, %%zmm26\n"
      ".if %c[words]\n"
      "vpdpwssd %%zmm26, %%zmm24, %%zmm\\low\n"
      "vpdpwssd %%zmm26, %%zmm25, %%zmm\\high\n"
      ".else\n"
      "vpdpbusd %%zmm26, %%zmm24, %%zmm\\low\n"
      "vpdpbusd %%zmm26, %%zmm25, %%zmm\\high\n"
      ".endif\n"
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
      // A group of one plane: inputs 0 to 3 of each four, or, of words, 0 and 2, or 1 and 3.
      ".macro sy_plane odd\n"
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
      ".if \\odd\n"
      "vpsraw $8, 32*.Lat_x(%[w]), %%zmm24\n"
      "vpsraw $8, 32*.Lat_x+64(%[w]), %%zmm25\n"
      ".elseif %c[words]\n"
      "vmovdqa64 32*.Lat_x(%[w]), %%zmm24\n"
      "vmovdqa64 32*.Lat_x+64(%[w]), %%zmm25\n"
      "vpternlogd $0x6c, %%zmm28, %%zmm27, %%zmm24\n"  // (weights & mask) ^ 128
      "vpternlogd $0x6c, %%zmm28, %%zmm27, %%zmm25\n"
      ".else\n"
      "vpxord 32*.Lat_x(%[w]), %%zmm27, %%zmm24\n"
      "vpxord 32*.Lat_x+64(%[w]), %%zmm27, %%zmm25\n"
      ".endif\n"
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
      ".endm\n"
      "sy_rows sy_start\n"
      ".if %c[words]\n"
      "mov $0x00800080, %k[count]\n"
      "vpbroadcastd %k[count], %%zmm27\n"
      "vpaddw %%zmm27, %%zmm27, %%zmm28\n"
      "vpternlogd $255, %%zmm29, %%zmm29, %%zmm29\n"
      "vpaddw %%zmm29, %%zmm28, %%zmm28\n"
      ".else\n"
      "mov $0x80808080, %k[count]\n"
      "vpbroadcastd %k[count], %%zmm27\n"
      ".endif\n"
      "sy_plane 0\n"
      ".if %c[words]\n"
      "mov %c[to_words](%[group]), %[count]\n"
      "add %[count], %[x0]\n"
      "add %[count], %[x1]\n"
      "add %[count], %[x2]\n"
      "add %[count], %[x3]\n"
      "add $-4096, %[w]\n"
      "sy_plane 1\n"
      ".endif\n"
      "vmovaps (%[column_scales]), %%zmm28\n"
      "vmovaps 64(%[column_scales]), %%zmm29\n"
      "sy_rows sy_end\n"
      ".purgem sy_start\n"
      ".purgem sy_end\n"
      ".purgem sy_row\n"
      ".purgem sy_rows\n"
      ".purgem sy_plane\n"
      : [x0] "+r"(x0), [x1] "+r"(x1), [x2] "+r"(x2), [x3] "+r"(x3), [w] "+r"(weights),
        [ahead] "+r"(ahead.next), [count] "=&r"(count)
      : [stride] "r"(stride), [step] "r"(ahead.step), [group] "r"(&group), [sums] "r"(sums),
        [column_scales] "r"(scales), [rows] "i"(kRows), [words] "i"(kWords ? 1 : 0),
        [near] "i"(kRows <= kNearRows ? 1 : 0), [offset] "i"(offsetof(Note, offset)),
        [scale] "i"(offsetof(Note, scale)), [to_words] "i"(offsetof(ByteGroup, to_words))
      : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
        "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18",
        "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28",
        "xmm29", "xmm30", "xmm31");
}
}  // namespace
}  // namespace switchyard::experts::dot
