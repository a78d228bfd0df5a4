// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/math.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "experts/kernels/exp_steps.inl"

namespace switchyard::experts::portable {
namespace {

constexpr double kTwoOverSqrtPi = 1.1283791670955126;
constexpr double kSqrtHalf = 0.70710678118654752;

float power_of_two_float32(std::int32_t exponent) {  // exponent in [-126, 127]
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23U);
}

/// erf(x) / x for |x| < 0.5 by its series in s = x^2.
double erf_over_x(double s) {
  constexpr std::array<double, 13> kSeries = {1.0,
                                              -1.0 / 3,
                                              1.0 / 10,
                                              -1.0 / 42,
                                              1.0 / 216,
                                              -1.0 / 1320,
                                              1.0 / 9360,
                                              -1.0 / 75600,
                                              1.0 / 685440,
                                              -1.0 / 6894720,
                                              1.0 / 76204800,
                                              -1.0 / 918086400,
                                              1.0 / 11975040000};
  double sum = kSeries.back();
  for (std::size_t i = kSeries.size() - 1; i-- > 0;) sum = sum * s + kSeries[i];
  return sum * kTwoOverSqrtPi;
}

/// erfc(x) for x >= 0.4: t e^(-x^2) Q(t) with t = 1 / (1 + 0.3 x), and Q the Chebyshev series of
/// erfc(x) e^(x^2) / t over t in [0.1, 0.9], computed with 50 digits; the next term is 1e-18.
double erfc_tail(double x) {
  constexpr std::array<double, 22> kChebyshev = {
      0.3976747826261236797,     0.2709578011737655465,     0.07577703102854835215,
      0.01726836400634935461,    0.003113676733777861027,   0.0004118729534283070194,
      0.00003093421123865401497, -1.022099909697313974e-6,  -5.660143932375670068e-7,
      -4.108681644783800898e-8,  6.191651220358066707e-9,   1.188659208023254091e-9,
      -5.395279784784261665e-11, -2.693814623643777248e-11, 3.188364354357743249e-13,
      6.206873374568716562e-13,  -1.373889384827674796e-15, -1.536193602620232773e-14,
      1.797978169077206063e-16,  4.047547587483072283e-16,  -1.58358354798986236e-17,
      -1.088182346417157581e-17};
  if (x > 27.5) return 0.0;
  const double t = 1.0 / (1.0 + 0.3 * x);
  const double s = 2.5 * t - 1.25;
  double next = 0.0;
  double after = 0.0;
  for (std::size_t i = kChebyshev.size() - 1; i > 0; --i) {
    const double now = 2.0 * s * next - after + kChebyshev[i];
    after = next;
    next = now;
  }
  const double q = s * next - after + kChebyshev[0];
  // x^2 rounded would cost up to 700 ulp: the square of the upper half of x is exact.
  const double upper = std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) & ~0xffffffffULL);
  return t * q * exp(-upper * upper) * exp(-(x - upper) * (x + upper));
}
}  // namespace

double exp(double x) {
  if (!(x == x)) return x;
  if (x > kExpMost) return std::numeric_limits<double>::infinity();
  if (x < kExpLeast) return 0.0;
  return exp_in_range<double, std::uint64_t>(x);
}

