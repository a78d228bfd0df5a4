// SPDX-License-Identifier: Apache-2.0
// The inner loop for AVX-512, in assembly, in place of inner.inl. Compilers share
// the broadcasts of a row between its two multiply-adds, spill sums, or both; one was 2.5 times
// slower than another with the same source.
//
// Sums of row r: zmm2r and zmm(2r + 1). Weights of an input: zmm28 and zmm29. Two rows in three
// broadcast their value inside the multiply-adds, a load more for an instruction less: a core whose
// other thread is busy issues three instructions a clock, not six.
#include "experts/kernels/layout.inl"

namespace switchyard::experts::panel {
namespace {

/// Adds `rounds` rounds of kSteps steps to sums[r][c]; kFetched lines are fetched in each. With two
/// chains every second input goes to sums of its own, those of row kRows + r, added up at the end.
/// kNear and kFar fetch what this loop itself will read.
template <unsigned kRows, Stored kStored, unsigned kSteps, unsigned kFetched, bool kKeep,
          unsigned kChains, Fetch kFetch = Fetch::kNone>
[[gnu::always_inline]] inline void add_rounds(const float*& x, const std::byte*& panel,
                                              std::uintptr_t& fetch, std::int64_t rounds,
                                              float* sums, float*& wide) {
  constexpr int kStepBytes = Panel<kStored>::kStepBytes;
  constexpr bool kNear = kFetch == Fetch::kNear;
  constexpr int kAhead = kNear ? kNearBytes : kFetch == Fetch::kFar ? kFarBytes : 0;
  constexpr unsigned kInputs = kSteps * Panel<kStored>::kDepth;
  constexpr unsigned kLines = (kFetched + kInputs - 1) / kInputs;  // that follow an input
  __asm__ volatile(
      // .at_x and .at_w: where the input's values and weights are, from the round's beginning.
      ".macro sy_load r, low, high\n"
      ".if \\r < %c[rows]\n"
      "vmovaps 128*\\r(%[sums]), %%zmm\\low\n"
      "vmovaps 128*\\r+64(%[sums]), %%zmm\\high\n"
      ".elseif \\r < %c[chains]*%c[rows]\n"
      "vpxord %%zmm\\low, %%zmm\\low, %%zmm\\low\n"
      "vpxord %%zmm\\high, %%zmm\\high, %%zmm\\high\n"
      ".endif\n"
      ".endm\n"
      ".macro sy_store r, low, high\n"
      ".if \\r < %c[rows]\n"
      "vmovaps %%zmm\\low, 128*\\r(%[sums])\n"
      "vmovaps %%zmm\\high, 128*\\r+64(%[sums])\n"
      ".elseif \\r < %c[chains]*%c[rows]\n"
      "vaddps 128*(\\r-%c[rows])(%[sums]), %%zmm\\low, %%zmm\\low\n"
      "vaddps 128*(\\r-%c[rows])+64(%[sums]), %%zmm\\high, %%zmm\\high\n"
      "vmovaps %%zmm\\low, 128*(\\r-%c[rows])(%[sums])\n"
      "vmovaps %%zmm\\high, 128*(\\r-%c[rows])+64(%[sums])\n"
      ".endif\n"
      ".endm\n"
      ".macro sy_shared r, low, high\n"
      ".if \\r >= .Lchain && \\r < .Lchain+%c[rows]\n"
      "vbroadcastss .Lat_x+4*(\\r-.Lchain)(%[x]), %%zmm30\n"
      "vfmadd231ps %%zmm30, %%zmm28, %%zmm\\low\n"
      "vfmadd231ps %%zmm30, %%zmm29, %%zmm\\high\n"
      ".endif\n"
      ".endm\n"
      ".macro sy_embedded r, low, high\n"
      ".if \\r >= .Lchain && \\r < .Lchain+%c[rows]\n"
      "vfmadd231ps .Lat_x+4*(\\r-.Lchain)(%[x])%{1to16%}, %%zmm28, %%zmm\\low\n"
      "vfmadd231ps .Lat_x+4*(\\r-.Lchain)(%[x])%{1to16%}, %%zmm29, %%zmm\\high\n"
      ".endif\n"
      ".endm\n"
      ".macro sy_input\n"
      ".if %c[keep]\n"
      "vmovaps %%zmm28, .Lat_wide(%[wide])\n"
      "vmovaps %%zmm29, .Lat_wide+64(%[wide])\n"
      ".set .Lat_wide, .Lat_wide+128\n"
      ".endif\n"
      ".rept %c[lines]\n"
      ".if .Lpage < %c[fetched]\n"
      "prefetcht1 4096*.Lpage(%[fetch])\n"
      ".set .Lpage, .Lpage+1\n"
      ".endif\n"
      ".endr\n"
      "sy_shared 0, 0, 1\n"
      "sy_embedded 1, 2, 3\n"
      "sy_embedded 2, 4, 5\n"
      "sy_shared 3, 6, 7\n"
      "sy_embedded 4, 8, 9\n"
      "sy_embedded 5, 10, 11\n"
      "sy_shared 6, 12, 13\n"
      "sy_embedded 7, 14, 15\n"
      "sy_embedded 8, 16, 17\n"
      "sy_shared 9, 18, 19\n"
      "sy_embedded 10, 20, 21\n"
      "sy_embedded 11, 22, 23\n"
      "sy_shared 12, 24, 25\n"
      "sy_embedded 13, 26, 27\n"
      ".set .Lat_x, .Lat_x+4*%c[rows]\n"
      ".if %c[chains] == 2\n"
      ".set .Lchain, %c[rows]-.Lchain\n"
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
      "\\of 12, 24, 25\n"
      "\\of 13, 26, 27\n"
      ".endm\n"
      "sy_rows sy_load\n"
      ".if %c[stored] == 1\n"  // a mask of the upper halves
      "vpternlogd $255, %%zmm31, %%zmm31, %%zmm31\n"
      "vpslld $16, %%zmm31, %%zmm31\n"
      ".endif\n"
      ".p2align 5\n"
      "1:\n"
      ".set .Lat_x, 0\n"
      ".set .Lat_w, 0\n"
      ".set .Lat_wide, 0\n"
      ".set .Lpage, 0\n"
      ".set .Lchain, 0\n"
      ".rept %c[steps]\n"
      ".if %c[stored] == 0\n"
      "vmovaps .Lat_w(%[w]), %%zmm28\n"
      "vmovaps .Lat_w+64(%[w]), %%zmm29\n"
      "sy_input\n"
      ".elseif %c[stored] == 1\n"
      "vpslld $16, .Lat_w(%[w]), %%zmm28\n"
      "vpslld $16, .Lat_w+64(%[w]), %%zmm29\n"
      "sy_input\n"
      "vpandd .Lat_w(%[w]), %%zmm31, %%zmm28\n"
      "vpandd .Lat_w+64(%[w]), %%zmm31, %%zmm29\n"
      "sy_input\n"
      ".else\n"
      "vcvtph2ps .Lat_w(%[w]), %%zmm28\n"
      "vcvtph2ps .Lat_w+32(%[w]), %%zmm29\n"
      "sy_input\n"
      ".endif\n"
      ".if %c[ahead] && %c[near]\n"
      "prefetcht0 .Lat_w+%c[ahead](%[w])\n"
      ".elseif %c[ahead]\n"
      "prefetcht1 .Lat_w+%c[ahead](%[w])\n"
      ".endif\n"
      ".if %c[ahead] && %c[near] && %c[step_bytes] > 64\n"
      "prefetcht0 .Lat_w+%c[ahead]+64(%[w])\n"
      ".elseif %c[ahead] && %c[step_bytes] > 64\n"
      "prefetcht1 .Lat_w+%c[ahead]+64(%[w])\n"
      ".endif\n"
      ".set .Lat_w, .Lat_w+%c[step_bytes]\n"
      ".endr\n"
      "add $.Lat_x, %[x]\n"
      "add $.Lat_w, %[w]\n"
      ".if %c[fetched]\n"
      "add $64, %[fetch]\n"
      ".endif\n"
      ".if %c[keep]\n"
      "add $.Lat_wide, %[wide]\n"
      ".endif\n"
      "dec %[rounds]\n"
      "jnz 1b\n"
      "sy_rows sy_store\n"
      "vzeroupper\n"
      ".purgem sy_load\n"
      ".purgem sy_store\n"
      ".purgem sy_shared\n"
      ".purgem sy_embedded\n"
      ".purgem sy_input\n"
      ".purgem sy_rows\n"
      : [x] "+r"(x), [w] "+r"(panel), [fetch] "+r"(fetch), [rounds] "+r"(rounds), [wide] "+r"(wide)
      : [sums] "r"(sums), [rows] "i"(kRows), [chains] "i"(kChains),
        [stored] "i"(static_cast<int>(kStored)), [fetched] "i"(kFetched), [lines] "i"(kLines),
        [steps] "i"(kSteps), [step_bytes] "i"(kStepBytes), [keep] "i"(kKeep ? 1 : 0),
        [ahead] "i"(kAhead), [near] "i"(kNear ? 1 : 0)
      : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
        "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18",
        "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28",
        "xmm29", "xmm30", "xmm31");
}

/// As in inner.inl.
template <unsigned kRows, Stored kStored, Fetch kFetch, bool kKeep, bool kAnyOrder>
[[gnu::noinline]] void tile(const float* x, const std::byte* panel, std::int64_t steps, bool odd,
                            std::uintptr_t fetch, bool fresh, float* sums, float* wide) {
  using R = Round<kStored, kFetch>;
  constexpr unsigned kChains = kAnyOrder && 2 * kRows <= Simd::kMaxRows ? 2 : 1;
  if (fresh) {
    for (std::int64_t i = 0; i < std::int64_t{kRows} * kColumns; ++i) sums[i] = 0.0F;
  }
  const std::int64_t whole = odd ? steps - 1 : steps;
  const std::int64_t rounds = whole / R::kSteps;
  const std::int64_t rest = whole % R::kSteps;
  if (rounds > 0) {
    add_rounds<kRows, kStored, R::kSteps, R::kFetched, kKeep, kChains, kFetch>(x, panel, fetch,
                                                                               rounds, sums, wide);
  }
  if (rest > 0) {
    add_rounds<kRows, kStored, 1, 0, kKeep, 1>(x, panel, fetch, rest, sums, wide);
  }
  if (odd) {
    alignas(64) float last[2 * kColumns];
    widen<kStored>(panel, 1, last);
    const auto* one = reinterpret_cast<const std::byte*>(last);
    add_rounds<kRows, Stored::kFloat32, 1, 0, kKeep, 1>(x, one, fetch, 1, sums, wide);
  }
}
}  // namespace
}  // namespace switchyard::experts::panel
