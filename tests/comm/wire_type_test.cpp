// SPDX-License-Identifier: Apache-2.0
/// @file
/// Narrow rows: every bound that wire_type.hpp states, and what happens at its edges.
#include "comm/wire/wire_type.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

namespace switchyard::comm {
namespace {
constexpr WireType kTypes[] = {WireType::kFloat32, WireType::kBfloat16, WireType::kInt8,
                               WireType::kFp8};
constexpr WireType kScaled[] = {WireType::kInt8, WireType::kFp8};

std::vector<float> there_and_back(WireType type, const std::vector<float>& row) {
  std::vector<std::byte> wire(
      static_cast<std::size_t>(wire_bytes(type, static_cast<std::int64_t>(row.size()))));
  narrow(type, row, wire.data());
  std::vector<float> back(row.size());
  widen(type, wire.data(), back);
  return back;
}

TEST(WireType, NoValueLeavesItsBound) {
  std::mt19937 draw(5);
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int> exponent(-60, 60);
  for (const WireType type : kTypes) {
    for (int i = 0; i < 400; ++i) {
      std::vector<float> row(static_cast<std::size_t>(1 + i % 67));
      const float unit = std::ldexp(1.0F, exponent(draw));
      // Half of the rows spread over many magnitudes, where small values meet a large scale.
      for (float& x : row) {
        x = normal(draw) * unit;
        if (i % 2 == 1) x = std::ldexp(x, -static_cast<int>(draw() % 24));
      }
      double largest = 0;
      for (const float x : row) largest = std::max(largest, std::abs(static_cast<double>(x)));
      const auto back = there_and_back(type, row);
      for (std::size_t c = 0; c < row.size(); ++c) {
        const double value = row[c];
        EXPECT_LE(std::abs(static_cast<double>(back[c]) - value),
                  error_bound(type, std::abs(value), largest))
            << name_of(type) << ", row " << i << ", value " << value << " of at most " << largest;
      }
    }
  }
}

TEST(WireType, TheBoundsAreReachedSoTheyAreNotLoose) {
  // Halfway between two codes: 1 + 2^-8 in bfloat16; 0.5 of 127; 1 + 2^-4 times the scale 1.
  EXPECT_EQ(there_and_back(WireType::kBfloat16, {1.00390625F})[0], 1.0F);
  EXPECT_EQ(there_and_back(WireType::kInt8, {127.0F, 0.5F})[1], 0.0F);
  EXPECT_EQ(there_and_back(WireType::kFp8, {448.0F, 1.0625F})[1], 1.0F);
  EXPECT_EQ(there_and_back(WireType::kFp8, {448.0F, std::ldexp(1.0F, -10)})[1], 0.0F);
}

TEST(WireType, EveryFp8ValueComesBackAsItself) {
  std::vector<float> row{448.0F};  // so that the scale is 1
  for (int exponent = -6; exponent <= 8; ++exponent) {
    for (int fraction = 8; fraction < (exponent == 8 ? 15 : 16); ++fraction) {
      row.push_back(std::ldexp(static_cast<float>(fraction), exponent - 3));
      row.push_back(-row.back());
    }
  }
  for (int step = 0; step < 8; ++step) row.push_back(std::ldexp(static_cast<float>(step), -9));
  EXPECT_EQ(there_and_back(WireType::kFp8, row), row);
}

TEST(WireType, Float32KeepsEveryBit) {
  const std::vector<float> row{-0.0F, 1e-42F, 3.1F, -std::numeric_limits<float>::infinity()};
  const auto back = there_and_back(WireType::kFloat32, row);
  for (std::size_t i = 0; i < row.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(back[i]), std::bit_cast<std::uint32_t>(row[i]));
  }
}

TEST(WireType, WhatIsNotFiniteNeverBecomesANumber) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto wide = there_and_back(WireType::kBfloat16, {infinity, -infinity, nan, 2.0F});
  EXPECT_EQ(wide[0], infinity);
  EXPECT_EQ(wide[1], -infinity);
  EXPECT_TRUE(std::isnan(wide[2]));
  EXPECT_EQ(wide[3], 2.0F);
  // A NaN whose payload is only in the bits that are cut off.
  EXPECT_TRUE(
      std::isnan(there_and_back(WireType::kBfloat16, {std::bit_cast<float>(0x7F800001U)})[0]));
  for (const WireType type : kScaled) {
    for (const float odd : {infinity, -infinity, nan}) {
      for (const float x : there_and_back(type, {1.0F, odd, 0.0F})) EXPECT_TRUE(std::isnan(x));
    }
  }
}

TEST(WireType, RowsOfZerosAndOfTheSmallestNumbersStaySmall) {
  for (const WireType type : kTypes) {
    EXPECT_THAT(there_and_back(type, {0.0F, -0.0F}), ::testing::Each(0.0F)) << name_of(type);
    for (const float x : there_and_back(type, {1e-41F, -1e-44F})) EXPECT_LE(std::abs(x), 1e-40F);
  }
}

TEST(WireType, ARowTakesTheBytesThatItsTypeSays) {
  EXPECT_EQ(wire_bytes(WireType::kFloat32, 2048), 8192);
  EXPECT_EQ(wire_bytes(WireType::kBfloat16, 2048), 4096);
  EXPECT_EQ(wire_bytes(WireType::kInt8, 2048), 2052);
  EXPECT_EQ(wire_bytes(WireType::kFp8, 2048), 2052);
  EXPECT_EQ(wire_bytes(WireType::kBfloat16, 3), 8);
  EXPECT_EQ(wire_bytes(WireType::kInt8, 3), 8);
}

TEST(WireType, AnUnknownNameIsRefused) {
  for (const WireType type : kTypes) EXPECT_EQ(wire_type_from(name_of(type)), type);
  EXPECT_THAT([] { static_cast<void>(wire_type_from("float64")); },
              ::testing::ThrowsMessage<std::invalid_argument>(
                  "wire: got 'float64', want float32, bfloat16, int8 or fp8"));
}
}  // namespace
}  // namespace switchyard::comm
