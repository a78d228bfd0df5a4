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
/// Panels that share a pass over the rows: few, so that a run of all of them stays in the second
/// cache beside the rows; many where the rows come from the third.
constexpr std::int64_t kFewPanels = 2;
constexpr std::int64_t kMostPanels = 24;
constexpr std::int64_t kRowsInCache = 1280 * 1024;
/// Bytes of a run: of a panel that is gone through once; of one that several blocks of rows read.
constexpr std::int64_t kRunBytes = 64 * 1024;
constexpr std::int64_t kSharedRunBytes = 64 * 1024;

/// Rows of a tile; kernels without tiles get room for a multiple of it too.
constexpr std::int64_t kTileRows = 16;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// Bytes of a panel up to an input that is a multiple of 128.
std::int64_t offset_in_panel(DType stored, std::int64_t input) {
  return panel_stride(input, stored);
}

/// Packed rows of some length: where they lie and how much room they take.
struct Packing {
  dot::Layout layout;
  std::int64_t bytes = 0;
  [[nodiscard]] std::int64_t at(std::int64_t row, std::int64_t x) const {
    if (layout.tile_bytes == 0) return row * layout.row_stride + x;
    return row / kTileRows * layout.block_stride + x / 64 * layout.tile_bytes +
           row % kTileRows * 64 + x % 64;
  }
};
/// A line more than the rows need keeps them off the same cache sets.
Packing packing_of(std::int64_t num_rows, std::int64_t row_bytes, bool tiles) {
  Packing made;
  const std::int64_t padded = round_up(num_rows, kTileRows);
  const std::int64_t lines = (row_bytes + 63) / 64;
  if (tiles) {
    made.layout.tile_bytes = 64 * std::min(num_rows, kTileRows);
    made.layout.block_stride = lines * made.layout.tile_bytes + 64;
    made.bytes = padded / kTileRows * made.layout.block_stride;
  } else {
    made.layout.row_stride = (lines + 1) * 64;
    made.bytes = padded * made.layout.row_stride;
  }
  return made;
}

std::int64_t middle_element(const dot::Kernels& dots) {
  return dots.element_bytes == 2 ? 2 : 4;
}
Packing middle_packing(const ExpertSpec& spec, const dot::Kernels& dots, std::int64_t num_rows) {
  const bool tiles = dots.tiles && middle_element(dots) == 2;
  return packing_of(num_rows, spec.width * middle_element(dots), tiles);
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
  Batch(const DotNetwork& network, std::int64_t rows, AlignedBuffer& scratch, std::int64_t most)
      : num_rows(rows) {
    sums = scratch.as<float>();
    notes = scratch.as<std::byte>() + most * kMostPanels * kColumns * std::int64_t{sizeof(float)};
    room = notes + most * network.notes_stride();
  }
  std::int64_t num_rows;
  float* sums;                   ///< [num_rows rounded up to 16][32 * most panels]
  std::byte* notes;              ///< [num_rows][notes_stride]
  std::byte* room;               ///< for packed rows
  const std::byte* x = nullptr;  ///< rows to be multiplied
  Packing packing;               ///< of x
  std::int64_t second_plane = 0;
};

/// Products over some panels; `finish(i)` has the sums of panel i, [num_rows][sums_stride].
struct DotNetwork::Work {
  std::int64_t depth = 0;
  std::int64_t num_panels = 0;
  const std::byte* const* panels = nullptr;  ///< of these
  const std::byte* const* later = nullptr;   ///< [num_panels] to fetch at the end, each or none
  std::int64_t later_bytes = 0;
};

std::int64_t DotNetwork::middle_bytes(const ExpertSpec& spec, const dot::Kernels& dots,
                                      std::int64_t num_rows) {
  return middle_packing(spec, dots, num_rows).bytes;
}

std::int64_t DotNetwork::notes_stride() const {
  const std::int64_t groups = panels_for(std::max(spec_.hidden, spec_.width), dot::kGroup);
  return round_up(groups * dots_.group_note_bytes, 64);
}

/// Of a plane of packed rows: whole lines, and whole groups where they have scales.
std::int64_t DotNetwork::plane_bytes(std::int64_t depth) const {
  return round_up(depth * dots_.element_bytes, dots_.element_bytes == 1 ? dot::kGroup : 64);
}

std::int64_t DotNetwork::packed_bytes(std::int64_t num_rows) const {
  const std::int64_t longest =
      std::max(plane_bytes(spec_.hidden), plane_bytes(spec_.width) * (two_planes() ? 2 : 1));
  return packing_of(num_rows, longest, dots_.tiles).bytes;
}

std::int64_t DotNetwork::scratch_bytes(std::int64_t most, bool middle_too) const {
  return most * (kMostPanels * kColumns * std::int64_t{sizeof(float)} + notes_stride()) +
         packed_bytes(most) + (middle_too ? middle_bytes(spec_, dots_, most) : 0);
}

