// SPDX-License-Identifier: Apache-2.0
// PackedLinear against the sentence in its header: one chain of fused multiply-adds an output.
#include "experts/kernels/linear.hpp"

#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <vector>

#include "experts/kernels/pack.hpp"

namespace switchyard::experts {
namespace {

std::vector<Isa> isas_here() {
  std::vector<Isa> isas = {Isa::kPortable};
  if (best_isa() >= Isa::kAvx2) isas.push_back(Isa::kAvx2);
  if (best_isa() >= Isa::kAvx512) isas.push_back(Isa::kAvx512);
  return isas;
}

Matrix random_matrix(std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Matrix matrix(rows, cols);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (float& value : matrix.row(r)) value = normal(generator);
  }
  return matrix;
}

WeightView view_of(const Matrix& matrix) {
  return {matrix.data(), DType::kFloat32, matrix.rows(), matrix.cols(), matrix.cols(), 1};
}

Matrix chain(const Matrix& weight, const Matrix& x) {
  Matrix y(x.rows(), weight.rows());
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    for (std::int64_t o = 0; o < weight.rows(); ++o) {
      float sum = 0.0F;
      for (std::int64_t k = 0; k < weight.cols(); ++k) sum = std::fma(weight(o, k), x(r, k), sum);
      y(r, o) = sum;
    }
  }
  return y;
}

bool same_bits(const Matrix& a, const Matrix& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  const auto bytes = static_cast<std::size_t>(a.rows() * a.cols()) * sizeof(float);
  return bytes == 0 || std::memcmp(a.data(), b.data(), bytes) == 0;
}

TEST(Linear, EveryOutputIsTheChainOfFusedMultiplyAddsOnEveryInstructionSet) {
  std::mt19937 generator(7);
  for (std::uint32_t trial = 0; trial < 60; ++trial) {
    const auto rows = static_cast<std::int64_t>(generator() % 60);
    const auto in = static_cast<std::int64_t>(generator() % 70 + 1);
    const auto out = static_cast<std::int64_t>(generator() % 100 + 1);
    const Matrix weight = random_matrix(out, in, trial);
    const Matrix x = random_matrix(rows, in, trial + 1000);
    const Matrix want = chain(weight, x);
    for (const Isa isa : isas_here()) {
      Matrix y(rows, out);
      PackedLinear(view_of(weight), isa).apply(x.view(), y.view());
      EXPECT_TRUE(same_bits(y, want))
          << name_of(isa) << ", " << rows << " rows, " << out << " x " << in;
    }
  }
}

TEST(Linear, ExtremeValuesRoundAlikeOnEveryInstructionSet) {
  // Random exponents: sums overflow, underflow into denormals and cancel.
  std::mt19937 generator(11);
  Matrix weight(64, 5);
  Matrix x(40, 5);
  const auto fill = [&](Matrix& matrix) {
    for (std::int64_t r = 0; r < matrix.rows(); ++r) {
      const int scale = static_cast<int>(generator() % 170) - 120;
      for (float& value : matrix.row(r)) {
        const auto mantissa = static_cast<float>(static_cast<std::int32_t>(generator()));
        value = std::ldexp(mantissa, scale + static_cast<int>(generator() % 12));
      }
    }
  };
  fill(weight);
  fill(x);
  const Matrix want = chain(weight, x);
  int denormals = 0;
  int infinities = 0;
  for (std::int64_t r = 0; r < want.rows(); ++r) {
    for (const float value : want.row(r)) {
      denormals += std::fpclassify(value) == FP_SUBNORMAL ? 1 : 0;
      infinities += std::isinf(value) ? 1 : 0;
    }
  }
  EXPECT_GT(denormals, 10);
  EXPECT_GT(infinities, 10);
  for (const Isa isa : isas_here()) {
    Matrix y(x.rows(), weight.rows());
    PackedLinear(view_of(weight), isa).apply(x.view(), y.view());
    for (std::int64_t r = 0; r < y.rows(); ++r) {
      for (std::int64_t o = 0; o < y.cols(); ++o) {
        const float got = y(r, o);
        const float expected = want(r, o);
        const bool both_nan = std::isnan(got) && std::isnan(expected);
        EXPECT_TRUE(both_nan || std::memcmp(&got, &expected, 4) == 0)
            << name_of(isa) << " row " << r << " output " << o << ": " << got << " " << expected;
      }
    }
  }
}

TEST(Linear, AResultDependsOnItsRowAlone) {
  const Matrix weight = random_matrix(70, 133, 1);
  const Matrix x = random_matrix(100, 133, 2);
  for (const Isa isa : isas_here()) {
    const PackedLinear linear(view_of(weight), isa);
    Matrix all(100, 70);
    linear.apply(x.view(), all.view());
    for (std::int64_t count = 1; count < 30; ++count) {
      const std::int64_t first = 3 * count;
      if (first + count > 100) break;
      Matrix some(count, 70);
      linear.apply(x.view().slice(first, count), some.view());
      EXPECT_EQ(std::memcmp(some.data(), all.data() + first * 70,
                            static_cast<std::size_t>(count) * 70 * 4),
                0)
          << name_of(isa) << " rows " << first << " to " << first + count;
    }
  }
}

