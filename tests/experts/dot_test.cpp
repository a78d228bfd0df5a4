// SPDX-License-Identifier: Apache-2.0
// Native products (bfloat16 and int8 dot products) and float32 products of weights with scales have
// the same bits in any batch, in parts, and where that is promised on every set of instructions.
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "experts/kernels/dispatch.hpp"
#include "tests/experts/dot_ways.hpp"
#include "tests/experts/random_expert.hpp"
#include "tests/experts/run_expert.hpp"

namespace switchyard::experts {
namespace {

TEST(Dot, ARowAloneGetsTheBitsItGetsInAnyBatch) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 290, 75, true};
  const Weights weights(spec, 8);
  for (const Way& way : ways_here()) {
    const PackedExpert expert = way.expert(spec, weights.tensors);
    AlignedBuffer scratch;
    Batch all(530, spec.hidden, 12);  // more than go through at once
    expert.run(all.rows, {}, all.results, scratch);
    const bool slow = std::string(way.dots.engine) == "portable" && way.math == Math::kFloat32;
    for (std::size_t count = 1; count <= 70; count += slow ? 23 : 1) {
      Batch some(530, spec.hidden, 12);
      const std::size_t first = 5 * count;
      expert.run(std::span(some.rows).subspan(first, count), {},
                 std::span(some.results).subspan(first, count), scratch);
      for (std::size_t r = first; r < first + count; ++r) {
        ASSERT_EQ(std::memcmp(some.results[r], all.results[r], 290 * sizeof(float)), 0)
            << way.name() << ", row " << r << " among " << count;
      }
    }
  }
}

TEST(Dot, PartsGiveTheBitsOfTheWhole) {
  for (const Way& way : ways_here()) {
    for (const std::int64_t width : kRagged) {
      for (const ExpertSpec& spec : every_unit(67, width)) {
        const Weights weights(spec, 17);
        const PackedExpert expert = way.expert(spec, weights.tensors);
        std::mt19937 generator(3);
        const std::int64_t num_rows = spec.activation == Activation::kSilu ? 37 : 3;
        const std::vector<float> gates = normal_values(num_rows, 1.0F, generator);
        const Batch rows(num_rows, spec.hidden, 5);
        const std::vector<float> whole = output_of(expert, rows, gates);
        for (const std::int64_t step : {1, 2, 3}) {
          ASSERT_TRUE(same_bits(run_in_parts(expert, rows, gates, step), whole))
              << way.name() << ", " << describe(spec) << ", parts of " << step;
        }
      }
    }
  }
}

TEST(Dot, ScaledTypesHaveTheSameBitsOnEverySetOfInstructions) {
  for (const auto& [stored, math] :
       {std::pair{DType::kInt8, Math::kNative}, std::pair{DType::kInt8, Math::kFloat32},
        std::pair{DType::kFp8, Math::kFloat32}, std::pair{DType::kMxfp4, Math::kFloat32}}) {
    for (const std::int64_t hidden : {1, 5, 33, 130, 384}) {
      for (const ExpertSpec& spec : every_unit(hidden, 515 - hidden)) {
        const Weights weights(spec, 30);
        const std::int64_t num_rows = spec.unit == Unit::kGated ? 41 : 3;
        const Batch rows(num_rows, hidden, 7);
        std::vector<float> first;
        for (const Way& way : ways_here()) {
          if (way.stored != stored || way.math != math) continue;
          const std::vector<float> got = output_of(way.expert(spec, weights.tensors), rows);
          if (first.empty()) first = got;
          ASSERT_TRUE(same_bits(got, first)) << way.name() << ", " << describe(spec);
        }
      }
    }
  }
}

TEST(Dot, ANanReachesEveryResultOfItsRowAndNoOther) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 140, 40, false};
  const Weights weights(spec, 2);
  for (const Way& way : ways_here()) {
    Batch batch(3, spec.hidden, 1);
    batch.input[1 + 141 + 70] = std::nanf("");
    AlignedBuffer scratch;
    way.expert(spec, weights.tensors).run(batch.rows, {}, batch.results, scratch);
    for (std::int64_t o = 0; o < spec.hidden; ++o) {
      EXPECT_FALSE(std::isnan(batch.results[0][o])) << way.name();
      EXPECT_TRUE(std::isnan(batch.results[1][o])) << way.name();
      EXPECT_FALSE(std::isnan(batch.results[2][o])) << way.name();
    }
  }
}

TEST(Dot, TheNameOfTheMathSaysWhatReallyRuns) {
  for (const Isa isa : isas_here()) {
    for (const DType stored : kAllDTypes) {
      EXPECT_EQ(math_name(isa, Math::kFloat32, stored), "float32");
    }
    EXPECT_EQ(math_name(isa, Math::kNative, DType::kFloat32), "float32");
    EXPECT_EQ(math_name(isa, Math::kNative, DType::kInt8), "int8");
    EXPECT_EQ(math_name(isa, Math::kNative, DType::kFp8), "float32");
    EXPECT_EQ(math_name(isa, Math::kNative, DType::kMxfp4), "float32");
  }
  EXPECT_EQ(math_name(Isa::kPortable, Math::kNative, DType::kBfloat16), "float32");
}
}  // namespace
}  // namespace switchyard::experts
