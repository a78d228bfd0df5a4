// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <set>
#include <vector>

#include "experts/ffn.hpp"
#include "runtime/layer/shard.hpp"
#include "runtime/state/layer_state.hpp"
#include "runtime/state/rule.hpp"

namespace switchyard {
namespace {
using experts::Stream;
using runtime::LayerState;
using runtime::NetworkChange;
using runtime::StepKey;

experts::BlockSpec block_of(experts::Unit unit, bool biases, std::int64_t hidden,
                            std::int64_t width) {
  experts::BlockSpec block;
  block.router.hidden = block.expert.hidden = hidden;
  block.router.experts = 5;
  block.router.top_k = 2;
  block.expert.width = width;
  block.expert.unit = unit;
  block.expert.biases = biases;
  block.shared = block.expert;
  return block;
}

LayerState state_of(const experts::BlockSpec& block) {
  const std::vector<std::int32_t> own{1, 3, 4};
  LayerState state(block, 7, std::make_shared<experts::SyntheticSource>(block, 3, 7, true, true),
                   own);
  state.begin();
  return state;
}

std::vector<float> numbers_of(const LayerState& state) {
  std::vector<float> all;
  for (const auto& tensor : state.tensors()) {
    all.insert(all.end(), tensor.all().begin(), tensor.all().end());
  }
  return all;
}

TEST(State, BeginsAsItsSourceHasItAndIsTheSourceFromThenOn) {
  const auto block = block_of(experts::Unit::kTrilinear, true, 40, 24);
  experts::SyntheticSource source(block, 3, 7, true, true);
  LayerState state = state_of(block);
  const auto want = source.expert(3);
  const auto got = state.expert(3);
  for (std::int64_t o = 0; o < 24; ++o) {
    for (std::int64_t i = 0; i < 40; ++i) {
      ASSERT_EQ(got.gate.at(o, i), want.gate.at(o, i));
      ASSERT_EQ(got.up.at(o, i), want.up.at(o, i));
      ASSERT_EQ(got.linear.at(o, i), want.linear.at(o, i));
      ASSERT_EQ(got.down.at(i, o), want.down.at(i, o));
    }
  }
  EXPECT_EQ(got.gate_bias, want.gate_bias);
  EXPECT_EQ(got.down_bias, want.down_bias);
  EXPECT_EQ(state.router().selection_bias, source.router().selection_bias);
  EXPECT_THROW((void)state.expert(0), std::logic_error) << "expert 0 is another rank's";
}

TEST(State, HasTheNumbersOfTheSpecification) {
  // runtime/README.md walks this case.
  const NetworkChange change({.seed = 1, .step = 2, .digest = 0x0123456789abcdefU}, 3, 17);
  const experts::Outputs which = change.outputs(100);
  std::vector<float> values(100, 1.5F);
  change.apply(Stream::kGate, {values.data(), 100, 1});
  EXPECT_EQ(which.first, 32);
  EXPECT_EQ(which.count, 16);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(values[32]), 0x3f895b99U);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(values[31]), 0x3fc00000U) << "not one of the 16";
}

TEST(State, ChangesEveryTensorInEveryStepAndLosesNoState) {
  for (const auto unit :
       {experts::Unit::kGated, experts::Unit::kPlain, experts::Unit::kTrilinear}) {
    LayerState state = state_of(block_of(unit, true, 40, 24));
    for (std::int64_t step = 0; step < 5; ++step) {
      const std::vector<float> before = numbers_of(state);
      state.change({.seed = 1, .step = step, .digest = 5});
      const std::vector<float> after = numbers_of(state);
      std::size_t at = 0;
      for (const auto& tensor : state.tensors()) {
        const auto change = NetworkChange({.seed = 1, .step = step, .digest = 5}, 7, tensor.id);
        const experts::Outputs which = change.outputs(tensor.out);
        ASSERT_GT(which.count, 0) << tensor.name;
        for (std::int64_t i = 0; i < tensor.out * tensor.in; ++i, ++at) {
          const bool inside =
              i / tensor.in >= which.first && i / tensor.in < which.first + which.count;
          const bool zero = before[at] == 0;
          ASSERT_EQ(before[at] != after[at], inside && !zero) << tensor.name << ", number " << i;
        }
      }
    }
  }
}

