// SPDX-License-Identifier: Apache-2.0
// Accuracy against long double over dense ranges; the limits are the ones in math.hpp.
#include "experts/kernels/math.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <vector>

#include "experts/kernels/exp.hpp"

namespace switchyard::experts::portable {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kInfinityF = std::numeric_limits<float>::infinity();

/// Worst error over 200000 places in [low, high], in units in the last place of the true value (of
/// the smallest denormal below the normal numbers).
template <class T, class F, class True>
double worst_ulp(F f, True truth, T low, T high) {
  std::mt19937_64 generator(1);
  double worst = 0;
  for (int i = 0; i < 200'000; ++i) {
    const auto share = static_cast<T>(static_cast<double>(generator() >> 11U) * 0x1p-53);
    const T x = low + (high - low) * share;
    const long double want = truth(static_cast<long double>(x));
    const T size = static_cast<T>(std::fabs(want));
    const auto ulp =
        static_cast<long double>(std::nextafter(size, std::numeric_limits<T>::infinity()) - size);
    worst = std::max(worst,
                     static_cast<double>(std::fabs(static_cast<long double>(f(x)) - want) / ulp));
  }
  return worst;
}

TEST(Math, DoubleFunctionsAreWithinTheirLimits) {
  const auto expl_ = [](long double x) { return std::exp(x); };
  EXPECT_LE(worst_ulp(exp, expl_, -1.0, 1.0), 1.0);
  EXPECT_LE(worst_ulp(exp, expl_, -745.0, 709.7), 1.0);
  const auto logl_ = [](long double x) { return std::log(x); };
  EXPECT_LE(worst_ulp(log, logl_, 0.5, 2.0), 1.0);
  EXPECT_LE(worst_ulp(log, logl_, 1e-300, 1e300), 1.0);
  EXPECT_LE(worst_ulp(log, logl_, 1e-320, 1e-310), 1.0);
  const auto tanhl_ = [](long double x) { return std::tanh(x); };
  EXPECT_LE(worst_ulp(tanh, tanhl_, -0.5, 0.5), 6.0);
  EXPECT_LE(worst_ulp(tanh, tanhl_, -25.0, 25.0), 6.0);
  const auto erfl_ = [](long double x) { return std::erf(x); };
  EXPECT_LE(worst_ulp(erf, erfl_, -1.0, 1.0), 5.0);
  EXPECT_LE(worst_ulp(erf, erfl_, -7.0, 7.0), 5.0);
  const auto erfcl_ = [](long double x) { return std::erfc(x); };
  EXPECT_LE(worst_ulp(erfc, erfcl_, -1.0, 1.0), 9.0);
  EXPECT_LE(worst_ulp(erfc, erfcl_, -7.0, 26.0), 9.0);
  const auto sigmoidl = [](long double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_LE(worst_ulp(sigmoid, sigmoidl, -740.0, 40.0), 3.0);
}

TEST(Math, Float32FunctionsAreWithinTheirLimits) {
  const auto expl_ = [](long double x) { return std::exp(x); };
  EXPECT_LE(worst_ulp(exp_float32, expl_, -1.0F, 1.0F), 2.0);
  EXPECT_LE(worst_ulp(exp_float32, expl_, -104.0F, 88.7F), 2.0);
  const auto sigmoidl = [](long double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_LE(worst_ulp(sigmoid_float32, sigmoidl, -104.0F, 30.0F), 3.0);
  const auto gelu = [](long double x) { return x / 2 * std::erfc(-x / std::sqrt(2.0L)); };
  EXPECT_LE(worst_ulp(gelu_erf_float32, gelu, -13.0F, 30.0F), 0.501);
  const auto gelu_tanh = [](long double x) {
    const long double inner = std::sqrt(2.0L / std::acos(-1.0L)) * (x + 0.044715L * x * x * x);
    return x / (1 + std::exp(-2 * inner));
  };
  EXPECT_LE(worst_ulp(gelu_tanh_float32, gelu_tanh, -10.0F, 30.0F), 0.501);
}

TEST(Math, InfinitiesAndNansComeOutRight) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(exp(kInfinity), kInfinity);
  EXPECT_EQ(exp(-kInfinity), 0.0);
  EXPECT_EQ(exp(710.0), kInfinity);
  EXPECT_EQ(exp(0.0), 1.0);
  EXPECT_EQ(log(0.0), -kInfinity);
  EXPECT_EQ(log(kInfinity), kInfinity);
  EXPECT_EQ(log(1.0), 0.0);
  EXPECT_TRUE(std::isnan(log(-1.0)));
  EXPECT_EQ(tanh(kInfinity), 1.0);
  EXPECT_EQ(tanh(-kInfinity), -1.0);
  EXPECT_TRUE(std::signbit(tanh(-0.0)));
  EXPECT_EQ(erf(kInfinity), 1.0);
  EXPECT_EQ(erf(-kInfinity), -1.0);
  EXPECT_EQ(erfc(kInfinity), 0.0);
  EXPECT_EQ(erfc(-kInfinity), 2.0);
  EXPECT_EQ(sigmoid(-kInfinity), 0.0);
  EXPECT_EQ(sigmoid(kInfinity), 1.0);
  for (double (*f)(double) : {exp, log, tanh, erf, erfc, sigmoid}) EXPECT_TRUE(std::isnan(f(nan)));
  EXPECT_EQ(exp_float32(kInfinityF), kInfinityF);
  EXPECT_EQ(exp_float32(-kInfinityF), 0.0F);
  EXPECT_EQ(exp_float32(89.0F), kInfinityF);
  EXPECT_EQ(exp_float32(-105.0F), 0.0F);
  EXPECT_GT(exp_float32(-103.0F), 0.0F);
  EXPECT_EQ(sigmoid_float32(-kInfinityF), 0.0F);
  EXPECT_EQ(sigmoid_float32(kInfinityF), 1.0F);
  const float nan_f = std::numeric_limits<float>::quiet_NaN();
  for (float (*f)(float) : {exp_float32, sigmoid_float32, gelu_erf_float32, gelu_tanh_float32}) {
    EXPECT_TRUE(std::isnan(f(nan_f)));
  }
  EXPECT_EQ(gelu_erf_float32(kInfinityF), kInfinityF);
  EXPECT_EQ(gelu_tanh_float32(-kInfinityF), 0.0F);
}

std::vector<Isa> isas_here() {
  std::vector<Isa> here;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa <= best_isa()) here.push_back(isa);
  }
  return here;
}

