// SPDX-License-Identifier: Apache-2.0
#include "experts/synthetic.hpp"

#include <algorithm>

#include "experts/kernels/dispatch.hpp"
#include "experts/range.hpp"

namespace switchyard::experts {
namespace {

constexpr float kSqrt3 = 1.7320508F;  // uniform in [-1, 1) has variance 1 / 3
}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xd2511f53U} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xcd9e8d57U} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32U) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32U) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += 0x9e3779b9U;
    key[1] += 0xbb67ae85U;
  }
  return counter;
}

void fill_uniform(std::uint64_t seed, std::uint32_t layer, std::int64_t id, Stream stream,
                  std::int64_t first, float amplitude, std::span<float> out) {
  constexpr std::int64_t kElements = std::int64_t{1} << 58U;  // 2^56 blocks of four
  require_range("synthetic", "id", id, std::int64_t{1} << 32U);
  require_range("synthetic", "first element", first, kElements);
  require_range("synthetic", "last element", first + static_cast<std::int64_t>(out.size()),
                kElements);
  panel::Uniform uniform;
  uniform.key[0] = static_cast<std::uint32_t>(seed);
  uniform.key[1] = static_cast<std::uint32_t>(seed >> 32U);
  uniform.layer = layer;
  uniform.id = static_cast<std::uint32_t>(id);
  uniform.stream = static_cast<std::uint32_t>(stream);
  uniform.amplitude = amplitude;
  const auto fill = kernels_of(best_isa()).fill;  // all of them make the same numbers
  // Whole blocks go straight to `out`; the pieces of a block at either end by way of `piece`.
  std::array<float, 4> piece{};
  while (!out.empty()) {
    const auto skip = static_cast<std::size_t>(first % 4);
    const std::size_t whole = out.size() / 4;
    uniform.block = static_cast<std::uint64_t>(first) / 4;
    std::size_t count = 4 * whole;
    if (skip == 0 && whole > 0) {
      uniform.blocks = static_cast<std::int64_t>(whole);
      uniform.out = out.data();
      fill(uniform);
    } else {
      uniform.blocks = 1;
      uniform.out = piece.data();
      fill(uniform);
      count = std::min(out.size(), 4 - skip);
      std::copy_n(piece.data() + skip, count, out.data());
    }
    out = out.subspan(count);
    first += static_cast<std::int64_t>(count);
  }
}

void fill_tokens(std::uint64_t seed, std::int64_t step, std::int64_t first_token,
                 MatrixView<float> out) {
  for (std::int64_t t = 0; t < out.rows; ++t) {
    fill_uniform(seed, 0, step, Stream::kTokens, (first_token + t) * out.cols, kSqrt3, out.row(t));
  }
}

}  // namespace switchyard::experts
