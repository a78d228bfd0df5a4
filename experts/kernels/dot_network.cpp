// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/dot_network.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "experts/kernels/dot_packing.hpp"
#include "experts/kernels/dot_products.inl"
#include "experts/kernels/pack.hpp"

namespace switchyard::experts {
namespace {

using dot::kColumns;
using dot::kTileRows;
using dot::middle_element;
using dot::middle_packing;
using dot::Packing;
using dot::packing_of;
using dot::round_up;
using panel::kHalf;

/// Rows that go through an expert at once: two passes over its weights cost more than rows that do
/// not all stay in the second cache.
constexpr std::int64_t kRowsAtOnce = 128;

/// Runs of rows, as few as allowed and of about the same size.
struct Runs {
  explicit Runs(std::size_t num_rows) : total(static_cast<std::int64_t>(num_rows)) {
    const std::int64_t count = std::max<std::int64_t>(1, (total + kRowsAtOnce - 1) / kRowsAtOnce);
    most = round_up((total + count - 1) / count, 2 * kTileRows);
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
}  // namespace

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

void DotNetwork::up(const Batch& batch, std::int64_t first_part, std::int64_t end_part,
                    std::byte* middle, const std::byte* next) const {
  const bool gated = spec_.unit != Unit::kPlain;
  const bool trilinear = spec_.unit == Unit::kTrilinear;
  const std::int64_t width = gated ? kHalf : kColumns;
  const std::int64_t stride = panel_stride(spec_.hidden, stored_);
  const std::int64_t a_part = gated ? 2 : 1;
  const Pass pass(*this, batch, spec_.hidden);
  const std::int64_t parts_at_once =
      std::max<std::int64_t>(1, pass.panels / (a_part + (trilinear ? 1 : 0)));
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
  const auto list = [&](std::int64_t first, Panels& out) {
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
  Work work;
  work.depth = spec_.hidden;
  for (std::int64_t first = first_part; first < end_part; first += parts_at_once) {
    const std::int64_t last = std::min(first + parts_at_once, end_part);
    work.num_panels = list(first, work.panels);
    work.later.fill(nullptr);
    if (last < end_part) {
      list(last, work.later);
    } else {
      work.later = pass.begin(next, panel_stride(spec_.width, stored_));
    }
    const std::int64_t first_panel = first * a_part;
    const std::int64_t unit_panels = std::min(last * a_part, num_panels) - first_panel;
    const auto expect = [&](std::int64_t first_row, std::int64_t rows) {
      const std::int64_t at = first * kColumns * element;
      for (std::int64_t r = first_row; r < first_row + rows; ++r) {
        __builtin_prefetch(middle + rows_out.at(r, at), 1);
      }
    };
    products(batch, pass, work, expect,
             [&](std::int64_t first_row, std::int64_t rows, float* all_sums) {
               const std::int64_t panel_sums = pass.block_rows * kColumns;
               for (std::int64_t i = 0; i < unit_panels; ++i) {
                 float* sums = all_sums + i * panel_sums;
                 kernels_.finish(product, first_panel + i, rows, sums);
                 const std::int64_t output = (first_panel + i) * width;
                 const std::int64_t valid = std::min(width, spec_.width - output);
                 if (trilinear) {
                   const float* factor =
                       all_sums + (unit_panels + i / a_part) * panel_sums + i % a_part * width;
                   for (std::int64_t r = 0; r < rows; ++r) {
                     for (std::int64_t c = 0; c < valid; ++c) {
                       sums[r * kColumns + c] *= factor[r * kColumns + c];
                     }
                   }
                 }
                 if (element == 2) {
                   dots_.pack_values(
                       {sums, first_row, rows, valid, output * element, middle, rows_out.layout});
                   continue;
                 }
                 for (std::int64_t r = 0; r < rows; ++r) {
                   std::byte* const to = middle + rows_out.at(first_row + r, output * element);
                   if (valid == kHalf) {  // a size that compilers know
                     std::memcpy(to, sums + r * kColumns, kHalf * sizeof(float));
                   } else {
                     std::memcpy(to, sums + r * kColumns,
                                 static_cast<std::size_t>(valid) * sizeof(float));
                   }
                 }
               }
               const std::int64_t filled = spec_.width * element % 64;
               if (last * kColumns < spec_.width || element != 2 || filled == 0) return;
               for (std::int64_t r = first_row; r < first_row + rows;
                    ++r) {  // what is read past the last
                 std::memset(middle + rows_out.at(r, spec_.width * element), 0,
                             static_cast<std::size_t>(64 - filled));
               }
             });
  }
}

void DotNetwork::down(const Batch& batch, std::int64_t first_part, std::int64_t end_part,
                      float* const* results, const std::byte* next) const {
  const std::int64_t stride = panel_stride(spec_.width, stored_);
  const Pass pass(*this, batch, spec_.width);
  panel::Product product;
  product.bias = panels_.down_bias;
  product.outputs = spec_.hidden;
  product.finish = panel::Finish::kStore;
  Work work;
  work.depth = spec_.width;
  for (std::int64_t first = first_part; first < end_part; first += pass.panels) {
    const std::int64_t after = first + pass.panels;
    work.num_panels = std::min(pass.panels, end_part - first);
    work.later.fill(nullptr);
    for (std::int64_t i = 0; i < pass.panels; ++i) {
      const auto at = static_cast<std::size_t>(i);
      work.panels[at] = panels_.down + (first + i) * stride;
      if (after + i < end_part) work.later[at] = panels_.down + (after + i) * stride;
    }
    if (after >= end_part) work.later = pass.begin(next, panel_stride(spec_.hidden, stored_));
    const auto expect = [&](std::int64_t first_row, std::int64_t rows) {
      for (std::int64_t r = first_row; r < first_row + rows; ++r) {
        const float* result = results[r] + first * kColumns;
        for (std::int64_t c = 0; c < work.num_panels * kColumns; c += 16) {
          __builtin_prefetch(result + c, 1);
        }
      }
    };
    products(
        batch, pass, work, expect, [&](std::int64_t first_row, std::int64_t rows, float* sums) {
          for (std::int64_t i = 0; product.bias != nullptr && i < work.num_panels; ++i) {
            kernels_.finish(product, first + i, rows, sums + i * pass.block_rows * kColumns);
          }
          for (std::int64_t r = 0; r < rows; ++r) {
            float* result = results[first_row + r];
            const float* row = sums + r * kColumns;
            for (std::int64_t i = 0; i < work.num_panels; ++i, row += pass.block_rows * kColumns) {
              const std::int64_t output = (first + i) * kColumns;
              const std::int64_t valid = std::min(kColumns, spec_.hidden - output);
              if (valid == kColumns) {  // a size that compilers know
                std::memcpy(result + output, row, kColumns * sizeof(float));
              } else {
                std::memcpy(result + output, row, static_cast<std::size_t>(valid) * sizeof(float));
              }
            }
          }
        });
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
