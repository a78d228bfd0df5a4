// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/dot_network.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "experts/kernels/pack.hpp"

namespace switchyard::experts {
namespace {

using dot::kColumns;
using panel::kHalf;

/// Rows that go through an expert at once: two passes over its weights cost more than rows that do
/// not all stay in the second cache.
constexpr std::int64_t kRowsAtOnce = 256;
/// Panels that share a pass over the rows. Few, so that a run of all of them stays in the first
/// cache with a block of rows; many where the rows come from the third.
constexpr std::int64_t kFewPanels = 2;
constexpr std::int64_t kMostPanels = 24;
constexpr std::int64_t kRowsInCache = 1280 * 1024;
/// Bytes of a run: of a panel that is gone through once; of one that several blocks of rows read.
constexpr std::int64_t kRunBytes = 64 * 1024;
constexpr std::int64_t kSharedRunBytes = 16 * 1024;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// Bytes of a panel up to an input that is a multiple of 128.
std::int64_t offset_in_panel(DType stored, std::int64_t input) {
  return panel_stride(input, stored);
}

std::int64_t middle_stride(const ExpertSpec& spec, const dot::Kernels& dots) {
  const std::int64_t element = dots.element_bytes == 2 ? 2 : 4;
  return round_up(spec.width * element, 64) + 64;  // rows do not fall on the same cache sets
}

/// Runs of rows, as few as allowed and of about the same size.
struct Runs {
  explicit Runs(std::size_t num_rows) : total(static_cast<std::int64_t>(num_rows)) {
    const std::int64_t count = std::max<std::int64_t>(1, (total + kRowsAtOnce - 1) / kRowsAtOnce);
    most = round_up((total + count - 1) / count, 16);
  }
  template <class F>
  void each(const F& f) const {
    for (std::int64_t first = 0; first < total; first += most) {
      f(first, std::min(most, total - first));
    }
  }
  std::int64_t total;
  std::int64_t most = 0;
};

/// Some kernels set the processor up for a number of rows.
class Begun {
 public:
  Begun(const dot::Kernels& dots, std::int64_t num_rows) : end_(dots.end) { dots.begin(num_rows); }
  Begun(const Begun&) = delete;
  Begun& operator=(const Begun&) = delete;
  ~Begun() { end_(); }

