// SPDX-License-Identifier: Apache-2.0
// What the dot-product kernels share, compiled for each instruction set like panel.inl: everything
// has internal linkage, and is plain enough that every compiler makes the same bits of it.
namespace switchyard::experts::dot {
namespace {

constexpr std::int64_t kLine = 64;

/// The lines that a kernel fetches for its successor, as four streams that take turns: a core gets
/// a third more out of the memory that way than by reading on in one place.
struct Streams {
  const std::byte* next;
  std::int64_t stream;  ///< bytes from one to the next
  std::int64_t left;    ///< lines that each still has
  std::int64_t a_step;  ///< of these, a step

  /// Share `part` of `parts` of what the block wants, over this many steps.
  [[gnu::always_inline]] Streams(const Block& b, std::int64_t part, std::int64_t parts,
                                 std::int64_t steps) {
    const std::int64_t lines = b.fetch == nullptr ? 0 : (b.fetch_bytes / kLine + 3) / 4;
    const std::int64_t first = lines * part / parts;
    next = b.fetch + first * kLine;
    stream = lines * kLine;
    left = lines * (part + 1) / parts - first;
    a_step = steps < 1 ? left : (left + steps - 1) / steps;
  }
  [[gnu::always_inline]] void fetch() {
    const std::int64_t now = a_step < left ? a_step : left;
    left -= now;
    for (std::int64_t i = 0; i < now; ++i, next += kLine) {
      __builtin_prefetch(next, 0, 2);
      __builtin_prefetch(next + stream, 0, 2);
      __builtin_prefetch(next + 2 * stream, 0, 2);
      __builtin_prefetch(next + 3 * stream, 0, 2);
    }
  }
};

[[maybe_unused]] void nothing_to_begin(std::int64_t /*num_rows*/) {}
[[maybe_unused]] void nothing_to_end() {}

/// float32 to bfloat16, to nearest, ties to even; a NaN stays one.
[[gnu::always_inline]] inline std::uint16_t rounded_bfloat16(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t up = (bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U;
  const std::uint32_t nan = (bits >> 16U) | 0x40U;
  return static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? nan : up);
}

[[maybe_unused]] void pack_bfloat16(const Rows& p) {
  for (std::int64_t r = 0; r < p.num_rows; ++r) {
    const float* row = p.rows[r];
    auto* out = reinterpret_cast<std::uint16_t*>(p.packed + r * p.row_stride);
    if (p.gates == nullptr) {
      for (std::int64_t k = 0; k < p.depth; ++k) out[k] = rounded_bfloat16(row[k]);
    } else {
      const float gate = p.gates[r];
      for (std::int64_t k = 0; k < p.depth; ++k) out[k] = rounded_bfloat16(row[k] * gate);
    }
    for (std::int64_t k = p.depth; k % 32 != 0; ++k) out[k] = 0;
  }
}

[[maybe_unused]] void pack_float32(const Rows& p) {
  for (std::int64_t r = 0; r < p.num_rows; ++r) {
    const float gate = p.gates == nullptr ? 1.0F : p.gates[r];
    auto* out = reinterpret_cast<float*>(p.packed + r * p.row_stride);
    for (std::int64_t k = 0; k < p.depth; ++k) out[k] = p.rows[r][k] * gate;
  }
}

/// What stands behind a packed int8 row for each of its groups.
struct Note {
  float scale;
  std::int32_t offset;  ///< -128 times the sum of the group's integers: undoes unsigned weights
};

/// 128 values to integers of one or two planes with one scale, symmetric. A group that holds a NaN
/// or an infinity has the scale NaN; one that is too small for a reciprocal is 0.
template <bool kTwoPlanes>
inline Note quantise(const float* values, std::int8_t* first, std::int8_t* second) {
  constexpr std::int32_t kMost = kTwoPlanes ? 127 * kPlaneRadix + 126 : 127;
  std::uint32_t most = 0;  // magnitudes order as their bits do
  for (std::int64_t k = 0; k < kGroup; ++k) {
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, values[k]) & 0x7fffffffU;
    most = bits > most ? bits : most;
  }
  const float largest = __builtin_bit_cast(float, most);
  const bool finite = most < 0x7f800000U;
  if (!finite || largest < 0x1p-100F) {
    __builtin_memset(first, 0, kGroup);
    if (kTwoPlanes) __builtin_memset(second, 0, kGroup);
    return {finite ? 0.0F : __builtin_nanf(""), 0};
  }
  const float inverse = static_cast<float>(kMost) / largest;
  constexpr float kShift = 0x1.8p23F;  // adding it rounds to an integer
  std::int32_t sum = 0;
  for (std::int64_t k = 0; k < kGroup; ++k) {
    const float shifted = values[k] * inverse + kShift;
    const std::int32_t q =
        __builtin_bit_cast(std::int32_t, shifted) - __builtin_bit_cast(std::int32_t, kShift);
    if constexpr (kTwoPlanes) {
      // Rounds q / 254: at most 127, as is what is left over.
      const float ratio = static_cast<float>(q) * (1.0F / kPlaneRadix) + kShift;
      const std::int32_t high =
          __builtin_bit_cast(std::int32_t, ratio) - __builtin_bit_cast(std::int32_t, kShift);
      first[k] = static_cast<std::int8_t>(high);
      second[k] = static_cast<std::int8_t>(q - kPlaneRadix * high);
    } else {
      first[k] = static_cast<std::int8_t>(q);
    }
    sum += q;
  }
  return {largest / static_cast<float>(kMost), -128 * sum};
}

template <bool kTwoPlanes>
void pack_planes(const Rows& p) {
  const std::int64_t groups = (p.depth + kGroup - 1) / kGroup;
  const std::int64_t plane = groups * kGroup;
  alignas(64) float values[kGroup];
  for (std::int64_t r = 0; r < p.num_rows; ++r) {
    const float gate = p.gates == nullptr ? 1.0F : p.gates[r];
    const float* row = p.rows[r];
    auto* out = reinterpret_cast<std::int8_t*>(p.packed + r * p.row_stride);
    auto* notes = reinterpret_cast<Note*>(out + (kTwoPlanes ? 2 : 1) * plane);
    for (std::int64_t g = 0; g < groups; ++g, row += kGroup, out += kGroup) {
      const std::int64_t left = p.depth - g * kGroup;
      if (left >= kGroup) {
        for (std::int64_t k = 0; k < kGroup; ++k) values[k] = row[k] * gate;
      } else {
        for (std::int64_t k = 0; k < kGroup; ++k) values[k] = k < left ? row[k] * gate : 0.0F;
      }
      notes[g] = quantise<kTwoPlanes>(values, out, out + plane);
    }
  }
}
[[maybe_unused]] void pack_int8(const Rows& p) {
  return p.two_planes ? pack_planes<true>(p) : pack_planes<false>(p);
}

[[maybe_unused]] inline const Note& note_of(const Block& b, std::int64_t row, std::int64_t group) {
  return reinterpret_cast<const Note*>(b.notes + row * b.row_stride)[group];
}
}  // namespace
}  // namespace switchyard::experts::dot
