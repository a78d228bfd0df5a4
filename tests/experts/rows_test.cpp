// SPDX-License-Identifier: Apache-2.0
// Sums of rows against a scalar loop, bit for bit, on every instruction set that the processor has.
#include "experts/kernels/rows.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace switchyard::experts {
namespace {

std::vector<Isa> isas_here() {
  std::vector<Isa> isas = {Isa::kPortable};
  if (best_isa() >= Isa::kAvx2) isas.push_back(Isa::kAvx2);
  if (best_isa() >= Isa::kAvx512) isas.push_back(Isa::kAvx512);
  return isas;
}

std::vector<float> normal_values(std::size_t count, std::mt19937& generator) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

TEST(Rows, SumsHaveTheBitsOfTheScalarLoopInEveryShape) {
  std::mt19937 generator(7);
  for (const std::size_t cols : {1U, 3U, 4U, 17U, 64U, 129U, 300U, 2048U}) {
    for (const std::size_t count : {0U, 1U, 2U, 8U, 9U}) {
      const auto values = normal_values(cols * count + 1, generator);
      const auto weights = normal_values(count, generator);
      std::vector<const float*> rows;
      for (std::size_t r = 0; r < count; ++r) rows.push_back(values.data() + 1 + r * cols);
      std::vector<float> want(cols);
      for (std::size_t c = 0; c < cols; ++c) {
        for (std::size_t r = 0; r < count; ++r) want[c] += weights[r] * rows[r][c];
      }
      for (const Isa isa : isas_here()) {
        std::vector<float> got(cols, -1.0F);
        rows::kernels_of(isa).sum(rows.data(), weights.data(), static_cast<std::int64_t>(count),
                                  static_cast<std::int64_t>(cols), got.data());
        EXPECT_EQ(std::memcmp(got.data(), want.data(), cols * sizeof(float)), 0)
            << name_of(isa) << ' ' << cols << " columns, " << count << " rows";
      }
    }
  }
}

TEST(Rows, ScaleAlsoInPlace) {
  std::mt19937 generator(8);
  for (const std::size_t cols : {1U, 15U, 16U, 130U}) {
    const auto from = normal_values(cols, generator);
    for (const Isa isa : isas_here()) {
      std::vector<float> to = from;
      rows::kernels_of(isa).scale(to.data(), 7.0F, static_cast<std::int64_t>(cols), to.data());
      for (std::size_t c = 0; c < cols; ++c) EXPECT_EQ(to[c], 7.0F * from[c]) << name_of(isa);
    }
  }
}
}  // namespace
}  // namespace switchyard::experts
