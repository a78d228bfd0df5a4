// SPDX-License-Identifier: Apache-2.0
#include "experts/ffn.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "experts/kernels/dispatch.hpp"
#include "experts/kernels/pack.hpp"

namespace switchyard::experts {
namespace {

using panel::Finish;
using panel::kColumns;
using panel::kHalf;

/// Most rows that go through an expert at once: their packed copies stay in the second cache for
/// common widths, and there is enough work a panel to hide the fetching of the next.
constexpr std::int64_t kRowsAtOnce = 192;

std::string shape_of(std::int64_t out, std::int64_t in) {
  return "[" + std::to_string(out) + ", " + std::to_string(in) + "]";
}

void require(const char* name, const WeightView& weight, std::int64_t out, std::int64_t in) {
  if (!weight.empty() && weight.out == out && weight.in == in) return;
  throw std::invalid_argument(std::string("expert: ") + name + " is " +
                              (weight.empty() ? "absent" : shape_of(weight.out, weight.in)) +
                              ", want " + shape_of(out, in));
}
void require_absent(const char* name, const WeightView& weight) {
  if (weight.empty()) return;
  throw std::invalid_argument(std::string("expert: ") + name + " is " +
                              shape_of(weight.out, weight.in) + ", want none");
}
void require(const char* name, const std::vector<float>& bias, bool allowed, std::int64_t size) {
  const auto got = static_cast<std::int64_t>(bias.size());
  if (got == 0 || (allowed && got == size)) return;
  throw std::invalid_argument(std::string("expert: ") + name + " has " + std::to_string(got) +
                              " elements, want " + std::to_string(allowed ? size : 0));
}

void require_shapes(const ExpertSpec& spec, const ExpertTensors& tensors) {
  if (spec.hidden < 1 || spec.width < 1) {
    throw std::invalid_argument("expert: hidden and width are " +
                                shape_of(spec.hidden, spec.width) + ", want at least [1, 1]");
  }
  if (spec.activation == Activation::kClampedSwiglu && spec.unit != Unit::kGated) {
    throw std::invalid_argument("expert: clamped swiglu in an ungated unit, want the gated one");
  }
  const bool gated = spec.unit != Unit::kPlain;
  if (gated) require("gate", tensors.gate, spec.width, spec.hidden);
  if (!gated) require_absent("gate", tensors.gate);
  require("up", tensors.up, spec.width, spec.hidden);
  const bool trilinear = spec.unit == Unit::kTrilinear;
  if (trilinear) require("linear", tensors.linear, spec.width, spec.hidden);
  if (!trilinear) require_absent("linear", tensors.linear);
  require("down", tensors.down, spec.hidden, spec.width);
  require("gate_bias", tensors.gate_bias, spec.biases && gated, spec.width);
  require("up_bias", tensors.up_bias, spec.biases, spec.width);
  require("down_bias", tensors.down_bias, spec.biases, spec.hidden);
}

std::int64_t panels_for(std::int64_t outputs, std::int64_t width) {
  return (outputs + width - 1) / width;
}

/// Bias values in the order of the columns: value i goes to its panel's column offset + i.
void place_bias(const std::vector<float>& bias, std::int64_t width, std::int64_t offset,
                float* out) {
  for (std::size_t i = 0; i < bias.size(); ++i) {
    const auto output = static_cast<std::int64_t>(i);
    out[output / width * kColumns + offset + output % width] = bias[i];
  }
}

panel::Act act_of(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return panel::Act::kSilu;
    case Activation::kGeluErf:
      return panel::Act::kGeluErf;
    case Activation::kGeluTanh:
      return panel::Act::kGeluTanh;
    case Activation::kRelu:
      return panel::Act::kRelu;
    case Activation::kClampedSwiglu:
      break;
  }
  return panel::Act::kClampedSwiglu;
}

std::int64_t line_up(std::int64_t floats) {
  return (floats + 15) / 16 * 16;
}  // to 64 bytes
}  // namespace