TEST(Math, ManyExponentialsAtOnceHaveTheBitsOfEachAlone) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> values = {0.0,    -0.0,      kInfinity,  -kInfinity, nan,    710.0,    710.1,
                                709.7,  709.8,     -745.1,     -745.2,     -746.0, -746.1,   1e300,
                                -1e300, 0x1p-1074, -0x1p-1074, 0.5,        -708.4, -740.125, 1e-30};
  std::mt19937_64 generator(7);
  for (int i = 0; i < 100'000; ++i) {
    const double share = static_cast<double>(generator() >> 11U) * 0x1p-53;
    values.push_back(i % 2 == 0 ? 1500.0 * share - 760.0 : 60.0 * share - 59.0);
  }
  for (const Isa isa : isas_here()) {
    std::vector<double> got = values;
    exp_each_of(isa)(got.data(), static_cast<std::int64_t>(got.size()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double want = exp(values[i]);
      ASSERT_EQ(std::bit_cast<std::uint64_t>(got[i]), std::bit_cast<std::uint64_t>(want))
          << name_of(isa) << ": e^" << values[i];
    }
  }
}

TEST(Math, ExponentialsTouchNothingBeyondTheirCount) {
  for (const Isa isa : isas_here()) {
    for (std::int64_t count = 0; count <= 17; ++count) {
      std::vector<double> values(20, 1.0);
      exp_each_of(isa)(values.data(), count);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const bool counted = static_cast<std::int64_t>(i) < count;
        EXPECT_EQ(values[i], counted ? exp(1.0) : 1.0) << name_of(isa) << ' ' << count;
      }
    }
  }
}

TEST(Math, TheBitsAreThoseThatEveryMachineGave) {
  // A digest over many values: another compiler or processor that rounds one differently fails
  // here.
  std::uint64_t digest = 0;
  const auto mix = [&](std::uint64_t bits) { digest = (digest ^ bits) * 0x9e3779b97f4a7c15ULL; };
  for (int i = -4000; i <= 4000; ++i) {
    const double x = i * 0.0123;
    for (double (*f)(double) : {exp, tanh, erf, erfc, sigmoid}) {
      mix(std::bit_cast<std::uint64_t>(f(x)));
    }
    if (i > 0) mix(std::bit_cast<std::uint64_t>(log(x)));
    const auto narrow = static_cast<float>(x);
    for (float (*f)(float) : {exp_float32, sigmoid_float32, gelu_erf_float32, gelu_tanh_float32}) {
      mix(std::bit_cast<std::uint32_t>(f(narrow)));
    }
  }
  EXPECT_EQ(digest, 0x24741aea401ef3c9ULL) << std::hex << digest;
}
}  // namespace
}  // namespace switchyard::experts::portable
