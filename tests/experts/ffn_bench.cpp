// SPDX-License-Identifier: Apache-2.0
// What the fixed order of addition costs and what the panels gain: one expert of OLMoE through our
// kernels, through sgemm (free order) and through sgemv row by row, taking turns in one process
// with a probe of the memory and one of the arithmetic. Not a test; run by hand: ffn_bench
// [ROUNDS]. Times are thread CPU time, so that a busy machine costs precision and not the result.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <sys/resource.h>
#include <vector>

#include "experts/blas.hpp"
#include "experts/ffn.hpp"
#include "experts/synthetic.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {
using namespace switchyard::experts;  // NOLINT(google-build-using-namespace): a program of its own

constexpr std::int64_t kHidden = 2048;
constexpr std::int64_t kWidth = 1024;
constexpr std::size_t kPlainExperts = 16;  // 400 MB of float32, so that no cache holds them

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

#if defined(__x86_64__)
/// 24 independent chains: what the arithmetic can do when nothing has to be loaded.
[[gnu::target("avx512f"), gnu::noinline]] double multiply_adds_avx512(std::int64_t count,
                                                                      const volatile float& by) {
  __m512 sums[24];
  for (__m512& sum : sums) sum = _mm512_set1_ps(1.0F);
  const __m512 factor = _mm512_set1_ps(by);
  for (std::int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 24
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, factor);
  }
  for (int i = 1; i < 24; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  float lanes[16];
  _mm512_storeu_ps(lanes, sums[0]);
  return static_cast<double>(lanes[0]);
}
/// Four streams a quarter of the block apart, prefetched: the fastest way to read that we know.
[[gnu::target("avx512f"), gnu::noinline]] double read_avx512(const std::byte* data,
                                                             std::size_t bytes) {
  const std::size_t quarter = bytes / 4;
  __m512i sums[8];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (std::size_t at = 0; at + 128 <= quarter; at += 128) {
#pragma GCC unroll 8
    for (std::size_t line = 0; line < 8; ++line) {
      const std::byte* p = data + line / 2 * quarter + at + line % 2 * 64;
      _mm_prefetch(reinterpret_cast<const char*>(p + 2048), _MM_HINT_T0);
      sums[line] = _mm512_xor_si512(sums[line], _mm512_load_si512(p));
    }
  }
  for (std::size_t i = 1; i < 8; ++i) sums[0] = _mm512_xor_si512(sums[0], sums[i]);
  std::int64_t lanes[8];
  _mm512_storeu_si512(lanes, sums[0]);
  return static_cast<double>(lanes[0]);
}
#endif

struct Machine {
  std::vector<double> flops;  ///< per second
  std::vector<double> bytes;  ///< per second, from memory
};

void probe(Machine& machine, const AlignedBuffer& memory) {
#if defined(__x86_64__)
  constexpr std::int64_t kSteps = 200'000;
  const volatile float by = 0.999F;  // volatile: or the probe is moved out of its timing
  volatile double sink = 0;
  double start = cpu_seconds();
  sink = multiply_adds_avx512(kSteps, by);
  machine.flops.push_back(kSteps * 24 * 16 * 2 / (cpu_seconds() - start));
  start = cpu_seconds();
  sink = read_avx512(memory.as<std::byte>(), memory.size());
  machine.bytes.push_back(static_cast<double>(memory.size()) / (cpu_seconds() - start));
  static_cast<void>(sink);
#else
  static_cast<void>(machine);
  static_cast<void>(memory);
#endif
}

