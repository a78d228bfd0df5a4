// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstring>

#include "runtime/verify/golden_file.hpp"

namespace switchyard::runtime {
namespace {

using experts::WeightView;

std::string hexadecimal(std::uint16_t bits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = "0x";
  const unsigned value = bits;
  for (const unsigned shift : {12U, 8U, 4U, 0U}) text += kDigits[(value >> shift) & 15U];
  return text;
}

/// Compares with [in, out] at `expert` of `tensor`. `views` take turns at the outputs: one view has
/// them all, gate and up have every other one.
template <std::size_t n>
std::string compare(const std::array<WeightView, n>& views, const Tensor& tensor,
                    const std::string& name, std::int64_t expert) {
  const auto num_views = static_cast<std::int64_t>(n);
  const std::int64_t in = views[0].in;
  const std::int64_t out = views[0].out * num_views;
  const std::string where = name + ": expert " + std::to_string(expert);
  for (std::int64_t i = 0; i < in; ++i) {
    for (std::int64_t o = 0; o < out; ++o) {
      const WeightView& view = views[static_cast<std::size_t>(o % num_views)];
      std::uint16_t want = 0;
      std::memcpy(&want, tensor.data.data() + ((expert * in + i) * out + o) * 2, sizeof want);
      const float value = view.at(o / num_views, i);
      const std::uint16_t got = experts::narrow_bfloat16(value);
      if (got == want && experts::widen_bfloat16(got) == value) continue;
      return where + ", input " + std::to_string(i) + ", output " + std::to_string(o) + ": bits " +
             hexadecimal(got) + ", want " + hexadecimal(want);
    }
  }
  return {};
}
}  // namespace

std::string check_unpacked(const GoldenBlock& block) {
  const std::string both = "golden.unpacked.gate_up_proj";
  const std::string down = "golden.unpacked.down_proj";
  const Tensor* unpacked_both = block.tensors->find(both);
  const Tensor* unpacked_down = block.tensors->find(down);
  if (unpacked_both == nullptr && unpacked_down == nullptr) return {};
  for (std::int64_t e = 0; e < block.spec.router.experts; ++e) {
    const experts::ExpertTensors expert = block.weights->expert(e);
    std::string problem;
    if (unpacked_both != nullptr) {
      problem = compare(std::array{expert.gate, expert.up}, *unpacked_both, both, e);
    }
    if (problem.empty() && unpacked_down != nullptr) {
      problem = compare(std::array{expert.down}, *unpacked_down, down, e);
    }
    if (!problem.empty()) return problem;
  }
  return {};
}
}  // namespace switchyard::runtime