TEST(Linear, RowsMayLieAnywhereAndWeightsMayBeTransposed) {
  const Matrix weight = random_matrix(40, 9, 3);
  Matrix transposed(9, 40);
  for (std::int64_t o = 0; o < 40; ++o) {
    for (std::int64_t i = 0; i < 9; ++i) transposed(i, o) = weight(o, i);
  }
  const Matrix x = random_matrix(17, 9, 4);
  std::vector<float> spread(17 * 13 + 1);
  std::vector<float> out(17 * 41 + 1);
  for (std::int64_t r = 0; r < 17; ++r) {
    std::memcpy(spread.data() + 1 + r * 13, x.row(r).data(), 9 * sizeof(float));
  }
  const Matrix want = chain(weight, x);
  for (const Isa isa : isas_here()) {
    const WeightView view{transposed.data(), DType::kFloat32, 40, 9, 1, 40};
    PackedLinear(view, isa).apply({spread.data() + 1, 17, 9, 13}, {out.data() + 1, 17, 40, 41});
    for (std::int64_t r = 0; r < 17; ++r) {
      EXPECT_EQ(std::memcmp(out.data() + 1 + r * 41, want.row(r).data(), 40 * sizeof(float)), 0);
    }
  }
}

TEST(Panels, LieByteByByteAsTheReadmeSays) {
  const std::vector<float> gate = {1, 2, 3, 4, 5, 6};  // [3, 2]
  const std::vector<float> up = {10, 20, 30, 40, 50, 60};
  const WeightView first{gate.data(), DType::kFloat32, 3, 2, 2, 1};
  const WeightView second{up.data(), DType::kFloat32, 3, 2, 2, 1};
  ASSERT_EQ(panel_bytes(3, 2, 16, DType::kFloat32), 256);
  std::vector<float> wide(64, -1.0F);
  pack_halves(first, second, DType::kFloat32, wide.data());
  std::vector<float> want(64);
  for (std::size_t k = 0; k < 2; ++k) {
    for (std::size_t o = 0; o < 3; ++o) {
      want[32 * k + o] = gate[2 * o + k];
      want[32 * k + 16 + o] = up[2 * o + k];
    }
  }
  EXPECT_EQ(wide, want);
  ASSERT_EQ(panel_bytes(3, 2, 16, DType::kBfloat16), 128);
  std::vector<std::uint16_t> narrow(64, 0xffff);
  pack_halves(first, second, DType::kBfloat16, narrow.data());
  EXPECT_EQ(narrow[0], 0x3f80);   // gate[0][0] = 1
  EXPECT_EQ(narrow[1], 0x4000);   // gate[0][1] = 2
  EXPECT_EQ(narrow[2], 0x4040);   // gate[1][0] = 3
  EXPECT_EQ(narrow[6], 0);        // no gate[3]
  EXPECT_EQ(narrow[32], 0x4120);  // up[0][0] = 10
  EXPECT_EQ(narrow[33], 0x41a0);  // up[0][1] = 20
  ASSERT_EQ(panel_bytes(3, 2, 16, DType::kFloat16), 128);
  pack_halves(first, second, DType::kFloat16, narrow.data());
  EXPECT_EQ(narrow[0], 0x3c00);   // gate[0][0] = 1
  EXPECT_EQ(narrow[1], 0x4200);   // gate[1][0] = 3
  EXPECT_EQ(narrow[32], 0x4000);  // gate[0][1] = 2
  EXPECT_EQ(narrow[48], 0x4d00);  // up[0][1] = 20
  std::vector<float> whole(64, -1.0F);
  pack_whole(first, DType::kFloat32, whole.data());
  EXPECT_EQ(whole[2], 5);
  EXPECT_EQ(whole[33], 4);
  EXPECT_EQ(whole[16], 0);
}

TEST(Linear, ShapesAreCheckedByName) {
  const Matrix weight = random_matrix(8, 7, 5);
  const PackedLinear linear(view_of(weight), Isa::kPortable);
  Matrix x(3, 6);
  Matrix y(3, 8);
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message([&] { linear.apply(x.view(), y.view()); }), "linear: x is [3, 6], want [3, 7]");
  Matrix good(3, 7);
  Matrix narrow(3, 5);
  EXPECT_EQ(message([&] { linear.apply(good.view(), narrow.view()); }),
            "linear: y is [3, 5], want [3, 8]");
  EXPECT_EQ(message([] { PackedLinear(WeightView{}, Isa::kPortable); }),
            "linear: weight is [0, 0], want at least [1, 1]");
}

TEST(Linear, NamesOfInstructionSetsAreReadAndRefused) {
  EXPECT_EQ(isa_from("auto"), best_isa());
  EXPECT_EQ(isa_from("portable"), Isa::kPortable);
  EXPECT_EQ(isa_from(name_of(best_isa())), best_isa());
  try {
    static_cast<void>(isa_from("sse9"));
    FAIL() << "sse9 was accepted";
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("isa: got sse9, want auto, portable"));
  }
}
}  // namespace
}  // namespace switchyard::experts
