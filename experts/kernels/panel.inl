// SPDX-License-Identifier: Apache-2.0
// The kernels, written once over a small struct `Simd` that the including file defines, and
// compiled for each instruction set. Everything here has internal linkage. Vectors run across
// outputs, never along the inner dimension, so every sum is one chain of fused multiply-adds in the
// order of k.
namespace switchyard::experts::panel {
namespace {

using Float = Simd::Float;
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

template <unsigned kValue>
struct Index {
  static constexpr unsigned value = kValue;
};
/// Calls f(Index<0>), f(Index<1>), ...: unrolled by the language, not by the optimizer's leave.
template <unsigned kCount, unsigned kFirst = 0, class F>
[[gnu::always_inline]] inline void unrolled(const F& f) {
  if constexpr (kFirst < kCount) {
    f(Index<kFirst>{});
    unrolled<kCount, kFirst + 1>(f);
  }
}

inline std::uintptr_t address_of(const void* p) {
  return reinterpret_cast<std::uintptr_t>(p);
}

/// How a panel lies: steps of 32 columns, each with the inputs that are side by side in a column.
template <Stored kStored>
struct Panel {
  static constexpr unsigned kDepth = kStored == Stored::kBfloat16 ? 2 : 1;
  static constexpr std::int64_t kStepBytes = kStored == Stored::kFloat16 ? 64 : 128;
  static std::int64_t steps(std::int64_t depth) { return (depth + kDepth - 1) / kDepth; }

  /// Columns [part * kLanes, ...) and those 16 further on of input kInput of a step.
  template <unsigned kInput>
  [[gnu::always_inline]] static inline void load(const std::byte* step, int part, Float& low,
                                                 Float& high) {
    constexpr std::int64_t kHalfStep = kStepBytes / 2;
    const std::byte* p = step + part * Simd::kLanes * (kHalfStep / kHalf);
    if constexpr (kStored == Stored::kFloat32) {
      low = Simd::load(reinterpret_cast<const float*>(p));
      high = Simd::load(reinterpret_cast<const float*>(p + kHalfStep));
    } else if constexpr (kStored == Stored::kFloat16) {
      low = Simd::half(p);
      high = Simd::half(p + kHalfStep);
    } else if constexpr (kInput == 0) {
      low = Simd::even(p);
      high = Simd::even(p + kHalfStep);
    } else {
      low = Simd::odd(p);
      high = Simd::odd(p + kHalfStep);
    }
  }
};

/// What a tile fetches into the second cache while it computes. A panel is fetched a segment ahead,
/// as four streams that take turns, a quarter of the segment each: a core gets a third more out of
/// the memory that way than by reading on in one place.
struct Ahead {
  std::uintptr_t next;   ///< what comes after the last segment
  std::int64_t segment;  ///< steps of a segment; a multiple of 4
  std::uintptr_t step;   ///< bytes that a stream moves on by in four steps
};
/// Bytes of a segment, so that two of them and the rows fit into the second cache of any processor.
constexpr std::int64_t kSegmentBytes = 256 * 1024;

/// sums[r][c] of kRows rows and the 32 columns of one panel; the whole depth stays in registers.
/// @param x  [depth][kRows]
template <unsigned kRows, Stored kStored>
[[gnu::noinline]] void tile(const float* x, const std::byte* panel, std::int64_t depth, Ahead ahead,
                            float* sums) {
  using P = Panel<kStored>;
  const std::int64_t steps = P::steps(depth);
  const std::int64_t whole = depth / P::kDepth;  // steps without padding
  for (int part = 0; part < kHalf / Simd::kLanes; ++part) {
    Float low[kRows];
    Float high[kRows];
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      low[r.value] = Simd::set(0.0F);
      high[r.value] = Simd::set(0.0F);
    });
    const std::byte* weights = panel;
    const float* values = x;
    const auto add_input = [&](auto input) __attribute__((always_inline)) {
      Float w_low;
      Float w_high;
      P::template load<input.value>(weights, part, w_low, w_high);
      unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
        const Float value = Simd::set(values[r.value]);
        low[r.value] = Simd::fma(w_low, value, low[r.value]);
        high[r.value] = Simd::fma(w_high, value, high[r.value]);
      });
      values += kRows;
    };
    for (std::int64_t first = 0; first < whole; first += ahead.segment) {
      const std::int64_t end = first + ahead.segment < whole ? first + ahead.segment : whole;
      const auto stream = static_cast<std::uintptr_t>((end - first + 3) / 4 * P::kStepBytes);
      std::uintptr_t fetch = end < whole ? address_of(panel + end * P::kStepBytes) : ahead.next;
      for (std::int64_t step = first; step < end; ++step) {
        if (part == 0) {
          __builtin_prefetch(reinterpret_cast<const void*>(fetch), 0, 2);
          if (P::kStepBytes == 128 && ahead.step > 64) {  // two lines, and nobody helps
            __builtin_prefetch(reinterpret_cast<const void*>(fetch + 64), 0, 2);
          }
          fetch += step % 4 == 3 ? ahead.step - 3 * stream : stream;
        }
        unrolled<P::kDepth>(add_input);
        weights += P::kStepBytes;
      }
    }
    // Inputs that only fill up the last step are left out: 0 times infinity is no zero.
    if constexpr (P::kDepth == 2) {
      if (whole < steps) add_input(Index<0>{});
    }
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      float* row = sums + r.value * kColumns + part * Simd::kLanes;
      Simd::store(row, low[r.value]);
      Simd::store(row + kHalf, high[r.value]);
    });
  }
}

