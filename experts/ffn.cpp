// SPDX-License-Identifier: Apache-2.0
#include "experts/ffn.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "experts/kernels/dispatch.hpp"
#include "experts/kernels/dot_network.hpp"

namespace switchyard::experts {
namespace {

using panel::Finish;
using panel::kColumns;
using panel::kHalf;

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

panel::Stored stored_of(DType stored) {
  return stored == DType::kFloat32    ? panel::Stored::kFloat32
         : stored == DType::kBfloat16 ? panel::Stored::kBfloat16
                                      : panel::Stored::kFloat16;
}

constexpr std::int64_t line_up(std::int64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// Outputs of a panel of the first product, and how many panels a part has of them.
std::int64_t up_width(const ExpertSpec& spec) {
  return spec.unit == Unit::kPlain ? kColumns : kHalf;
}
std::int64_t up_panels_a_part(const ExpertSpec& spec) {
  return kColumns / up_width(spec);
}

/// Where things are in a block, in bytes; gate and up come first.
struct Layout {
  std::int64_t linear = 0;
  std::int64_t down = 0;
  std::int64_t up_bias = 0;
  std::int64_t down_bias = 0;
  std::int64_t end = 0;
};
Layout layout_of(const ExpertSpec& spec, DType stored) {
  const std::int64_t width = up_width(spec);
  const auto bias_bytes = [&](std::int64_t panels) {
    return spec.biases ? panels * kColumns * std::int64_t{sizeof(float)} : 0;
  };
  Layout at;
  at.linear = panel_bytes(spec.width, spec.hidden, width, stored);
  at.down = at.linear;
  if (spec.unit == Unit::kTrilinear) {
    at.down += panel_bytes(spec.width, spec.hidden, kColumns, stored);
  }
  at.up_bias = at.down + panel_bytes(spec.hidden, spec.width, kColumns, stored);
  at.down_bias = at.up_bias + bias_bytes(panels_for(spec.width, width));
  at.end = at.down_bias + bias_bytes(panels_for(spec.hidden, kColumns));
  return at;
}

void pack_biases(const ExpertSpec& spec, const ExpertTensors& tensors, const Layout& at,
                 std::byte* block) {
  if (!spec.biases) return;
  std::fill(block + at.up_bias, block + at.end, std::byte{0});
  auto* up_bias = reinterpret_cast<float*>(block + at.up_bias);
  const bool gated = spec.unit != Unit::kPlain;
  place_bias(tensors.gate_bias, up_width(spec), 0, up_bias);
  place_bias(tensors.up_bias, up_width(spec), gated ? kHalf : 0, up_bias);
  place_bias(tensors.down_bias, kColumns, 0, reinterpret_cast<float*>(block + at.down_bias));
}

void require_aligned(const void* memory) {
  if (memory != nullptr && reinterpret_cast<std::uintptr_t>(memory) % 64 == 0) return;
  throw std::invalid_argument("expert: memory is not 64-byte aligned, want it to be");
}
void require_count(const char* name, std::size_t got, std::size_t want) {
  if (got == want) return;
  throw std::invalid_argument("expert: " + std::to_string(got) + " " + name + ", want " +
                              std::to_string(want));
}
void require_parts(std::int64_t first, std::int64_t end, std::int64_t parts) {
  if (0 <= first && first <= end && end <= parts) return;
  throw std::invalid_argument("expert: parts " + std::to_string(first) + " to " +
                              std::to_string(end) + ", want some of 0 to " + std::to_string(parts));
}

/// Rows go through in as few runs as allowed, of about the same size.
struct Runs {
  explicit Runs(std::int64_t num_rows)
      : total(num_rows), most((num_rows + count_of(num_rows) - 1) / count_of(num_rows)) {}
  static std::int64_t count_of(std::int64_t num_rows) {
    return std::max<std::int64_t>(1, panels_for(num_rows, panel::kMostRows));
  }
  /// Calls f(first, count) for every run.
  template <class F>
  void each(const F& f) const {
    for (std::int64_t first = 0; first < total; first += most) {
      f(first, std::min(most, total - first));
    }
  }
  std::int64_t total;
  std::int64_t most;  ///< rows of the largest
};

/// A block with the rows that go through it at once.
struct Pass {
  const ExpertSpec& spec;
  DType stored;
  panel::Kernels kernels;
  const std::byte* block;
  bool any_order;

  [[nodiscard]] panel::Product product(std::int64_t panels, std::int64_t bias, std::int64_t depth,
                                       std::int64_t outputs, std::int64_t num_rows) const {
    panel::Product made;
    made.panels = block + panels;
    made.stored = stored_of(stored);
    if (spec.biases) made.bias = reinterpret_cast<const float*>(block + bias);
    made.depth = depth;
    made.outputs = outputs;
    made.rows = num_rows;
    made.any_order = any_order;
    return made;
  }

  /// @param x       packed rows
  /// @param middle  [num_rows * width], packed
  /// @param next    what will be read after these parts, if it is known
  void up(std::int64_t num_rows, const float* x, std::int64_t first_part, std::int64_t end_part,
          float* middle, const void* next) const {
    const Layout at = layout_of(spec, stored);
    const std::int64_t width = up_width(spec);
    panel::Product up = product(0, at.up_bias, spec.hidden, spec.width, num_rows);
    up.first_panel = first_part * up_panels_a_part(spec);
    up.end_panel = std::min(end_part * up_panels_a_part(spec), panels_for(spec.width, width));
    up.x = x;
    up.next = next;
    up.finish = spec.unit == Unit::kPlain ? Finish::kPlain : Finish::kGated;
    up.act = act_of(spec.activation);
    up.alpha = spec.swiglu_alpha;
    up.limit = spec.swiglu_limit;
    up.packed = middle;
    if (spec.unit != Unit::kTrilinear) return kernels.run(up);
    panel::Product linear = up;
    linear.panels = block + at.linear;
    linear.first_panel = first_part;
    linear.end_panel = std::min(end_part, panels_for(spec.width, kColumns));
    linear.bias = nullptr;
    linear.finish = Finish::kMultiply;
    up.next = block + at.linear + first_part * panel_stride(spec.hidden, stored);
    kernels.run(up);
    kernels.run(linear);
  }

  void down(std::int64_t num_rows, const float* middle, std::int64_t first_part,
            std::int64_t end_part, float* const* results, const void* next) const {
    const Layout at = layout_of(spec, stored);
    panel::Product down = product(at.down, at.down_bias, spec.width, spec.hidden, num_rows);
    down.first_panel = first_part;
    down.end_panel = end_part;
    down.x = middle;
    down.next = next;
    down.results = results;
    kernels.run(down);
  }
};

/// The expert as the kernels of dot.hpp run it.
DotNetwork network_of(const ExpertSpec& spec, DType stored, Isa isa, const dot::Kernels& dots,
                      const std::byte* block) {
  const Layout at = layout_of(spec, stored);
  ExpertPanels panels;
  panels.up = block;
  panels.linear = block + at.linear;
  panels.down = block + at.down;
  if (spec.biases) {
    panels.up_bias = reinterpret_cast<const float*>(block + at.up_bias);
    panels.down_bias = reinterpret_cast<const float*>(block + at.down_bias);
  }
  return {spec, stored, panels, dots, kernels_of(isa), act_of(spec.activation)};
}
}  // namespace

std::int64_t PackedExpert::packed_bytes(const ExpertSpec& spec, DType stored) {
  return layout_of(spec, stored).end;
}

DType PackedExpert::own_type(const ExpertTensors& tensors) {
  const DType type = tensors.up.type;
  for (const WeightView* view : {&tensors.gate, &tensors.up, &tensors.linear, &tensors.down}) {
    if (!view->empty() && !fits_panels(*view, type)) return DType::kFloat32;
  }
  return type;
}

void PackedExpert::pack(const ExpertSpec& spec, const ExpertTensors& tensors, DType stored,
                        void* memory) {
  require_shapes(spec, tensors);
  require_aligned(memory);
  const Layout at = layout_of(spec, stored);
  auto* block = static_cast<std::byte*>(memory);
  const bool gated = spec.unit != Unit::kPlain;
  if (gated) {
    pack_halves(tensors.gate, tensors.up, stored, block);
  } else {
    pack_whole(tensors.up, stored, block);
  }
  if (spec.unit == Unit::kTrilinear) pack_whole(tensors.linear, stored, block + at.linear);
  pack_whole(tensors.down, stored, block + at.down);
  pack_biases(spec, tensors, at, block);
}

void PackedExpert::repack(const ExpertSpec& spec, const ExpertTensors& tensors, DType stored,
                          Outputs up, Outputs down, void* memory) {
  require_shapes(spec, tensors);
  require_aligned(memory);
  const Layout at = layout_of(spec, stored);
  auto* block = static_cast<std::byte*>(memory);
  if (spec.unit != Unit::kPlain) {
    repack_halves(tensors.gate, tensors.up, up, stored, block);
  } else {
    repack_whole(tensors.up, up, stored, block);
  }
  if (spec.unit == Unit::kTrilinear) repack_whole(tensors.linear, up, stored, block + at.linear);
  repack_whole(tensors.down, down, stored, block + at.down);
  pack_biases(spec, tensors, at, block);
}

PackedExpert::PackedExpert(const ExpertSpec& spec, const ExpertTensors& tensors, DType stored,
                           Isa isa, Math math)
    : spec_(spec), stored_(stored), isa_(isa), dots_(dots_of(isa, math, stored)) {
  require_shapes(spec, tensors);
  memory_ = AlignedBuffer(static_cast<std::size_t>(packed_bytes(spec, stored)));
  pack(spec, tensors, stored, memory_.as<std::byte>());
}

PackedExpert::PackedExpert(const ExpertSpec& spec, DType stored, const void* memory, Isa isa,
                           Math math)
    : spec_(spec),
      stored_(stored),
      isa_(isa),
      dots_(dots_of(isa, math, stored)),
      outside_(static_cast<const std::byte*>(memory)) {
  require_aligned(memory);
}

std::int64_t PackedExpert::bytes() const {
  return block() == nullptr ? 0 : packed_bytes(spec_, stored_);
}

std::int64_t PackedExpert::middle_bytes(std::int64_t num_rows) const {
  if (dots_.accumulate != nullptr) return DotNetwork::middle_bytes(spec_, dots_, num_rows);
  return line_up(num_rows * spec_.width * std::int64_t{sizeof(float)});
}

void PackedExpert::run_up(std::span<const float* const> rows, std::span<const float> gates,
                          std::int64_t first_part, std::int64_t end_part, void* middle,
                          AlignedBuffer& scratch) const {
  if (!gates.empty()) require_count("gates", gates.size(), rows.size());
  require_parts(first_part, end_part, up_parts());
  if (rows.empty() || first_part == end_part) return;
  require_aligned(middle);
  if (dots_.accumulate != nullptr) {
    return network_of(spec_, stored_, isa_, dots_, block())
        .run_up(rows, gates, first_part, end_part, static_cast<std::byte*>(middle), scratch);
  }
  const Pass pass{spec_, stored_, kernels_of(isa_), block(), any_order_};
  const Runs runs(static_cast<std::int64_t>(rows.size()));
  scratch.ensure(static_cast<std::size_t>(runs.most * spec_.hidden) * sizeof(float));
  auto* x = scratch.as<float>();
  runs.each([&](std::int64_t first, std::int64_t count) {
    pass.kernels.pack_rows(rows.data() + first, gates.empty() ? nullptr : gates.data() + first,
                           count, spec_.hidden, x);
    pass.up(count, x, first_part, end_part, static_cast<float*>(middle) + first * spec_.width,
            nullptr);
  });
}

void PackedExpert::run_down(std::int64_t num_rows, const void* middle, std::int64_t first_part,
                            std::int64_t end_part, std::span<float* const> results,
                            AlignedBuffer& scratch) const {
  static_cast<void>(scratch);  // for kernels that need some
  require_count("results", results.size(), static_cast<std::size_t>(num_rows));
  require_parts(first_part, end_part, down_parts());
  if (num_rows == 0 || first_part == end_part) return;
  require_aligned(middle);
  if (dots_.accumulate != nullptr) {
    return network_of(spec_, stored_, isa_, dots_, block())
        .run_down(num_rows, static_cast<const std::byte*>(middle), first_part, end_part, results,
                  scratch);
  }
  const Pass pass{spec_, stored_, kernels_of(isa_), block(), any_order_};
  Runs(num_rows).each([&](std::int64_t first, std::int64_t count) {
    pass.down(count, static_cast<const float*>(middle) + first * spec_.width, first_part, end_part,
              results.data() + first, nullptr);
  });
}

void PackedExpert::run(std::span<const float* const> rows, std::span<const float> gates,
                       std::span<float* const> results, AlignedBuffer& scratch) const {
  require_count("results", results.size(), rows.size());
  if (!gates.empty()) require_count("gates", gates.size(), rows.size());
  if (rows.empty()) return;
  if (block() == nullptr) throw std::invalid_argument("expert: it is empty, want a packed one");
  if (dots_.accumulate != nullptr) {
    return network_of(spec_, stored_, isa_, dots_, block()).run(rows, gates, results, scratch);
  }
  const Pass pass{spec_, stored_, kernels_of(isa_), block(), any_order_};
  const Runs runs(static_cast<std::int64_t>(rows.size()));
  const std::int64_t x_bytes = line_up(runs.most * spec_.hidden * std::int64_t{sizeof(float)});
  scratch.ensure(static_cast<std::size_t>(x_bytes + middle_bytes(runs.most)));
  auto* x = scratch.as<float>();
  auto* middle = reinterpret_cast<float*>(scratch.as<std::byte>() + x_bytes);
  const std::byte* down_panels = block() + layout_of(spec_, stored_).down;
  runs.each([&](std::int64_t first, std::int64_t count) {
    pass.kernels.pack_rows(rows.data() + first, gates.empty() ? nullptr : gates.data() + first,
                           count, spec_.hidden, x);
    pass.up(count, x, 0, up_parts(), middle, down_panels);
    const bool more = first + count < runs.total;
    pass.down(count, middle, 0, down_parts(), results.data() + first, more ? block() : nullptr);
  });
}
}  // namespace switchyard::experts