TEST(State, OfManyStepsStaysFiniteInItsBinade) {
  LayerState state = state_of(block_of(experts::Unit::kGated, false, 40, 24));
  const std::vector<float> before = numbers_of(state);
  for (std::int64_t step = 0; step < 3000; ++step) {
    state.change({.seed = 1, .step = step, .digest = static_cast<std::uint64_t>(step) * 77});
  }
  const std::vector<float> after = numbers_of(state);
  for (std::size_t i = 0; i < after.size(); ++i) {
    ASSERT_TRUE(std::isfinite(after[i]));
    ASSERT_EQ(std::ilogb(after[i]), std::ilogb(before[i])) << i;
  }
}

TEST(State, DependsOnSeedStepDigestLayerAndId) {
  const StepKey key{.seed = 1, .step = 2, .digest = 3};
  const auto made = [](const StepKey& with, std::int64_t layer, std::int64_t id, Stream tensor) {
    std::vector<float> values(16, 1.5F);
    NetworkChange(with, layer, id).apply(tensor, {values.data(), 16, 1});
    return values;
  };
  const std::set<std::vector<float>> all{
      made(key, 4, 5, Stream::kUp),
      made({.seed = 2, .step = 2, .digest = 3}, 4, 5, Stream::kUp),
      made({.seed = 1U + (1ULL << 32U), .step = 2, .digest = 3}, 4, 5, Stream::kUp),
      made({.seed = 1, .step = 3, .digest = 3}, 4, 5, Stream::kUp),
      made({.seed = 1, .step = 2, .digest = 4}, 4, 5, Stream::kUp),
      made({.seed = 1, .step = 2, .digest = 3U + (1ULL << 32U)}, 4, 5, Stream::kUp),
      made(key, 5, 5, Stream::kUp),
      made(key, 4, 6, Stream::kUp),
      made(key, 4, 5, Stream::kDown)};
  EXPECT_EQ(all.size(), 9U);
}

TEST(State, RepackedIsWhatPackingTheWholeGives) {
  using experts::PackedExpert;
  for (const auto unit :
       {experts::Unit::kGated, experts::Unit::kPlain, experts::Unit::kTrilinear}) {
    for (const std::int64_t width : {24, 300}) {
      const auto block = block_of(unit, true, 160, width);
      for (const auto stored : experts::kAllDTypes) {
        LayerState state = state_of(block);
        const auto bytes =
            static_cast<std::size_t>(PackedExpert::packed_bytes(block.expert, stored));
        experts::AlignedBuffer packed(bytes);
        experts::AlignedBuffer want(bytes);
        std::memset(packed.as<char>(), 0, bytes);
        std::memset(want.as<char>(), 0, bytes);
        PackedExpert::pack(block.expert, state.expert(3), stored, packed.as<char>());
        for (std::int64_t step = 0; step < 6; ++step) {
          const StepKey key{.seed = 1, .step = step, .digest = 9};
          state.change(key);
          const auto changed = state.changed(key, 3);
          PackedExpert::repack(block.expert, state.expert(3), stored, changed.up, changed.down,
                               packed.as<char>());
          PackedExpert::pack(block.expert, state.expert(3), stored, want.as<char>());
          ASSERT_EQ(std::memcmp(packed.as<char>(), want.as<char>(), bytes), 0)
              << "unit " << static_cast<int>(unit) << ", width " << width << ", "
              << experts::name_of(stored) << ", step " << step;
        }
      }
    }
  }
}

TEST(State, DigestOfAStepIsTheSumOfItsTokensWhereverTheyAre) {
  std::vector<float> rows(6 * 5);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i) * 0.25F;
  const auto part = [&](std::int64_t first, std::int64_t count) {
    return runtime::step_digest(first, {rows.data() + first * 5, count, 5});
  };
  const std::uint64_t whole = part(0, 6);
  EXPECT_EQ(part(0, 2) + part(2, 0) + part(2, 4), whole);
  EXPECT_NE(runtime::step_digest(1, {rows.data(), 6, 5}), whole) << "tokens have numbers";
  rows[17] = -rows[17];
  EXPECT_NE(part(0, 6), whole);
}
}  // namespace
}  // namespace switchyard