template <unsigned kRows, Stored kStored>
void tile_of(std::int64_t rows, const float* x, const std::byte* panel, std::int64_t depth,
             Ahead ahead, float* sums) {
  if (rows == kRows) return tile<kRows, kStored>(x, panel, depth, ahead, sums);
  if constexpr (kRows > 1) tile_of<kRows - 1, kStored>(rows, x, panel, depth, ahead, sums);
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

template <Stored kStored>
void run_panels(const Product& p) {
  constexpr std::int64_t kStepBytes = Panel<kStored>::kStepBytes;
  const std::int64_t steps = Panel<kStored>::steps(p.depth);
  const auto* panels = static_cast<const std::byte*>(p.panels);
  const Groups groups = groups_of(p.rows);
  // A single group fetches segment by segment; several share the fetching of the next panel.
  const std::int64_t segments =
      groups.count > 1 ? 1 : (steps * kStepBytes + kSegmentBytes - 1) / kSegmentBytes;
  Ahead ahead{0, (steps + 4 * segments - 1) / (4 * segments) * 4,
              static_cast<std::uintptr_t>(kStepBytes / groups.count)};
  alignas(64) float sums[Simd::kMaxRows * kColumns];
  for (std::int64_t i = p.first_panel; i < p.end_panel; ++i) {
    const std::byte* panel = panels + i * steps * kStepBytes;
    const void* last = p.next == nullptr ? panel : p.next;
    const void* next = i + 1 < p.end_panel ? panel + steps * kStepBytes : last;
    for (std::int64_t g = 0; g < groups.count; ++g) {
      const std::int64_t share = (steps + 3) / 4 * kStepBytes / groups.count;  // of every quarter
      ahead.next = address_of(next) + static_cast<std::uintptr_t>(g * share);
      const std::int64_t first = groups.first(g);
      const std::int64_t num_rows = groups.first(g + 1) - first;
      tile_of<Simd::kMaxRows, kStored>(num_rows, p.x + first * p.depth, panel, p.depth, ahead,
                                       sums);
      finish_tile(p, i, first, num_rows, sums);
    }
  }
}

void finish_sums(const Product& p, std::int64_t panel, std::int64_t num_rows, float* sums,
                 std::int64_t stride) {
  const std::int64_t width = p.finish == Finish::kGated ? kHalf : kColumns;
  for (std::int64_t r = 0; r < num_rows; ++r, sums += stride) {
    if (p.bias != nullptr) add_bias(p.bias + panel * kColumns, 1, sums);
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