struct Candidate {
  std::string name;
  double weight_bytes;
  std::function<void(std::size_t turn)> run;
  std::vector<double> seconds;
};
}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 9;
  if (best_isa() != Isa::kAvx512) {
    std::fprintf(stderr, "ffn_bench: the probes need avx512\n");
    return 2;
  }
  blas::use_one_thread();
  BlockSpec block;
  block.router.hidden = kHidden;
  block.router.experts = kPlainExperts;
  block.router.top_k = 1;
  block.expert = {Unit::kGated, Activation::kSilu, kHidden, kWidth};
  SyntheticSource source(block, 1, 0, false, false);
  std::vector<ExpertTensors> plain;
  std::vector<PackedExpert> wide;
  std::vector<PackedExpert> narrow;
  for (std::size_t e = 0; e < kPlainExperts; ++e) {
    plain.push_back(source.expert(static_cast<std::int64_t>(e)));
    wide.emplace_back(block.expert, plain.back(), DType::kFloat32, best_isa());
    for (int copy = 0; copy < 2; ++copy) {
      narrow.emplace_back(block.expert, plain.back(), DType::kBfloat16, best_isa());
    }
  }
  AlignedBuffer memory(std::size_t{256} << 20U);  // more than the last cache
  std::fill_n(memory.as<std::byte>(), memory.size(), std::byte{1});

  std::printf("%s; OLMoE expert %lld x %lld, one thread, cold weights, median of %d\n\n",
              blas::description().c_str(), static_cast<long long>(kHidden),
              static_cast<long long>(kWidth), rounds);
  std::printf(
      "| rows | kernel | us | GFLOP/s | weights GB/s | of roofline | ours float32 is faster |\n");
  std::printf("|---|---|---|---|---|---|---|\n");
  std::vector<double> all_flops;
  std::vector<double> all_bytes;
  for (const std::int64_t m : {1, 2, 4, 8, 16, 64, 256}) {
    Matrix rows(m, kHidden);
    Matrix results(m, kHidden);
    fill_tokens(1, 0, 0, rows.view());
    std::vector<const float*> from;
    std::vector<float*> to;
    for (std::int64_t r = 0; r < m; ++r) {
      from.push_back(rows.row(r).data());
      to.push_back(results.row(r).data());
    }
    AlignedBuffer scratch;
    const double size = 3.0 * kHidden * kWidth;
    std::vector<Candidate> candidates;
    candidates.push_back(
        {"ours float32",
         4 * size,
         [&](std::size_t turn) { wide[turn % wide.size()].run(from, {}, to, scratch); },
         {}});
    candidates.push_back(
        {"ours bfloat16",
         2 * size,
         [&](std::size_t turn) { narrow[turn % narrow.size()].run(from, {}, to, scratch); },
         {}});
    candidates.push_back({"sgemm",
                          4 * size,
                          [&](std::size_t turn) {
                            blas::run_gemm(block.expert, plain[turn % plain.size()], rows.view(),
                                           results.view(), scratch);
                          },
                          {}});
    candidates.push_back({"sgemv by row",
                          4 * size,
                          [&](std::size_t turn) {
                            blas::run_gemv(block.expert,
                                           plain[(turn + plain.size() / 2) % plain.size()],
                                           rows.view(), results.view(), scratch);
                          },
                          {}});
    Machine machine;
    std::size_t turn = 0;
    for (int round = -1; round < rounds; ++round) {  // round -1 warms up
      if (round >= 0) probe(machine, memory);
      for (Candidate& candidate : candidates) {
        const double start = cpu_seconds();
        candidate.run(turn);
        if (round >= 0) candidate.seconds.push_back(cpu_seconds() - start);
      }
      ++turn;
    }
    const double flops = median(machine.flops);
    const double bytes = median(machine.bytes);
    all_flops.insert(all_flops.end(), machine.flops.begin(), machine.flops.end());
    all_bytes.insert(all_bytes.end(), machine.bytes.begin(), machine.bytes.end());
    for (const Candidate& candidate : candidates) {
      const double seconds = median(candidate.seconds);
      const double work = 2 * size * static_cast<double>(m);
      const double roofline = std::max(work / flops, candidate.weight_bytes / bytes);
      std::vector<double> ratios;
      for (std::size_t i = 0; i < candidate.seconds.size(); ++i) {
        ratios.push_back(candidate.seconds[i] / candidates[0].seconds[i]);
      }
      std::printf("| %lld | %s | %.0f | %.1f | %.1f | %.0f %% | %.2f |\n",
                  static_cast<long long>(m), candidate.name.c_str(), 1e6 * seconds,
                  1e-9 * work / seconds, 1e-9 * candidate.weight_bytes / seconds,
                  100 * roofline / seconds, median(ratios));
    }
    std::fflush(stdout);
  }
  std::printf("\nprobes, medians: %.1f GFLOP/s of multiply-adds, %.1f GB/s read\n",
              1e-9 * median(all_flops), 1e-9 * median(all_bytes));
  return 0;
}