double log(double x) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr std::array<double, 11> kSeries = {2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,
                                              2.0 / 11, 2.0 / 13, 2.0 / 15, 2.0 / 17,
                                              2.0 / 19, 2.0 / 21, 2.0 / 23};
  if (!(x == x) || x == kInfinity) return x;
  if (x <= 0.0) return x == 0.0 ? -kInfinity : std::numeric_limits<double>::quiet_NaN();
  const bool denormal = x < 0x1p-1022;
  auto bits = std::bit_cast<std::uint64_t>(denormal ? x * 0x1p54 : x);
  // x = 2^k m with m in [sqrt(1/2), sqrt(2)): the upper half of sqrt(1/2) is 0x3fe6a09e.
  bits += (0x3ff00000ULL - 0x3fe6a09eULL) << 32U;
  const auto k =
      static_cast<double>(static_cast<std::int64_t>(bits >> 52U) - 1023 - (denormal ? 54 : 0));
  bits = (bits & 0xfffffffffffffULL) + (0x3fe6a09eULL << 32U);
  const double f = std::bit_cast<double>(bits) - 1.0;
  const double s = f / (2.0 + f);  // log m = 2 atanh s = 2 s + s^3 (2/3 + ...)
  const double square = s * s;
  double tail = kSeries.back();
  for (std::size_t i = kSeries.size() - 1; i-- > 0;) tail = tail * square + kSeries[i];
  // 2 s = f - s f: f is exact, so only the small parts are rounded.
  const double small = s * (f - square * tail);
  return k * kLn2High - ((small - k * kLn2Low) - f);
}

double tanh(double x) {
  if (!(x == x) || x == 0.0) return x;
  const double magnitude = x < 0.0 ? -x : x;
  double result = 1.0;
  if (magnitude < 0.17) {
    const double r = 2.0 * magnitude;
    const double e = r + r * r * exp_tail(r);  // e^r - 1
    result = e / (e + 2.0);
  } else if (magnitude < 20.0) {
    result = 1.0 - 2.0 / (exp(2.0 * magnitude) + 1.0);
  }
  return x < 0.0 ? -result : result;
}

double erf(double x) {
  if (!(x == x)) return x;
  if (x > -0.5 && x < 0.5) return x * erf_over_x(x * x);
  return x > 0.0 ? 1.0 - erfc_tail(x) : erfc_tail(-x) - 1.0;
}

double erfc(double x) {
  if (!(x == x)) return x;
  if (x > -0.5 && x < 0.5) return 1.0 - x * erf_over_x(x * x);
  return x > 0.0 ? erfc_tail(x) : 2.0 - erfc_tail(-x);
}

double sigmoid(double x) {
  if (x >= 0.0) return 1.0 / (1.0 + exp(-x));
  const double e = exp(x);
  return e / (1.0 + e);
}

float exp_float32(float x) {
  // Step for step what simd_exp in kernels/panel.inl does in every lane.
  constexpr float kShift = 0x1.8p23F;
  float clamped = x < -104.0F ? -104.0F : x;
  clamped = clamped > 89.0F ? 89.0F : clamped;
  const float shifted = std::fma(clamped, 0x1.715476p0F, kShift);
  const float k = shifted - kShift;
  float r = std::fma(k, -0x1.62e4p-1F, clamped);
  r = std::fma(k, -0x1.7f7d1cp-20F, r);
  float tail = 1.0F / 5040;
  for (const float c : {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F})
    tail = std::fma(tail, r, c);
  const float value = std::fma(tail, r * r, r) + 1.0F;
  if (!(x == x)) return x;
  const auto exponent = static_cast<std::int32_t>(k);
  const std::int32_t half = exponent >> 1;
  return value * power_of_two_float32(half) * power_of_two_float32(exponent - half);
}

float sigmoid_float32(float x) {
  const float e = exp_float32(x > 0.0F ? -x : x);
  return (x > 0.0F ? 1.0F : e) / (1.0F + e);
}

float gelu_erf_float32(float x) {
  const auto wide = static_cast<double>(x);
  if (wide < -40.0) return -0.0F;
  return static_cast<float>(0.5 * wide * erfc(-wide * kSqrtHalf));
}

float gelu_tanh_float32(float x) {
  const auto wide = static_cast<double>(x);
  if (wide < -40.0) return -0.0F;
  const double inner = 0.79788456080286536 * (wide + 0.044715 * wide * wide * wide);
  return static_cast<float>(wide * sigmoid(2.0 * inner));
}
}  // namespace switchyard::experts::portable
