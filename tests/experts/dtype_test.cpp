// SPDX-License-Identifier: Apache-2.0
#include "experts/dtype.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>
#include <limits>
#include <stdexcept>

namespace switchyard::experts {
namespace {

TEST(Bfloat16, EveryValueSurvivesTheWayOutAndBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto narrow = static_cast<std::uint16_t>(bits);
    const float wide = widen_bfloat16(narrow);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(widen_bfloat16(narrow_bfloat16(wide)))) << bits;
    } else {
      EXPECT_EQ(narrow_bfloat16(wide), narrow) << bits;
    }
  }
}

TEST(Bfloat16, RoundsToTheNearestAndTiesToEven) {
  // All float32 between neighbouring bfloat16, at steps that hit the middle exactly.
  for (std::uint32_t high = 0; high < 0x7f7f; high += 37) {
    const float below = widen_bfloat16(static_cast<std::uint16_t>(high));
    const float above = widen_bfloat16(static_cast<std::uint16_t>(high + 1));
    for (std::uint32_t low = 0; low < 0x10000; low += 0x400) {
      for (const std::uint32_t off : {0U, 1U}) {
        const auto value = std::bit_cast<float>((high << 16U) + low + off);
        const double to_below = static_cast<double>(value) - static_cast<double>(below);
        const double to_above = static_cast<double>(above) - static_cast<double>(value);
        const bool up = to_above < to_below || (to_above == to_below && high % 2 == 1);
        EXPECT_EQ(narrow_bfloat16(value), high + (up ? 1 : 0)) << std::hex << high << " " << low;
        EXPECT_EQ(narrow_bfloat16(-value), 0x8000 + high + (up ? 1 : 0));
      }
    }
  }
}

TEST(Bfloat16, TheLargestRoundToInfinityAndNansStayNans) {
  EXPECT_EQ(narrow_bfloat16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(narrow_bfloat16(std::numeric_limits<float>::infinity()), 0x7f80);
  const auto tiny_payload = std::bit_cast<float>(0x7f800001U);
  EXPECT_TRUE(std::isnan(widen_bfloat16(narrow_bfloat16(tiny_payload))));
  EXPECT_TRUE(std::isnan(widen_bfloat16(narrow_bfloat16(std::bit_cast<float>(0xffffffffU)))));
}

TEST(Float16, EveryKindOfValueIsWidenedExactly) {
  EXPECT_EQ(widen_float16(0x3c00), 1.0F);
  EXPECT_EQ(widen_float16(0xc000), -2.0F);
  EXPECT_EQ(widen_float16(0x7bff), 65504.0F);
  EXPECT_EQ(widen_float16(0x0001), 0x1p-24F);
  EXPECT_EQ(widen_float16(0x83ff), -1023 * 0x1p-24F);
  EXPECT_EQ(widen_float16(0x0400), 0x1p-14F);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(widen_float16(0x8000)), 0x80000000U);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(widen_float16(0x7c00)), 0x7f800000U);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(widen_float16(0x7e01)), 0x7fc02000U);
}

TEST(Float16, EveryValueSurvivesTheWayOutAndBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto narrow = static_cast<std::uint16_t>(bits);
    const float wide = widen_float16(narrow);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(widen_float16(narrow_float16(wide)))) << bits;
    } else {
      EXPECT_EQ(narrow_float16(wide), narrow) << bits;
    }
  }
}

