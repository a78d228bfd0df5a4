// SPDX-License-Identifier: Apache-2.0
// The kernels, written once over a small struct `Simd` that the including file defines, and
// compiled for each instruction set. Everything here has internal linkage. Vectors run across
// outputs, never along the inner dimension, so every sum is one chain of fused multiply-adds in the
// order of k.
namespace switchyard::experts::panel {
namespace {

using Float4 [[gnu::vector_size(16)]] = float;

/// Rows are split into as few groups as the registers allow, of sizes that differ by one at most.
struct Groups {
  std::int64_t count;
  std::int64_t rows;
  [[nodiscard]] std::int64_t first(std::int64_t group) const {
    const std::int64_t longer = rows % count;
    return group * (rows / count) + (group < longer ? group : longer);
  }
};
inline Groups groups_of(std::int64_t rows) {
  return {(rows + Simd::kMaxRows - 1) / Simd::kMaxRows, rows};
}

inline std::uintptr_t address_of(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p);
}

using Tile = void (*)(const float* x, const std::byte* panel, std::int64_t steps, bool odd,
                      std::uintptr_t fetch, bool fresh, float* sums, float* wide);

/// @param rows  in [kLeast, most of a group]
template <Stored kStored, Fetch kFetch, bool kKeep, bool kAnyOrder, unsigned kLeast,
          unsigned kRows = Simd::kMaxRows>
Tile tile_of(std::int64_t rows) {
  if constexpr (kRows > kLeast) {
    if (rows < kRows) return tile_of<kStored, kFetch, kKeep, kAnyOrder, kLeast, kRows - 1>(rows);
  }
  return tile<kRows, kStored, kFetch, kKeep, kAnyOrder>;
}

/// The tile for one of several groups, which have at least half of the most rows.
template <Stored kStored, bool kKeep>
Tile shared_tile_of(std::int64_t rows, Fetch fetch) {
  constexpr unsigned kLeast = Simd::kMaxRows / 2;
  switch (fetch) {
    case Fetch::kEight:
      return tile_of<kStored, Fetch::kEight, kKeep, false, kLeast>(rows);
    case Fetch::kFour:
      return tile_of<kStored, Fetch::kFour, kKeep, false, kLeast>(rows);
    case Fetch::kTwo:
      return tile_of<kStored, Fetch::kTwo, kKeep, false, kLeast>(rows);
    default:
      return tile_of<kStored, Fetch::kNone, kKeep, false, kLeast>(rows);
  }
}

/// The tile for the only group.
template <Stored kStored>
Tile lone_tile_of(const Product& p) {
  constexpr bool kAnyOrder = Simd::kUsesAnyOrder;
  if constexpr (Simd::kReadsAhead) {
    constexpr unsigned kNear = kStored == Stored::kFloat32 ? kNearRows : kNearRowsOfHalves;
    if (reads_ahead() && p.rows > kNear) {
      return p.any_order ? tile_of<kStored, Fetch::kFar, false, kAnyOrder, kNear + 1>(p.rows)
                         : tile_of<kStored, Fetch::kFar, false, false, kNear + 1>(p.rows);
    }
    if (reads_ahead()) {
      return p.any_order ? tile_of<kStored, Fetch::kNear, false, kAnyOrder, 1, kNear>(p.rows)
                         : tile_of<kStored, Fetch::kNear, false, false, 1, kNear>(p.rows);
    }
  }
  return p.any_order ? tile_of<kStored, Fetch::kAlone, false, kAnyOrder, 1>(p.rows)
                     : tile_of<kStored, Fetch::kAlone, false, false, 1>(p.rows);
}

/// What one of the passes over a block fetches: one half of some of its pages.
struct Share {
  Fetch fetch;
  std::uintptr_t first;  ///< bytes from the first line of the first page
};
Share share_of(std::int64_t pass, std::int64_t passes) {
  const Fetch fetch = passes < 4 ? Fetch::kEight : passes < 8 ? Fetch::kFour : Fetch::kTwo;
  const std::int64_t pages = passes < 4 ? 8 : passes < 8 ? 4 : 2;
  const std::int64_t turns = kPages / pages;  // until all pages had their first half
  if (pass >= 2 * turns) return {Fetch::kNone, 0};
  return {fetch, static_cast<std::uintptr_t>(pass % turns * pages * kPageBytes +
                                             pass / turns * kHalfPageBytes)};
}

// ---- Activations: step for step the scalar functions of math.cpp.

inline Float power_of_two(Float integer) {  // 2^n from n in [-127, 128), both floats
  return Simd::shift_bits_left_23(Simd::add(integer, Simd::set(0x1.8p23F + 127.0F)));
}
inline Float simd_exp(Float x) {
  const Float shift = Simd::set(0x1.8p23F);
  const Float clamped = Simd::min(Simd::set(89.0F), Simd::max(Simd::set(-104.0F), x));
  const Float k = Simd::sub(Simd::fma(clamped, Simd::set(0x1.715476p0F), shift), shift);
  Float r = Simd::fma(k, Simd::set(-0x1.62e4p-1F), clamped);
  r = Simd::fma(k, Simd::set(-0x1.7f7d1cp-20F), r);
  Float tail = Simd::set(1.0F / 5040);
  tail = Simd::fma(tail, r, Simd::set(1.0F / 720));
  tail = Simd::fma(tail, r, Simd::set(1.0F / 120));
  tail = Simd::fma(tail, r, Simd::set(1.0F / 24));
  tail = Simd::fma(tail, r, Simd::set(1.0F / 6));
  tail = Simd::fma(tail, r, Simd::set(0.5F));
  const Float value = Simd::add(Simd::fma(tail, Simd::mul(r, r), r), Simd::set(1.0F));
  // In two steps, so that a denormal is rounded once; any split gives the same bits.
  const Float half = Simd::sub(Simd::fma(k, Simd::set(0.5F), shift), shift);
  return Simd::mul(Simd::mul(value, power_of_two(half)), power_of_two(Simd::sub(k, half)));
}
inline Float simd_sigmoid(Float x) {
  const Float one = Simd::set(1.0F);
  const Float e = simd_exp(Simd::negative_magnitude(x));
  return Simd::div(Simd::where_positive(x, one, e), Simd::add(one, e));
}
inline Float each(float (*f)(float), Float x) {
  alignas(64) float lanes[Simd::kLanes];
  Simd::store(lanes, x);
  for (float& lane : lanes) lane = f(lane);
  return Simd::load(lanes);
}
inline Float activate(Act act, Float x) {
  switch (act) {
    case Act::kGeluErf:
      return each(portable::gelu_erf_float32, x);
    case Act::kGeluTanh:
      return each(portable::gelu_tanh_float32, x);
    case Act::kRelu:
      return Simd::max(Simd::set(0.0F), x);
    case Act::kSilu:
    case Act::kClampedSwiglu:
      break;
  }
  return Simd::mul(x, simd_sigmoid(x));
}
inline Float unit(const Product& p, Float gate, Float up) {
  if (p.act != Act::kClampedSwiglu) return Simd::mul(activate(p.act, gate), up);
  const Float g = Simd::min(Simd::set(p.limit), gate);
  const Float l = Simd::max(Simd::set(-p.limit), Simd::min(Simd::set(p.limit), up));
  const Float swish = Simd::mul(g, simd_sigmoid(Simd::mul(Simd::set(p.alpha), g)));
  return Simd::mul(Simd::add(l, Simd::set(1.0F)), swish);
}

// ---- Rows to and from the packed layout.

/// packed[k][r] = rows[r][k] * gates[r], in blocks of 4 x 4.
void pack_group(const float* const* rows, const float* gates, std::int64_t num_rows,
                std::int64_t depth, float* packed) {
  std::int64_t first = 0;
  for (; first + 4 <= num_rows; first += 4) {
    const float* const* row = rows + first;
    float gate[4] = {1.0F, 1.0F, 1.0F, 1.0F};
    if (gates != nullptr) {
      for (int r = 0; r < 4; ++r) gate[r] = gates[first + r];
    }
    float* out = packed + first;
    std::int64_t k = 0;
    for (; k + 4 <= depth; k += 4, out += 4 * num_rows) {
      Float4 v[4];
      for (int r = 0; r < 4; ++r) {
        __builtin_memcpy(&v[r], row[r] + k, sizeof v[r]);
        v[r] *= gate[r];
      }
      const Float4 a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
      const Float4 b = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
      const Float4 c = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
      const Float4 d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
      v[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
      v[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
      v[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
      v[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
      for (int i = 0; i < 4; ++i) __builtin_memcpy(out + i * num_rows, &v[i], sizeof v[i]);
    }
    for (; k < depth; ++k, out += num_rows) {
      for (int r = 0; r < 4; ++r) out[r] = row[r][k] * gate[r];
    }
  }
  for (; first < num_rows; ++first) {
    const float gate = gates == nullptr ? 1.0F : gates[first];
    const float* row = rows[first];
    if (num_rows == 1) {
      for (std::int64_t k = 0; k < depth; ++k) packed[k] = row[k] * gate;
    } else {
      for (std::int64_t k = 0; k < depth; ++k) packed[k * num_rows + first] = row[k] * gate;
    }
  }
}

void pack_rows(const float* const* rows, const float* gates, std::int64_t num_rows,
               std::int64_t depth, float* packed) {
  if (num_rows == 0) return;
  const Groups groups = groups_of(num_rows);
  for (std::int64_t g = 0; g < groups.count; ++g) {
    const std::int64_t first = groups.first(g);
    pack_group(rows + first, gates == nullptr ? nullptr : gates + first,
               groups.first(g + 1) - first, depth, packed + first * depth);
  }
}

// ---- What happens to a tile once its sums are complete.

void add_bias(const float* bias, std::int64_t num_rows, float* sums) {
  for (std::int64_t r = 0; r < num_rows; ++r, sums += kColumns) {
    for (std::int64_t c = 0; c < kColumns; c += Simd::kLanes) {
      Simd::store(sums + c, Simd::add(Simd::load(sums + c), Simd::load(bias + c)));
    }
  }
}

/// @param first_row  of the group, among all rows
/// @param sums       [num_rows][32]; used up
void finish_tile(const Product& p, std::int64_t panel, std::int64_t first_row,
                 std::int64_t num_rows, float* sums) {
  if (p.bias != nullptr) add_bias(p.bias + panel * kColumns, num_rows, sums);
  const std::int64_t width = p.finish == Finish::kGated ? kHalf : kColumns;
  const std::int64_t first_output = panel * width;
  const std::int64_t left = p.outputs - first_output;
  const std::int64_t valid = left < width ? left : width;
  if (p.finish == Finish::kStore) {
    for (std::int64_t r = 0; r < num_rows; ++r, sums += kColumns) {
      float* result = p.results[first_row + r] + first_output;
      if (valid == kColumns) {
        for (std::int64_t c = 0; c < kColumns; c += Simd::kLanes) {
          Simd::store_unaligned(result + c, Simd::load(sums + c));
        }
      } else {
        for (std::int64_t c = 0; c < valid; ++c) result[c] = sums[c];
      }
    }
    return;
  }
  float* packed = p.packed + first_row * p.outputs + first_output * num_rows;
  if (p.finish == Finish::kMultiply) {
    for (std::int64_t c = 0; c < valid; ++c) {
      for (std::int64_t r = 0; r < num_rows; ++r)
        packed[c * num_rows + r] *= sums[r * kColumns + c];
    }
    return;
  }
  const float* rows[Simd::kMaxRows];
  for (std::int64_t r = 0; r < num_rows; ++r, sums += kColumns) {
    for (std::int64_t c = 0; c < width; c += Simd::kLanes) {
      const Float value = Simd::load(sums + c);
      Simd::store(sums + c, p.finish == Finish::kGated
                                ? unit(p, value, Simd::load(sums + kHalf + c))
                                : activate(p.act, value));
    }
    rows[r] = sums;
  }
  pack_group(rows, nullptr, num_rows, valid, packed);
}

/// Steps of panel bytes that lie in one block: they are worked on before the next are looked at.
struct Segment {
  const std::byte* panel;  ///< of which it is a part
  std::int64_t first;      ///< step of the panel
  std::int64_t steps;
  bool odd;              ///< the last step is half empty
  std::uintptr_t fetch;  ///< the line to fetch at its beginning: of the next block, page 0
};

/// Calls f(segment) for the segments of a panel, at most `most_bytes` each (a part of a block), in
/// which `page_bytes` of a page are fetched.
template <Stored kStored, class F>
[[gnu::always_inline]] inline void each_segment(const Product& p, std::int64_t panel,
                                                std::int64_t most_bytes, std::int64_t page_bytes,
                                                const F& f) {
  constexpr std::int64_t kStepBytes = Panel<kStored>::kStepBytes;
  const std::int64_t steps = Panel<kStored>::steps(p.depth);
  const bool odd = p.depth % Panel<kStored>::kDepth != 0;
  const auto* panels = static_cast<const std::byte*>(p.panels);
  const std::int64_t start = panel * steps * kStepBytes;
  const std::int64_t end_bytes = p.end_panel * steps * kStepBytes;
  for (std::int64_t first = 0; first < steps;) {
    const std::int64_t at = start + first * kStepBytes;
    const std::int64_t end = (at / most_bytes + 1) * most_bytes;
    const std::int64_t left = steps - first;
    const std::int64_t fits = (end - at) / kStepBytes;
    const std::int64_t count = fits < left ? fits : left;
    const std::int64_t next_block = (at / kBlockBytes + 1) * kBlockBytes;
    const std::byte* next = panels + next_block;
    if (next_block >= end_bytes && p.next != nullptr) next = static_cast<const std::byte*>(p.next);
    f(Segment{
        panels + start, first, count, odd && count == left,
        address_of(next) + static_cast<std::uintptr_t>(at % most_bytes * page_bytes / most_bytes)});
    first += count;
  }
}

/// One group of rows: weights are used as they come.
template <Stored kStored>
void run_group(const Product& p) {
  alignas(64) float sums[Simd::kMaxRows * kColumns];
  const Tile tile = lone_tile_of<kStored>(p);
  for (std::int64_t i = p.first_panel; i < p.end_panel; ++i) {
    each_segment<kStored>(p, i, kBlockBytes, kPageBytes, [&](const Segment& s) {
      tile(p.x + s.first * Panel<kStored>::kDepth * p.rows,
           s.panel + s.first * Panel<kStored>::kStepBytes, s.steps, s.odd, s.fetch, s.first == 0,
           sums, nullptr);
    });
    finish_tile(p, i, 0, p.rows, sums);
  }
}

/// Several groups of rows: all of them go through a segment, which the first one widens for them.
template <Stored kStored>
void run_groups(const Product& p, const Groups& groups) {
  using P = Panel<kStored>;
  constexpr bool kKeep = kStored != Stored::kFloat32;
  constexpr std::int64_t kMostBytes = kSegmentInputs / P::kDepth * P::kStepBytes;
  alignas(64) float sums[kMostRows * kColumns];
  alignas(64) float wide[kKeep ? kSegmentInputs * kColumns : 1];
  const std::int64_t passes = kBlockBytes / kMostBytes * groups.count;
  for (std::int64_t i = p.first_panel; i < p.end_panel; ++i) {
    each_segment<kStored>(p, i, kMostBytes, kHalfPageBytes, [&](const Segment& s) {
      const std::byte* weights = s.panel + s.first * P::kStepBytes;
      const std::int64_t at = weights - static_cast<const std::byte*>(p.panels);
      const std::int64_t first_pass = at % kBlockBytes / kMostBytes * groups.count;
      for (std::int64_t g = 0; g < groups.count; ++g) {
        const std::int64_t first = groups.first(g);
        const std::int64_t rows = groups.first(g + 1) - first;
        const float* x = p.x + first * p.depth + s.first * P::kDepth * rows;
        float* group_sums = sums + first * kColumns;
        const Share share = share_of(first_pass + g, passes);
        if (kKeep && g > 0) {
          const std::int64_t inputs = s.steps * P::kDepth - (s.odd ? 1 : 0);
          shared_tile_of<Stored::kFloat32, false>(rows, share.fetch)(
              x, reinterpret_cast<const std::byte*>(wide), inputs, false, s.fetch + share.first,
              s.first == 0, group_sums, nullptr);
        } else {
          shared_tile_of<kStored, kKeep>(rows, share.fetch)(
              x, weights, s.steps, s.odd, s.fetch + share.first, s.first == 0, group_sums, wide);
        }
      }
    });
    for (std::int64_t g = 0; g < groups.count; ++g) {
      const std::int64_t first = groups.first(g);
      finish_tile(p, i, first, groups.first(g + 1) - first, sums + first * kColumns);
    }
  }
}

template <Stored kStored>
void run_panels(const Product& p) {
  const Groups groups = groups_of(p.rows);
  return groups.count == 1 ? run_group<kStored>(p) : run_groups<kStored>(p, groups);
}

void finish_sums(const Product& p, std::int64_t panel, std::int64_t num_rows, float* sums) {
  const std::int64_t width = p.finish == Finish::kGated ? kHalf : kColumns;
  if (p.bias != nullptr) add_bias(p.bias + panel * kColumns, num_rows, sums);
  for (std::int64_t r = 0; r < num_rows; ++r, sums += kColumns) {
    if (p.finish != Finish::kGated && p.finish != Finish::kPlain) continue;
    for (std::int64_t c = 0; c < width; c += Simd::kLanes) {
      const Float value = Simd::load(sums + c);
      Simd::store(sums + c, p.finish == Finish::kGated
                                ? unit(p, value, Simd::load(sums + kHalf + c))
                                : activate(p.act, value));
    }
  }
}

void run(const Product& p) {
  if (p.rows == 0) return;
  switch (p.stored) {
    case Stored::kFloat32:
      return run_panels<Stored::kFloat32>(p);
    case Stored::kBfloat16:
      return run_panels<Stored::kBfloat16>(p);
    case Stored::kFloat16:
      return run_panels<Stored::kFloat16>(p);
  }
}
}  // namespace
}  // namespace switchyard::experts::panel