void DotNetwork::products(const Batch& batch, const Work& work) const {
  const bool once = batch.num_rows <= dots_.rows_a_block;
  const std::int64_t stride = panel_stride(work.depth, stored_);
  const std::int64_t runs =
      std::max<std::int64_t>(1, stride / (once ? kRunBytes : kSharedRunBytes));
  const std::int64_t run = round_up((work.depth + runs - 1) / runs, dot::kGroup);
  dot::Block b;
  b.layout = batch.packing.layout;
  b.second_plane = batch.second_plane;
  b.notes_stride = notes_stride();
  b.num_rows = batch.num_rows;
  b.sums_stride = work.num_panels * kColumns;
  for (std::int64_t k = 0; k < work.depth; k += run) {
    const std::int64_t next = k + run;
    const std::int64_t at = offset_in_panel(stored_, k);
    b.rows = batch.x + batch.packing.at(0, k * dots_.element_bytes);
    b.notes = batch.notes + k / dot::kGroup * dots_.group_note_bytes;
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
  const std::int64_t most = batch.num_rows <= dots_.rows_a_block ? 1
                            : batch.packing.bytes > kRowsInCache ? kMostPanels
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
  const std::int64_t element = middle_element(dots_);
  const Packing rows_out = middle_packing(spec_, dots_, batch.num_rows);

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
    products(batch, {spec_.hidden, count, panels.data(), later.data(), stride});
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
        store_middle(row, valid, element, middle + rows_out.at(r, output * element));
      }
    }
    const std::int64_t filled = spec_.width * element % 64;
    if (last * kColumns < spec_.width || element != 2 || filled == 0) continue;
    for (std::int64_t r = 0; r < batch.num_rows; ++r) {  // what is read past the last output
      std::memset(middle + rows_out.at(r, spec_.width * element), 0,
                  static_cast<std::size_t>(64 - filled));
    }
  }
}

void DotNetwork::down(const Batch& batch, std::int64_t first_part, std::int64_t end_part,
                      float* const* results, const std::byte* next) const {
  const std::int64_t stride = panel_stride(spec_.width, stored_);
  const std::int64_t most = batch.num_rows <= dots_.rows_a_block ? 1
                            : batch.packing.bytes > kRowsInCache ? kMostPanels
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
    products(batch, {spec_.width, count, panels.data(), later.data(), stride});
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

void DotNetwork::pack(Batch& batch, const float* const* rows, const float* gates,
                      std::int64_t depth, bool planes) const {
  const std::int64_t plane = plane_bytes(depth);
  batch.packing = packing_of(batch.num_rows, planes ? 2 * plane : plane, dots_.tiles);
  batch.second_plane = planes ? batch.packing.at(0, plane) : 0;
  batch.x = batch.room;
  dots_.pack_rows({rows, gates, batch.num_rows, depth, batch.room, batch.packing.layout,
                   batch.second_plane, batch.notes, notes_stride()});
}

/// Makes the middle the rows to be multiplied: as it stands, or packed again.
void DotNetwork::take_middle(Batch& batch, const std::byte* middle) const {
  const Packing packing = middle_packing(spec_, dots_, batch.num_rows);
  if (middle_element(dots_) == 2) {
    batch.x = middle;
    batch.packing = packing;
    return;
  }
  std::array<const float*, kRowsAtOnce> rows{};
  for (std::int64_t r = 0; r < batch.num_rows; ++r) {
    rows[static_cast<std::size_t>(r)] = reinterpret_cast<const float*>(middle + packing.at(r, 0));
  }
  pack(batch, rows.data(), nullptr, spec_.width, two_planes());
}

void DotNetwork::run_up(std::span<const float* const> rows, std::span<const float> gates,
                        std::int64_t first_part, std::int64_t end_part, std::byte* middle,
                        AlignedBuffer& scratch) const {
  const Runs runs(rows.size());
  scratch.ensure(static_cast<std::size_t>(scratch_bytes(runs.most, false)));
  const Packing whole = middle_packing(spec_, dots_, runs.total);
  runs.each([&](std::int64_t first, std::int64_t count) {
    Batch batch(*this, count, scratch, runs.most);
    const Begun begun(dots_, count);
    pack(batch, rows.data() + first, gates.empty() ? nullptr : gates.data() + first, spec_.hidden,
         false);
    up(batch, first_part, end_part, middle + whole.at(first, 0), nullptr);
  });
}

void DotNetwork::run_down(std::int64_t num_rows, const std::byte* middle, std::int64_t first_part,
                          std::int64_t end_part, std::span<float* const> results,
                          AlignedBuffer& scratch) const {
  const Runs runs(static_cast<std::size_t>(num_rows));
  scratch.ensure(static_cast<std::size_t>(scratch_bytes(runs.most, false)));
  const Packing whole = middle_packing(spec_, dots_, runs.total);
  runs.each([&](std::int64_t first, std::int64_t count) {
    Batch batch(*this, count, scratch, runs.most);
    const Begun begun(dots_, count);
    take_middle(batch, middle + whole.at(first, 0));
    down(batch, first_part, end_part, results.data() + first, nullptr);
  });
}

void DotNetwork::run(std::span<const float* const> rows, std::span<const float> gates,
                     std::span<float* const> results, AlignedBuffer& scratch) const {
  const Runs runs(rows.size());
  scratch.ensure(static_cast<std::size_t>(scratch_bytes(runs.most, true)));
  const std::int64_t up_parts = (spec_.width + kColumns - 1) / kColumns;
  const std::int64_t down_parts = (spec_.hidden + kColumns - 1) / kColumns;
  std::byte* middle = scratch.as<std::byte>() + scratch_bytes(runs.most, false);
  runs.each([&](std::int64_t first, std::int64_t count) {
    Batch batch(*this, count, scratch, runs.most);
    const Begun begun(dots_, count);
    fetch(panels_.up, std::min(kRunBytes / 2, panel_stride(spec_.hidden, stored_)));
    pack(batch, rows.data() + first, gates.empty() ? nullptr : gates.data() + first, spec_.hidden,
         false);
    up(batch, 0, up_parts, middle, panels_.down);
    take_middle(batch, middle);
    const bool more = first + count < runs.total;
    down(batch, 0, down_parts, results.data() + first, more ? panels_.up : nullptr);
  });
}
}  // namespace switchyard::experts
