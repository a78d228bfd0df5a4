// SPDX-License-Identifier: Apache-2.0
// The steps of e^x in double, for one number or for a vector of them: plain + - * in a fixed order,
// so every lane has the bits that a number has alone.
namespace switchyard::experts::portable {
namespace {

constexpr double kLn2High = 0x1.62e42feep-1;  // 32 bits: its product with an exponent is exact
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
/// Where e^x has overflowed, and where nothing is left of it.
constexpr double kExpMost = 710.0;
constexpr double kExpLeast = -746.0;

/// The series of (e^r - 1 - r) / r^2 for |r| <= 0.35: what is left out is below 2^-60.
template <class Double>
[[gnu::always_inline]] inline Double exp_tail(Double r) {
  constexpr int kTerms = 12;
  constexpr double kInverseFactorial[kTerms] = {
      1.0 / 2,     1.0 / 6,      1.0 / 24,      1.0 / 120,      1.0 / 720,       1.0 / 5040,
      1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
  Double sum = r * kInverseFactorial[kTerms - 1] + kInverseFactorial[kTerms - 2];
  for (int i = kTerms - 2; i-- > 0;) sum = sum * r + kInverseFactorial[i];
  return sum;
}

/// 2^e for e in [-1022, 1023].
template <class Double, class Word>
[[gnu::always_inline]] inline Double power_of_two(Word exponent) {
  return __builtin_bit_cast(Double, (exponent + 1023) << 52);
}

/// e^x for x in [kExpLeast, kExpMost].
/// @tparam Word  as many unsigned 64-bit integers as Double has doubles
template <class Double, class Word>
[[gnu::always_inline]] inline Double exp_in_range(Double x) {
  constexpr double kLog2e = 1.4426950408889634;
  constexpr double kShift = 0x1.8p52;  // adding it rounds to an integer, in the lowest bits
  const Double shifted = x * kLog2e + kShift;
  const Double k = shifted - kShift;
  const Double high = x - k * kLn2High;
  const Double low = k * kLn2Low;
  const Double r = high - low;
  const Double lost = (high - r) - low;
  const Double value = 1.0 + (r + (lost + r * r * exp_tail(r)));
  const Word exponent =
      __builtin_bit_cast(Word, shifted) - __builtin_bit_cast(unsigned long long, kShift);
  // In two steps, so that a denormal is rounded once; k + 2048 is positive, so its half is exact.
  const Word half = ((exponent + 2048) >> 1) - 1024;
  return value * power_of_two<Double>(half) * power_of_two<Double>(exponent - half);
}
}  // namespace
}  // namespace switchyard::experts::portable
