// SPDX-License-Identifier: Apache-2.0
// Floats to codes of the types that have scales (quantise.hpp), by plain loops that become vectors.
// Each step is exact or rounds once, so all instruction sets make the same codes; dtype.hpp has
// them for one value at a time.
namespace switchyard::experts::panel {
namespace {

[[gnu::always_inline]] inline std::uint32_t bits_of(float value) {
  return __builtin_bit_cast(std::uint32_t, value);
}
[[gnu::always_inline]] inline float float_of(std::uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}

/// Bits of magnitudes order as magnitudes do; a NaN is above infinity.
std::uint32_t largest_bits(const float* values, std::int64_t count) {
  std::int32_t most = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bits = static_cast<std::int32_t>(bits_of(values[i]) & 0x7fffffffU);
    most = bits > most ? bits : most;
  }
  return static_cast<std::uint32_t>(most);
}

void encode_int8(const float* values, std::int64_t count, float inverse, std::uint8_t* codes) {
  constexpr float kShift = 0x1.8p23F;  // adding it rounds to an integer
  for (std::int64_t i = 0; i < count; ++i) {
    const auto rounded = static_cast<std::int32_t>(values[i] * inverse + kShift - kShift);
    codes[i] = static_cast<std::uint8_t>(rounded);
  }
}

void encode_fp8(const float* values, std::int64_t count, float scale, std::uint8_t* codes) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t bits = bits_of(values[i] / scale);
    const std::uint32_t any = bits & 0x7fffffffU;
    const std::uint32_t most = bits_of(448.0F);
    const std::uint32_t magnitude = any > most ? most : any;
    const std::uint32_t normal =
        ((magnitude + 0x7ffffU + ((magnitude >> 20U) & 1U)) >> 20U) - (120U << 3U);
    // Added to 2^14, the last bit of a subnormal is worth 2^-9.
    const std::uint32_t subnormal = bits_of(float_of(magnitude) + 0x1p14F) - bits_of(0x1p14F);
    const std::uint32_t finite = magnitude < (121U << 23U) ? subnormal : normal;
    codes[i] = static_cast<std::uint8_t>(((bits >> 24U) & 0x80U) | finite);
  }
}

void encode_mxfp4(const float* values, std::int64_t blocks, std::uint8_t* codes,
                  std::uint8_t* scales) {
  constexpr std::int64_t kBlock = 32;
  for (std::int64_t b = 0; b < blocks; ++b, values += kBlock, codes += kBlock / 2) {
    const std::uint32_t largest = largest_bits(values, kBlock);
    if (largest >= 0x7f800000U) {  // no number
      scales[b] = 255;
      __builtin_memset(codes, 0, kBlock / 2);
      continue;
    }
    const std::int32_t exponent = static_cast<std::int32_t>(largest >> 23U) - 2;
    const std::uint32_t scale = exponent > 0 ? static_cast<std::uint32_t>(exponent) : 0U;
    const float inverse = float_of((254U - scale) << 23U);
    scales[b] = static_cast<std::uint8_t>(scale);
    std::uint8_t each[kBlock];
    for (std::int64_t i = 0; i < kBlock; ++i) {
      const std::uint32_t bits = bits_of(values[i] * inverse);
      const float a = float_of(bits & 0x7fffffffU);
      // Ties to the even code: the upper of two that are even takes its lower edge.
      const std::uint32_t code = (a > 0.25F ? 1U : 0U) + (a >= 0.75F ? 1U : 0U) +
                                 (a > 1.25F ? 1U : 0U) + (a >= 1.75F ? 1U : 0U) +
                                 (a > 2.5F ? 1U : 0U) + (a >= 3.5F ? 1U : 0U) +
                                 (a > 5.0F ? 1U : 0U);
      each[i] = static_cast<std::uint8_t>(((bits >> 28U) & 8U) | code);
    }
    std::uint16_t pairs[kBlock / 2];
    __builtin_memcpy(pairs, each, sizeof pairs);
    for (std::int64_t i = 0; i < kBlock / 2; ++i) {
      codes[i] = static_cast<std::uint8_t>(pairs[i] | pairs[i] >> 4U);
    }
  }
}
}  // namespace
}  // namespace switchyard::experts::panel
