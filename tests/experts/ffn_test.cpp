// SPDX-License-Identifier: Apache-2.0
// PackedExpert: how rows, workers, memory and layouts of weights may be shared out without a change
// of bits, and what it refuses.
#include "experts/ffn.hpp"

#include <algorithm>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

#include "experts/tensor.hpp"
#include "tests/experts/random_expert.hpp"
#include "tests/experts/run_expert.hpp"

namespace switchyard::experts {
namespace {

TEST(Expert, ARowsBitsDoNotDependOnTheOtherRowsOrOnItsPlace) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 72, 56, true};
  const Weights weights(spec, 8);
  for (const Isa isa : isas_here()) {
    for (const DType stored : kStored) {
      const PackedExpert expert(spec, weights.tensors, stored, isa);
      AlignedBuffer scratch;
      Batch all(450, 72, 12);  // more than go through at once
      expert.run(all.rows, {}, all.results, scratch);
      for (std::size_t count = 1; count < 60; count += count < 14 ? 1 : 7) {
        Batch some(450, 72, 12);
        const std::size_t first = 5 * count;
        expert.run(std::span(some.rows).subspan(first, count), {},
                   std::span(some.results).subspan(first, count), scratch);
        for (std::size_t r = first; r < first + count; ++r) {
          ASSERT_EQ(std::memcmp(some.results[r], all.results[r], 72 * sizeof(float)), 0)
              << name_of(isa) << ", row " << r << " among " << count;
        }
      }
    }
  }
}

TEST(Expert, WorkersThatShareItGetTheBitsOfOneThatRunsItAlone) {
  for (const Unit unit : {Unit::kGated, Unit::kPlain, Unit::kTrilinear}) {
    for (const Activation activation :
         {Activation::kSilu, Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu,
          Activation::kClampedSwiglu}) {
      if (activation == Activation::kClampedSwiglu && unit != Unit::kGated) continue;
      for (const auto& [hidden, width] : {std::pair{67, 101}, {96, 33}, {5, 130}, {33, 15}}) {
        const ExpertSpec spec{unit, activation, hidden, width, true};
        const Weights weights(spec, 17);
        for (const Isa isa : isas_here()) {
          const PackedExpert expert(spec, weights.tensors, DType::kBfloat16, isa);
          EXPECT_EQ(expert.up_parts(), (width + 31) / 32);
          EXPECT_EQ(expert.down_parts(), (hidden + 31) / 32);
          const std::int64_t num_rows = width == 33 ? 205 : 3;  // more than go through at once
          std::mt19937 generator(3);
          const auto gates = normal_values(num_rows, 1.0F, generator);
          Batch whole(num_rows, hidden, 5);
          AlignedBuffer scratch;
          expert.run(whole.rows, gates, whole.results, scratch);
          for (const std::int64_t step : {1, 2, 3}) {
            const auto parts = run_in_parts(expert, whole, gates, step);
            ASSERT_EQ(std::memcmp(parts.data(), whole.output.data(), parts.size() * sizeof(float)),
                      0)
                << name_of(isa) << ", " << hidden << " x " << width << ", parts of " << step;
          }
        }
      }
    }
  }
}

TEST(Expert, ABlockPackedElsewhereRunsInPlace) {
  const ExpertSpec spec{Unit::kTrilinear, Activation::kGeluTanh, 43, 37, true};
  const Weights weights(spec, 3);
  for (const DType stored : kStored) {
    const std::int64_t bytes = PackedExpert::packed_bytes(spec, stored);
    EXPECT_EQ(bytes % 64, 0);
    AlignedBuffer memory(static_cast<std::size_t>(bytes) + 128);
    std::memset(memory.as<std::byte>(), 0x77, memory.size());
    PackedExpert::pack(spec, weights.tensors, stored, memory.as<std::byte>() + 64);
    for (const std::size_t outside : {std::size_t{63}, static_cast<std::size_t>(bytes) + 64}) {
      EXPECT_EQ(memory.as<std::byte>()[outside], std::byte{0x77});
    }
    for (const Isa isa : isas_here()) {
      const PackedExpert view(spec, stored, memory.as<std::byte>() + 64, isa);
      EXPECT_EQ(view.bytes(), bytes);
      Batch mine(4, 43, 1);
      Batch theirs(4, 43, 1);
      AlignedBuffer scratch;
      PackedExpert(spec, weights.tensors, stored, isa).run(mine.rows, {}, mine.results, scratch);
      view.run(theirs.rows, {}, theirs.results, scratch);
      EXPECT_EQ(mine.output, theirs.output) << name_of(stored) << " " << name_of(isa);
    }
  }
  AlignedBuffer memory(128);
  EXPECT_THROW(PackedExpert(spec, DType::kFloat32, memory.as<std::byte>() + 4, Isa::kPortable),
               std::invalid_argument);
}

TEST(Expert, AdditionsInAnyOrderAreForComparisonAndStayClose) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 517, 300, true};
  const Weights weights(spec, 23);
  for (const DType stored : kStored) {
    for (const std::int64_t num_rows : {1, 3, 7, 8, 30}) {
      PackedExpert expert(spec, weights.tensors, stored, best_isa());
      Batch ordered(num_rows, spec.hidden, 5);
      Batch any(num_rows, spec.hidden, 5);
      AlignedBuffer scratch;
      expert.run(ordered.rows, {}, ordered.results, scratch);
      expert.add_in_any_order();
      expert.run(any.rows, {}, any.results, scratch);
      for (std::size_t i = 0; i < any.output.size(); ++i) {
        ASSERT_NEAR(any.output[i], ordered.output[i], 1e-4F) << num_rows << " rows, " << i;
      }
    }
  }
}