PackedExpert::PackedExpert(const ExpertSpec& spec, const ExpertTensors& tensors, DType stored,
                           Isa isa)
    : spec_(spec), stored_(stored), isa_(isa) {
  require_shapes(spec, tensors);
  const bool gated = spec.unit != Unit::kPlain;
  const std::int64_t up_width = gated ? kHalf : kColumns;
  const std::int64_t first_bytes = panel_bytes(spec.width, spec.hidden, up_width, stored);
  const std::int64_t linear_bytes =
      spec.unit == Unit::kTrilinear ? panel_bytes(spec.width, spec.hidden, kColumns, stored) : 0;
  up_panels_ = AlignedBuffer(static_cast<std::size_t>(first_bytes + linear_bytes));
  down_panels_ = AlignedBuffer(
      static_cast<std::size_t>(panel_bytes(spec.hidden, spec.width, kColumns, stored)));
  auto* panels = up_panels_.as<std::byte>();
  if (gated) {
    pack_halves(tensors.gate, tensors.up, stored, panels);
  } else {
    pack_whole(tensors.up, stored, panels);
  }
  if (linear_bytes > 0) pack_whole(tensors.linear, stored, panels + first_bytes);
  pack_whole(tensors.down, stored, down_panels_.as<std::byte>());
  if (!spec.biases) return;
  const std::int64_t up_columns = panels_for(spec.width, up_width) * kColumns;
  const std::int64_t columns = up_columns + panels_for(spec.hidden, kColumns) * kColumns;
  biases_ = AlignedBuffer(static_cast<std::size_t>(columns) * sizeof(float));
  auto* biases = biases_.as<float>();
  std::fill_n(biases, columns, 0.0F);
  place_bias(tensors.gate_bias, up_width, 0, biases);
  place_bias(tensors.up_bias, up_width, gated ? kHalf : 0, biases);
  place_bias(tensors.down_bias, kColumns, 0, biases + up_columns);
}

std::int64_t PackedExpert::bytes() const {
  return static_cast<std::int64_t>(up_panels_.size() + down_panels_.size() + biases_.size());
}

void PackedExpert::run(std::span<const float* const> rows, std::span<const float> gates,
                       std::span<float* const> results, AlignedBuffer& scratch) const {
  if (results.size() != rows.size() || (!gates.empty() && gates.size() != rows.size())) {
    throw std::invalid_argument("expert: " + std::to_string(results.size()) + " results and " +
                                std::to_string(gates.size()) + " gates, want " +
                                std::to_string(rows.size()) + " of each (or no gates)");
  }
  const auto total = static_cast<std::int64_t>(rows.size());
  if (total == 0) return;
  if (spec_.hidden == 0) throw std::invalid_argument("expert: it is empty, want a packed one");
  const std::int64_t chunks = (total + kRowsAtOnce - 1) / kRowsAtOnce;
  const std::int64_t most = (total + chunks - 1) / chunks;
  scratch.ensure(static_cast<std::size_t>(line_up(most * spec_.hidden) + most * spec_.width) *
                 sizeof(float));
  auto* x = scratch.as<float>();
  float* h = x + line_up(most * spec_.hidden);

  const panel::Kernels kernels = kernels_of(isa_);
  const bool gated = spec_.unit != Unit::kPlain;
  const std::int64_t up_width = gated ? kHalf : kColumns;
  panel::Product up;
  up.panels = up_panels_.as<std::byte>();
  up.bfloat16 = stored_ == DType::kBfloat16;
  up.depth = spec_.hidden;
  up.outputs = spec_.width;
  up.bias = biases_.as<float>();
  up.next = down_panels_.as<std::byte>();
  up.x = x;
  up.finish = gated ? Finish::kGated : Finish::kPlain;
  up.act = act_of(spec_.activation);
  up.alpha = spec_.swiglu_alpha;
  up.limit = spec_.swiglu_limit;
  up.packed = h;
  panel::Product linear = up;
  linear.panels =
      up_panels_.as<std::byte>() + panel_bytes(spec_.width, spec_.hidden, kHalf, stored_);
  linear.bias = nullptr;
  linear.finish = Finish::kMultiply;
  if (spec_.unit == Unit::kTrilinear) up.next = linear.panels;
  panel::Product down;
  down.panels = down_panels_.as<std::byte>();
  down.bfloat16 = up.bfloat16;
  down.depth = spec_.width;
  down.outputs = spec_.hidden;
  if (spec_.biases) down.bias = up.bias + panels_for(spec_.width, up_width) * kColumns;
  down.x = h;

  for (std::int64_t first = 0; first < total; first += most) {
    const std::int64_t count = std::min(most, total - first);
    kernels.pack_rows(rows.data() + first, gates.empty() ? nullptr : gates.data() + first, count,
                      spec_.hidden, x);
    up.rows = linear.rows = down.rows = count;
    down.results = results.data() + first;
    down.next = first + count < total ? up.panels : nullptr;
    kernels.run(up);
    if (spec_.unit == Unit::kTrilinear) kernels.run(linear);
    kernels.run(down);
  }
}
}  // namespace switchyard::experts
