// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/rule.hpp"

#include <algorithm>
#include <bit>
#include <span>

#include "comm/base/crc32c.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::uint32_t kExponent = 0x7f800000U;
constexpr std::uint32_t kFraction = 0x007fffffU;
constexpr std::uint32_t kSign = 0x80000000U;
constexpr std::uint32_t kModulus = 0x00ffffffU;  // sign and fraction: 24 bits

std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32U);
}

/// Sign and fraction as one number m become a m + c mod 2^24. With both odd that is another number,
/// and a bijection: what was lost once stays lost.
float changed(float value, std::uint32_t a, std::uint32_t c) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t number = ((bits & kSign) >> 8U) | (bits & kFraction);
  const std::uint32_t next = (a * number + c) & kModulus;
  const std::uint32_t made = ((next << 8U) & kSign) | (bits & kExponent) | (next & kFraction);
  return std::bit_cast<float>((bits & kExponent) == 0 ? bits : made);
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}
}  // namespace

NetworkChange::NetworkChange(const StepKey& key, std::int64_t layer, std::int64_t id) {
  const auto step = static_cast<std::uint64_t>(key.step);
  const auto first = experts::philox(
      {static_cast<std::uint32_t>(layer), static_cast<std::uint32_t>(id), low(step), high(step)},
      {low(key.seed), high(key.seed)});
  draw_ = experts::philox({low(key.digest), high(key.digest), first[0], first[1]},
                          {first[2], first[3]});
}

experts::Outputs NetworkChange::outputs(std::int64_t out) const {
  const std::int64_t bands = (out + kChangedOutputs - 1) / kChangedOutputs;
  if (bands == 0) return {};
  const std::int64_t first = draw_[0] % bands * kChangedOutputs;
  return {first, std::min(kChangedOutputs, out - first)};
}

void NetworkChange::apply(experts::Stream tensor, experts::MatrixView<float> values) const {
  const experts::Outputs which = outputs(values.rows);
  for (std::int64_t o = which.first; o < which.first + which.count; ++o) {
    const auto words =
        experts::philox({static_cast<std::uint32_t>(tensor), static_cast<std::uint32_t>(o), 0, 0},
                        {draw_[1], draw_[2]});
    const std::uint32_t a = words[0] | 1U;
    const std::uint32_t c = words[1] | 1U;
    for (float& value : values.row(o)) value = changed(value, a, c);
  }
}

std::uint64_t step_digest(std::int64_t first, experts::MatrixView<const float> output) {
  std::uint64_t digest = 0;
  for (std::int64_t t = 0; t < output.rows; ++t) {
    const auto token = static_cast<std::uint64_t>(first + t);
    digest += mixed(mixed(token + 1) + comm::crc32c(std::as_bytes(output.row(t))));
  }
  return digest;
}
}  // namespace switchyard::runtime