TEST(Expert, ReleasedLayoutsAreReadInPlace) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 20, 18, false};
  const Weights weights(spec, 13);
  // [in, out] with gate and up interleaved, as gpt-oss has it, and down as [in, out].
  std::vector<float> interleaved(20 * 36);
  std::vector<float> down(18 * 20);
  for (std::int64_t o = 0; o < 18; ++o) {
    for (std::int64_t i = 0; i < 20; ++i) {
      interleaved[static_cast<std::size_t>(i * 36 + 2 * o)] = weights.tensors.gate.at(o, i);
      interleaved[static_cast<std::size_t>(i * 36 + 2 * o + 1)] = weights.tensors.up.at(o, i);
      down[static_cast<std::size_t>(o * 20 + i)] = weights.tensors.down.at(i, o);
    }
  }
  ExpertTensors strided;
  strided.gate = {interleaved.data(), DType::kFloat32, 18, 20, 2, 36};
  strided.up = {interleaved.data() + 1, DType::kFloat32, 18, 20, 2, 36};
  strided.down = {down.data(), DType::kFloat32, 20, 18, 1, 20};
  Batch plain(5, 20, 1);
  Batch other(5, 20, 1);
  AlignedBuffer scratch;
  PackedExpert(spec, weights.tensors, DType::kFloat32, best_isa())
      .run(plain.rows, {}, plain.results, scratch);
  PackedExpert(spec, strided, DType::kFloat32, best_isa())
      .run(other.rows, {}, other.results, scratch);
  EXPECT_EQ(std::memcmp(plain.output.data(), other.output.data(), plain.output.size() * 4), 0);
}

TEST(Expert, Bfloat16SourcesAreStoredExactlyEitherWay) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 19, 35, false};
  const Weights weights(spec, 14);
  const auto narrow = [](const std::vector<float>& values) {
    std::vector<std::uint16_t> bits;
    for (const float value : values) bits.push_back(narrow_bfloat16(value));
    return bits;
  };
  const auto gate = narrow(weights.gate);
  const auto up = narrow(weights.up);
  const auto down = narrow(weights.down);
  ExpertTensors halves = weights.tensors;
  halves.gate = {gate.data(), DType::kBfloat16, 35, 19, 19, 1};
  halves.up = {up.data(), DType::kBfloat16, 35, 19, 19, 1};
  halves.down = {down.data(), DType::kBfloat16, 19, 35, 35, 1};
  std::vector<std::vector<float>> outputs;
  using Case = std::pair<const ExpertTensors*, DType>;
  for (const auto& [tensors, stored] :
       {Case{&halves, DType::kBfloat16}, Case{&halves, DType::kFloat32},
        Case{&weights.tensors, DType::kBfloat16}, Case{&weights.tensors, DType::kFloat32}}) {
    Batch batch(7, 19, 1);
    AlignedBuffer scratch;
    PackedExpert(spec, *tensors, stored, best_isa()).run(batch.rows, {}, batch.results, scratch);
    outputs.push_back(batch.output);
  }
  EXPECT_EQ(std::memcmp(outputs[0].data(), outputs[1].data(), outputs[0].size() * 4), 0);
  EXPECT_EQ(std::memcmp(outputs[0].data(), outputs[2].data(), outputs[0].size() * 4), 0);
  EXPECT_NE(std::memcmp(outputs[0].data(), outputs[3].data(), outputs[0].size() * 4), 0);
}

TEST(Expert, BytesAreThoseOfThePaddedPanels) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 40, 20, false};
  const Weights weights(spec, 1);
  // Two panels of 16 + 16 columns over 40 inputs, two of 32 columns over 20.
  EXPECT_EQ(PackedExpert(spec, weights.tensors, DType::kFloat32, Isa::kPortable).bytes(),
            2 * 40 * 32 * 4 + 2 * 20 * 32 * 4);
  EXPECT_EQ(PackedExpert(spec, weights.tensors, DType::kBfloat16, Isa::kPortable).bytes(),
            2 * 40 * 32 * 2 + 2 * 20 * 32 * 2);
}

TEST(Expert, MistakesAreNamed) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 7, 8, false};
  const Weights good(spec, 1);
  const auto message = [](const ExpertSpec& s, const ExpertTensors& tensors) -> std::string {
    try {
      const PackedExpert expert(s, tensors, DType::kFloat32, Isa::kPortable);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message(spec, good.tensors), "no error");
  ExpertTensors bad = good.tensors;
  bad.up.out = 5;
  EXPECT_EQ(message(spec, bad), "expert: up is [5, 7], want [8, 7]");
  bad = good.tensors;
  bad.gate = {};
  EXPECT_EQ(message(spec, bad), "expert: gate is absent, want [8, 7]");
  bad = good.tensors;
  bad.linear = bad.up;
  EXPECT_EQ(message(spec, bad), "expert: linear is [8, 7], want none");
  bad = good.tensors;
  bad.up_bias.resize(8);
  EXPECT_EQ(message(spec, bad), "expert: up_bias has 8 elements, want 0");
  ExpertSpec clamped = spec;
  clamped.unit = Unit::kPlain;
  clamped.activation = Activation::kClampedSwiglu;
  EXPECT_THAT(message(clamped, good.tensors), testing::HasSubstr("clamped swiglu"));

  const PackedExpert expert(spec, good.tensors, DType::kFloat32, Isa::kPortable);
  Batch batch(3, 7, 1);
  AlignedBuffer scratch;
  EXPECT_THROW(expert.run(batch.rows, {}, std::span(batch.results).first(2), scratch),
               std::invalid_argument);
  const std::vector<float> gates(2);
  EXPECT_THROW(expert.run(batch.rows, gates, batch.results, scratch), std::invalid_argument);
}
}  // namespace
}  // namespace switchyard::experts
