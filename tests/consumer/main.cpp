// SPDX-License-Identifier: Apache-2.0
// Somebody else's program: its own MPI_Init, its own communicators (two halves of the world, at the
// same time), its own weights in its own memory, its own routing, two layers taking turns.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <mpi.h>
#include <stdexcept>
#include <unistd.h>
#include <vector>

#include "comm/group/mpi_group.hpp"
#include "experts/span_source.hpp"
#include "runtime/layer/moe_layer.hpp"

namespace {
using switchyard::experts::Matrix;

constexpr std::int64_t kHidden = 24;
constexpr std::int64_t kWidth = 20;
constexpr std::int64_t kExperts = 6;
constexpr std::int64_t kTokens = 5;

/// Any numbers will do, as long as everybody makes the same ones.
std::vector<float> numbers(std::int64_t count, int seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = 0.2F * std::sin(static_cast<float>(seed) + 0.37F * static_cast<float>(i));
  }
  return values;
}

struct Weights {
  std::vector<float> router = numbers(kExperts * kHidden, 1);
  std::vector<std::vector<float>> gate, up, down;
  explicit Weights(int seed) {
    for (int e = 0; e < kExperts; ++e) {
      gate.push_back(numbers(kWidth * kHidden, seed + 3 * e));
      up.push_back(numbers(kWidth * kHidden, seed + 3 * e + 1));
      down.push_back(numbers(kHidden * kWidth, seed + 3 * e + 2));
    }
  }
  /// The same expert in plain loops.
  std::vector<double> apply(std::size_t e, std::span<const float> x) const {
    std::vector<double> y(kHidden, 0.0);
    for (std::int64_t w = 0; w < kWidth; ++w) {
      double g = 0;
      double u = 0;
      for (std::int64_t h = 0; h < kHidden; ++h) {
        const auto at = static_cast<std::size_t>(w * kHidden + h);
        g += double{gate[e][at]} * double{x[static_cast<std::size_t>(h)]};
        u += double{up[e][at]} * double{x[static_cast<std::size_t>(h)]};
      }
      const double a = g / (1 + std::exp(-g)) * u;
      for (std::int64_t h = 0; h < kHidden; ++h) {
        y[static_cast<std::size_t>(h)] +=
            double{down[e][static_cast<std::size_t>(h * kWidth + w)]} * a;
      }
    }
    return y;
  }
};

switchyard::runtime::MoeLayer make_layer(switchyard::comm::Group& group, const Weights& weights) {
  switchyard::experts::BlockSpec spec;
  spec.router.hidden = spec.expert.hidden = kHidden;
  spec.expert.width = kWidth;
  spec.router.experts = kExperts;
  spec.router.top_k = 2;
  switchyard::experts::SpanSource source(spec, weights.router, [&](std::int64_t e) {
    const auto at = static_cast<std::size_t>(e);
    return switchyard::experts::NetworkSpans{
        .gate = weights.gate[at], .up = weights.up[at], .linear = {}, .down = weights.down[at]};
  });
  return {group, spec, source, switchyard::runtime::Placement::linear(kExperts, group.size())};
}

/// Token t goes to experts t and t + 1, with weights of the program's own.
switchyard::experts::Routing my_routing() {
  switchyard::experts::Routing routing;
  for (std::int32_t t = 0; t < kTokens; ++t) {
    routing.experts.insert(routing.experts.end(), {t % 6, (t + 1) % 6});
    routing.weights.insert(routing.weights.end(), {0.75F, 0.5F});
    routing.offsets.push_back(2 * (t + 1));
  }
  return routing;
}

double error_of(const Matrix& got, const Matrix& tokens, const Weights& weights) {
  double worst = 0;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    const auto first = weights.apply(static_cast<std::size_t>(t % 6), tokens.row(t));
    const auto second = weights.apply(static_cast<std::size_t>((t + 1) % 6), tokens.row(t));
    for (std::int64_t h = 0; h < kHidden; ++h) {
      const auto at = static_cast<std::size_t>(h);
      worst = std::max(worst, std::abs(0.75 * first[at] + 0.5 * second[at] - double{got(t, h)}));
    }
  }
  return worst;
}

long resident_kib() {
  long pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/// @returns how much memory grew over the last 900 of 1,000 steps, in KiB
long work(MPI_Comm half) {
  switchyard::comm::MpiGroup group(half);
  const Weights one(10);
  const Weights two(50);
  auto first = make_layer(group, one);
  auto second = make_layer(group, two);
  Matrix tokens(kTokens, kHidden);
  const auto values = numbers(kTokens * kHidden, 7 + group.rank());
  std::copy(values.begin(), values.end(), tokens.data());
  const auto routing = my_routing();
  long before = 0;
  for (int step = 0; step < 1000; ++step) {
    const Matrix a = first.forward(tokens.view(), routing);
    const Matrix b = second.forward(tokens.view());  // its own router
    const Matrix c = second.forward(tokens.view(), routing);
    if (error_of(a, tokens, one) > 1e-5 || error_of(c, tokens, two) > 1e-5 || b.rows() != kTokens) {
      throw std::runtime_error("a layer gave something else than the plain loops");
    }
    if (step == 99) before = resident_kib();
  }
  bool refused = false;  // errors are exceptions; nothing exits or aborts
  try {
    const Matrix wide(kTokens, kHidden + 1);
    (void)first.forward(wide.view());
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  if (!refused) throw std::runtime_error("rows of another width were taken");
  return resident_kib() - before;
}
}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm half = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
  long growth = 0;
  try {
    growth = work(half);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "consumer: rank %d: %s\n", rank, error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  long worst = 0;
  MPI_Reduce(&growth, &worst, 1, MPI_LONG, MPI_MAX, 0, MPI_COMM_WORLD);
  MPI_Comm_free(&half);
  MPI_Finalize();
  if (rank == 0) {
    std::printf("%d ranks in 2 groups, 1000 steps, memory %s (%ld KiB)\n", size,
                worst <= 512 ? "flat" : "GREW", worst);
  }
  return 0;
}