 private:
  void (*end_)();
};

void fetch(const std::byte* from, std::int64_t bytes) {
  for (std::int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(from + at, 0, 2);
}

std::uint16_t* words(std::byte* p) {
  return reinterpret_cast<std::uint16_t*>(p);
}

/// Values of the middle, rounded to what it holds.
void store_middle(const float* values, std::int64_t count, std::int64_t element, std::byte* out) {
  if (element != 2) {
    std::memcpy(out, values, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  for (std::int64_t c = 0; c < count; ++c) words(out)[c] = narrow_bfloat16(values[c]);
}
}  // namespace

/// Rows that go through together, and the room for them.
struct DotNetwork::Batch {
  std::int64_t num_rows = 0;
  std::int64_t stride = 0;       ///< of packed rows
  std::byte* packed = nullptr;   ///< [num_rows rounded up to 16][stride]
  const std::byte* x = nullptr;  ///< rows to be multiplied: packed, or a middle that can be read
  std::int64_t x_stride = 0;
  float* sums = nullptr;  ///< [num_rows rounded up to 16][32 * most panels]
};

/// Products over some panels; `finish(i)` has the sums of panel i, [num_rows][sums_stride].
struct DotNetwork::Work {
  std::int64_t depth = 0;
  std::int64_t num_panels = 0;
  const std::byte* const* panels = nullptr;  ///< of these
  const std::byte* const* later = nullptr;   ///< [num_panels] to fetch at the end, each or none
  std::int64_t later_bytes = 0;
  bool two_planes = false;
};

std::int64_t DotNetwork::middle_bytes(const ExpertSpec& spec, const dot::Kernels& dots,
                                      std::int64_t num_rows) {
  return round_up(num_rows, 16) * middle_stride(spec, dots);
}

std::int64_t DotNetwork::row_stride(std::int64_t depth, bool two_planes) const {
  const std::int64_t groups = (depth + dot::kGroup - 1) / dot::kGroup;
  std::int64_t inputs = dots_.element_bytes == 1 ? groups * dot::kGroup : depth;
  if (two_planes) inputs *= 2;
  return round_up(inputs * dots_.element_bytes + groups * dots_.group_note_bytes, 64) + 64;
}

std::int64_t DotNetwork::scratch_bytes(std::int64_t num_rows, bool middle_too) const {
  const std::int64_t padded = round_up(num_rows, 16);
  const std::int64_t longest =
      std::max(row_stride(spec_.hidden, false), row_stride(spec_.width, two_planes()));
  return padded * (longest + kMostPanels * kColumns * std::int64_t{sizeof(float)}) +
         (middle_too ? middle_bytes(spec_, dots_, num_rows) : 0);
}

void DotNetwork::products(const Batch& batch, const Work& work) const {
  const bool once = batch.num_rows <= dots_.rows_a_block;
  const std::int64_t stride = panel_stride(work.depth, stored_);
  const std::int64_t runs =
      std::max<std::int64_t>(1, stride / (once ? kRunBytes : kSharedRunBytes));
  const std::int64_t run = round_up((work.depth + runs - 1) / runs, dot::kGroup);
  dot::Block b;
  b.row_stride = batch.x_stride;
  b.num_rows = batch.num_rows;
  b.sums_stride = work.num_panels * kColumns;
  const std::int64_t plane = round_up(work.depth, dot::kGroup);
  const std::int64_t notes = dots_.element_bytes == 1 ? (work.two_planes ? 2 : 1) * plane : 0;
  if (work.two_planes) b.second_plane = plane;
  for (std::int64_t k = 0; k < work.depth; k += run) {
    const std::int64_t next = k + run;
    const std::int64_t at = offset_in_panel(stored_, k);
    b.rows = batch.x + k * dots_.element_bytes;
    b.notes = batch.x + notes + k / dot::kGroup * dots_.group_note_bytes;
    b.depth = std::min(run, work.depth - k);
    b.first = k == 0;
    for (std::int64_t i = 0; i < work.num_panels; ++i) {
      b.panel = work.panels[i] + at;
      b.sums = batch.sums + i * kColumns;
      if (next < work.depth) {
        const std::int64_t from = offset_in_panel(stored_, next);
        b.fetch = work.panels[i] + from;
        b.fetch_bytes = offset_in_panel(stored_, std::min(next + run, work.depth)) - from;
      } else {
        b.fetch = work.later[i];
        b.fetch_bytes = std::min(work.later_bytes, offset_in_panel(stored_, run));
      }
      dots_.accumulate(b);
    }
  }
}

void DotNetwork::up(const Batch& batch, std::int64_t first_part, std::int64_t end_part,
                    std::byte* middle, const std::byte* next) const {
  const bool gated = spec_.unit != Unit::kPlain;
  const bool trilinear = spec_.unit == Unit::kTrilinear;
  const std::int64_t width = gated ? kHalf : kColumns;
  const std::int64_t stride = panel_stride(spec_.hidden, stored_);
  const std::int64_t a_part = gated ? 2 : 1;
  const std::int64_t most = batch.num_rows <= dots_.rows_a_block             ? 1
                            : batch.num_rows * batch.x_stride > kRowsInCache ? kMostPanels
                                                                             : kFewPanels;
  const std::int64_t parts_at_once =
      std::max<std::int64_t>(1, most / (a_part + (trilinear ? 1 : 0)));
  const std::int64_t num_panels = panels_for(spec_.width, width);
  panel::Product product;
  product.bias = panels_.up_bias;
  product.outputs = spec_.width;
  product.finish = gated ? panel::Finish::kGated : panel::Finish::kPlain;
  product.act = act_;
  product.alpha = spec_.swiglu_alpha;
  product.limit = spec_.swiglu_limit;
  const std::int64_t element = dots_.element_bytes == 2 ? 2 : 4;
  const std::int64_t out_stride = middle_stride(spec_, dots_);

  /// Panels of parts [first, ...): those of the unit, then the linear ones.
  std::array<const std::byte*, kMostPanels> panels{};
  std::array<const std::byte*, kMostPanels> later{};
  const auto list = [&](std::int64_t first, auto& out) {
    const std::int64_t last = std::min(first + parts_at_once, end_part);
    std::size_t count = 0;
    for (std::int64_t p = first * a_part; p < std::min(last * a_part, num_panels); ++p) {
      out[count++] = panels_.up + p * stride;
    }
    for (std::int64_t p = first; trilinear && p < last; ++p) {
      out[count++] = panels_.linear + p * stride;
    }
    return static_cast<std::int64_t>(count);
  };
  for (std::int64_t first = first_part; first < end_part; first += parts_at_once) {
    const std::int64_t last = std::min(first + parts_at_once, end_part);
    const std::int64_t count = list(first, panels);
    later.fill(nullptr);
    if (last < end_part) {
      list(last, later);
    } else {
      later[0] = next;
    }
    products(batch, {spec_.hidden, count, panels.data(), later.data(), stride, false});
    const std::int64_t sums_stride = count * kColumns;
    const std::int64_t first_panel = first * a_part;
    const std::int64_t unit_panels = std::min(last * a_part, num_panels) - first_panel;
    for (std::int64_t i = 0; i < unit_panels; ++i) {
      float* sums = batch.sums + i * kColumns;
      kernels_.finish(product, first_panel + i, batch.num_rows, sums, sums_stride);
      const std::int64_t output = (first_panel + i) * width;
      const std::int64_t valid = std::min(width, spec_.width - output);
      const float* factor = nullptr;
      if (trilinear)
        factor = batch.sums + (unit_panels + i / a_part) * kColumns + i % a_part * width;
      for (std::int64_t r = 0; r < batch.num_rows; ++r) {
        float* row = sums + r * sums_stride;
        for (std::int64_t c = 0; factor != nullptr && c < valid; ++c) {
          row[c] *= factor[r * sums_stride + c];
        }
        store_middle(row, valid, element, middle + r * out_stride + output * element);
      }
    }
    if (last * kColumns < spec_.width) continue;
    for (std::int64_t r = 0; r < batch.num_rows; ++r) {  // what tiles read past the last output
      const std::int64_t used = spec_.width * element;
      std::memset(middle + r * out_stride + used, 0, static_cast<std::size_t>(out_stride - used));
    }
  }
}

void DotNetwork::down(const Batch& batch, std::int64_t first_part, std::int64_t end_part,
                      float* const* results, const std::byte* next) const {
  const std::int64_t stride = panel_stride(spec_.width, stored_);
  const std::int64_t most = batch.num_rows <= dots_.rows_a_block             ? 1
                            : batch.num_rows * batch.x_stride > kRowsInCache ? kMostPanels
                                                                             : kFewPanels;
  panel::Product product;
  product.bias = panels_.down_bias;
  product.outputs = spec_.hidden;
  product.finish = panel::Finish::kStore;
  std::array<const std::byte*, kMostPanels> panels{};
  std::array<const std::byte*, kMostPanels> later{};
  for (std::int64_t first = first_part; first < end_part; first += most) {
    const std::int64_t count = std::min(most, end_part - first);
    for (std::int64_t i = 0; i < most; ++i) {
      const auto at = static_cast<std::size_t>(i);
      panels[at] = panels_.down + (first + i) * stride;
      later[at] =
          first + most + i < end_part ? panels_.down + (first + most + i) * stride : nullptr;
    }
    if (first + most >= end_part) later[0] = next;
    products(batch, {spec_.width, count, panels.data(), later.data(), stride, two_planes()});
    const std::int64_t sums_stride = count * kColumns;
    const std::int64_t output = first * kColumns;
    const auto valid =
        static_cast<std::size_t>(std::min(count * kColumns, spec_.hidden - output)) * sizeof(float);
    for (std::int64_t i = 0; product.bias != nullptr && i < count; ++i) {
      kernels_.finish(product, first + i, batch.num_rows, batch.sums + i * kColumns, sums_stride);
    }
    for (std::int64_t r = 0; r < batch.num_rows; ++r) {
      std::memcpy(results[r] + output, batch.sums + r * sums_stride, valid);
    }
  }
}

void DotNetwork::pack(const Batch& batch, const float* const* rows, const float* gates,
                      std::int64_t depth, bool planes) const {
  dots_.pack_rows({rows, gates, batch.num_rows, depth, batch.packed, batch.x_stride, planes});
}

void DotNetwork::pack_middle(const Batch& batch, const std::byte* middle) const {
  std::array<const float*, kRowsAtOnce> rows{};
  for (std::int64_t r = 0; r < batch.num_rows; ++r) {
    rows[static_cast<std::size_t>(r)] =
        reinterpret_cast<const float*>(middle + r * middle_stride(spec_, dots_));
  }
  pack(batch, rows.data(), nullptr, spec_.width, two_planes());
}

void DotNetwork::run_up(std::span<const float* const> rows, std::span<const float> gates,
                        std::int64_t first_part, std::int64_t end_part, std::byte* middle,
                        AlignedBuffer& scratch) const {
  const Runs runs(rows.size());
  scratch.ensure(static_cast<std::size_t>(scratch_bytes(runs.most, false)));
  runs.each([&](std::int64_t first, std::int64_t count) {
    Batch batch;
    batch.num_rows = count;
    batch.sums = scratch.as<float>();
    batch.packed = scratch.as<std::byte>() + round_up(runs.most, 16) * kMostPanels * kColumns * 4;
    batch.x = batch.packed;
    batch.x_stride = row_stride(spec_.hidden, false);
    const Begun begun(dots_, count);
    pack(batch, rows.data() + first, gates.empty() ? nullptr : gates.data() + first, spec_.hidden,
         false);
    up(batch, first_part, end_part, middle + first * middle_stride(spec_, dots_), nullptr);
  });
}

void DotNetwork::run_down(std::int64_t num_rows, const std::byte* middle, std::int64_t first_part,
                          std::int64_t end_part, std::span<float* const> results,
                          AlignedBuffer& scratch) const {
  const Runs runs(static_cast<std::size_t>(num_rows));
  scratch.ensure(static_cast<std::size_t>(scratch_bytes(runs.most, false)));
  runs.each([&](std::int64_t first, std::int64_t count) {
    Batch batch;
    batch.num_rows = count;
    batch.sums = scratch.as<float>();
    batch.packed = scratch.as<std::byte>() + round_up(runs.most, 16) * kMostPanels * kColumns * 4;
    const std::byte* rows = middle + first * middle_stride(spec_, dots_);
    const Begun begun(dots_, count);
    if (dots_.element_bytes == 2) {
      batch.x = rows;
      batch.x_stride = middle_stride(spec_, dots_);
    } else {
      batch.x = batch.packed;
      batch.x_stride = row_stride(spec_.width, two_planes());
      pack_middle(batch, rows);
    }
    down(batch, first_part, end_part, results.data() + first, nullptr);
  });
}

void DotNetwork::run(std::span<const float* const> rows, std::span<const float> gates,
                     std::span<float* const> results, AlignedBuffer& scratch) const {
  const Runs runs(rows.size());
  scratch.ensure(static_cast<std::size_t>(scratch_bytes(runs.most, true)));
  const std::int64_t up_parts = (spec_.width + kColumns - 1) / kColumns;
  const std::int64_t down_parts = (spec_.hidden + kColumns - 1) / kColumns;
  runs.each([&](std::int64_t first, std::int64_t count) {
    Batch batch;
    batch.num_rows = count;
    batch.sums = scratch.as<float>();
    batch.packed = scratch.as<std::byte>() + round_up(runs.most, 16) * kMostPanels * kColumns * 4;
    batch.x = batch.packed;
    batch.x_stride = row_stride(spec_.hidden, false);
    std::byte* middle = scratch.as<std::byte>() + scratch_bytes(runs.most, false);
    const Begun begun(dots_, count);
    fetch(panels_.up, std::min(kRunBytes / 2, panel_stride(spec_.hidden, stored_)));
    pack(batch, rows.data() + first, gates.empty() ? nullptr : gates.data() + first, spec_.hidden,
         false);
    up(batch, 0, up_parts, middle, panels_.down);
    if (dots_.element_bytes == 2) {
      batch.x = middle;
      batch.x_stride = middle_stride(spec_, dots_);
    } else {
      batch.x_stride = row_stride(spec_.width, two_planes());
      pack_middle(batch, middle);
    }
    const bool more = first + count < runs.total;
    down(batch, 0, down_parts, results.data() + first, more ? panels_.up : nullptr);
  });
}
}  // namespace switchyard::experts
