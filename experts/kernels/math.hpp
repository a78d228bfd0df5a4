// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Elementary functions with the same bits on every machine: plain + - * / (and, for float32, exact
/// fused multiply-adds) in a fixed order, no libm, no tables that depend on the processor.
/// They need the default rounding mode and denormals left on.

namespace switchyard::experts::portable {

/// e^x within 1 ulp (denormal results within 1 denormal step); 0 below -745.2, inf above 709.8.
[[nodiscard]] double exp(double x);
/// Natural logarithm within 1 ulp; -inf at 0, a nan below.
[[nodiscard]] double log(double x);
/// Within 6 ulp; odd; +-1 far out.
[[nodiscard]] double tanh(double x);
/// Within 5 ulp; odd; +-1 far out.
[[nodiscard]] double erf(double x);
/// 1 - erf(x) without cancellation: within 9 ulp while the result is a normal number.
[[nodiscard]] double erfc(double x);
/// 1 / (1 + e^-x) within 3 ulp, on both sides of 0.
[[nodiscard]] double sigmoid(double x);

/// The float32 functions of the kernels' epilogues, one value at a time and with the same bits.
/// e^x within 2 ulp; denormal results within 1 denormal step; 0 below -104, inf above 88.8.
[[nodiscard]] float exp_float32(float x);
/// 1 / (1 + e^-x) within 3 ulp.
[[nodiscard]] float sigmoid_float32(float x);
/// x / 2 * (1 + erf(x / sqrt(2))), computed in double and rounded once.
[[nodiscard]] float gelu_erf_float32(float x);
/// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), computed in double and rounded once.
[[nodiscard]] float gelu_tanh_float32(float x);
}  // namespace switchyard::experts::portable