TEST(Float16, RoundsToTheNearestAndTiesToEven) {
  for (std::uint32_t low = 0; low < 0x7bff; ++low) {
    const float below = widen_float16(static_cast<std::uint16_t>(low));
    const float above = widen_float16(static_cast<std::uint16_t>(low + 1));
    const float middle = below + (above - below) / 2;  // exact: float32 has bits to spare
    const std::uint32_t even = low + low % 2;
    EXPECT_EQ(narrow_float16(middle), even) << low;
    EXPECT_EQ(narrow_float16(-middle), 0x8000 + even) << low;
    EXPECT_EQ(narrow_float16(std::nextafter(middle, 0.0F)), low) << low;
    EXPECT_EQ(narrow_float16(std::nextafter(middle, 1e9F)), low + 1) << low;
  }
  EXPECT_EQ(narrow_float16(std::nextafter(65520.0F, 0.0F)), 0x7bff);
  EXPECT_EQ(narrow_float16(65520.0F), 0x7c00);
  EXPECT_EQ(narrow_float16(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(narrow_float16(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(Fp8, EveryCodeIsTheNumberThatItsBitsSpell) {
  for (unsigned code = 0; code < 256; ++code) {
    const int exponent = static_cast<int>(code >> 3U & 15U);
    const int fraction = static_cast<int>(code & 7U);
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
    const float got = widen_fp8(static_cast<std::uint8_t>(code));
    EXPECT_EQ(is_fp8_nan(static_cast<std::uint8_t>(code)), std::isnan(got)) << code;
    if (exponent == 15 && fraction == 7) {
      EXPECT_TRUE(std::isnan(got)) << code;
      EXPECT_TRUE(is_fp8_nan(narrow_fp8(got)));
      continue;
    }
    EXPECT_EQ(static_cast<double>(got), code < 128 ? magnitude : -magnitude) << code;
    EXPECT_EQ(std::signbit(got), code >= 128) << code;
    EXPECT_EQ(narrow_fp8(got), code);
  }
  EXPECT_EQ(widen_fp8(0x7e), kFp8Most);
}

TEST(Fp8, RoundsToTheNearestAndTiesToEven) {
  for (std::uint32_t low = 0; low < 0x7e; ++low) {
    const float below = widen_fp8(static_cast<std::uint8_t>(low));
    const float above = widen_fp8(static_cast<std::uint8_t>(low + 1));
    const float middle = below + (above - below) / 2;
    const std::uint32_t even = low + low % 2;
    EXPECT_EQ(narrow_fp8(middle), even) << low;
    EXPECT_EQ(narrow_fp8(-middle), 0x80 + even) << low;
    EXPECT_EQ(narrow_fp8(std::nextafter(middle, 0.0F)), low) << low;
    EXPECT_EQ(narrow_fp8(std::nextafter(middle, 1e9F)), low + 1) << low;
  }
  EXPECT_EQ(narrow_fp8(449.0F), 0x7e);
  EXPECT_EQ(narrow_fp8(1e30F), 0x7e);
  EXPECT_EQ(narrow_fp8(-std::numeric_limits<float>::infinity()), 0xfe);
  EXPECT_EQ(narrow_fp8(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(Mxfp4, RoundsToTheNearestAndTiesToTheEvenCode) {
  for (std::uint8_t code = 0; code < 7; ++code) {
    const float below = kFp4Values[code];
    const float above = kFp4Values[code + 1];
    const float middle = (below + above) / 2;
    const int even = code + code % 2;
    EXPECT_EQ(narrow_fp4(below), code);
    EXPECT_EQ(narrow_fp4(middle), even);
    EXPECT_EQ(narrow_fp4(-middle), 8 + even);
    EXPECT_EQ(narrow_fp4(std::nextafter(middle, 0.0F)), code);
    EXPECT_EQ(narrow_fp4(std::nextafter(middle, 9.0F)), code + 1);
  }
  EXPECT_EQ(narrow_fp4(7.99F), 7);
  EXPECT_EQ(narrow_fp4(-100.0F), 15);
}

TEST(Mxfp4, AScaleIsAPowerOfTwoOrNan) {
  for (int scale = 0; scale < 255; ++scale) {
    EXPECT_EQ(widen_e8m0(static_cast<std::uint8_t>(scale)), std::ldexp(1.0F, scale - 127));
  }
  EXPECT_TRUE(std::isnan(widen_e8m0(255)));
}

TEST(DType, NamesAndSizes) {
  const std::int64_t sizes[] = {16, 8, 8, 4, 4, 2};
  for (const DType type : kAllDTypes) {
    EXPECT_EQ(bytes_of(type, 4), sizes[static_cast<std::size_t>(type)]);
    EXPECT_EQ(dtype_from(name_of(type)), type);
    EXPECT_EQ(is_scaled(type), type >= DType::kInt8);
  }
  EXPECT_THROW(static_cast<void>(dtype_from("fp4")), std::invalid_argument);
  EXPECT_EQ(name_of(DType::kFp8), "fp8");
  EXPECT_EQ(name_of(DType::kMxfp4), "mxfp4");
  EXPECT_EQ(name_of(DType::kFloat16), "float16");
  EXPECT_EQ(name_of(DType::kInt8), "int8");
  EXPECT_EQ(name_of(DType::kFloat32), "float32");
  EXPECT_EQ(name_of(DType::kBfloat16), "bfloat16");
}
}  // namespace
}  // namespace switchyard::experts
