// SPDX-License-Identifier: Apache-2.0
// What the dot-product kernels share, compiled for each instruction set like panel.inl: everything
// has internal linkage, and is plain enough that every compiler makes the same bits of it.
namespace switchyard::experts::dot {
namespace {

constexpr std::int64_t kLine = 64;

/// The lines that a kernel fetches for its successor, as eight streams that take turns: a core gets
/// half as much again out of the memory that way as by reading on in one place.
struct Streams {
  static constexpr std::int64_t kStreams = 8;
  const std::byte* next;
  std::int64_t stream;  ///< bytes from one to the next
  std::int64_t left;    ///< lines that each still has
  std::int64_t a_step;  ///< of these, a step
  std::int64_t part;    ///< the share, of all blocks'
  std::int64_t parts;

  /// Share `part` of `parts` of what the block is to bring, over this many steps.
  [[gnu::always_inline]] Streams(const Block& b, std::int64_t own_part, std::int64_t own_parts,
                                 std::int64_t steps)
      : part(own_part + b.part * own_parts), parts(own_parts * b.parts) {
    const std::int64_t lines =
        b.fetch == nullptr ? 0 : (b.fetch_bytes / kLine + kStreams - 1) / kStreams;
    // Divisions in 32 bits, which take a fraction of the time of those in 64.
    const auto share = static_cast<std::int64_t>(static_cast<std::uint32_t>(lines + parts - 1) /
                                                 static_cast<std::uint32_t>(parts));
    const std::int64_t first = share * part;
    next = b.fetch + first * kLine;
    stream = lines * kLine;
    left = share < lines - first ? share : lines - first;
    a_step = steps < 1 ? left
                       : static_cast<std::int64_t>(static_cast<std::uint32_t>(share + steps - 1) /
                                                   static_cast<std::uint32_t>(steps));
  }
  [[gnu::always_inline]] void fetch() {
    const std::int64_t now = a_step < left ? a_step : left;
    left -= now;
    for (std::int64_t i = 0; i < now; ++i, next += kLine) {
      for (std::int64_t s = 0; s < kStreams; ++s) __builtin_prefetch(next + s * stream, 0, 2);
    }
  }
};

[[maybe_unused]] void nothing_to_begin(std::int64_t /*num_rows*/) {}
[[maybe_unused]] void nothing_to_end() {}

/// Byte x of packed row r.
template <class Packed>
inline std::byte* place_of(const Packed& p, std::int64_t r, std::int64_t x) {
  const Layout& at = p.layout;
  if (at.tile_bytes == 0) return p.packed + r * at.row_stride + x;
  return p.packed + r / 16 * at.block_stride + x / 64 * at.tile_bytes + r % 16 * 64 + x % 64;
}

[[maybe_unused]] void pack_float32(const Rows& p) {
  for (std::int64_t r = 0; r < p.num_rows; ++r) {
    const float gate = p.gates == nullptr ? 1.0F : p.gates[r];
    auto* out = reinterpret_cast<float*>(place_of(p, r, 0));
    for (std::int64_t k = 0; k < p.depth; ++k) out[k] = p.rows[r][k] * gate;
  }
}

/// What there is to know of a group of a packed int8 row.
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
  alignas(64) float values[kGroup];
  alignas(64) std::int8_t first[kGroup];
  alignas(64) std::int8_t second[kGroup];
  for (std::int64_t r = 0; r < p.num_rows; ++r) {
    const float gate = p.gates == nullptr ? 1.0F : p.gates[r];
    const float* row = p.rows[r];
    auto* note = reinterpret_cast<Note*>(p.notes + r * p.notes_stride);
    for (std::int64_t k = 0; k < p.depth; k += kGroup, row += kGroup, ++note) {
      const std::int64_t left = p.depth - k;
      if (left >= kGroup) {
        for (std::int64_t i = 0; i < kGroup; ++i) values[i] = row[i] * gate;
      } else {
        for (std::int64_t i = 0; i < kGroup; ++i) values[i] = i < left ? row[i] * gate : 0.0F;
      }
      *note = quantise<kTwoPlanes>(values, first, second);
      for (std::int64_t half = 0; half < kGroup; half += 64) {
        std::byte* out = place_of(p, r, k + half);
        __builtin_memcpy(out, first + half, 64);
        if (kTwoPlanes) __builtin_memcpy(out + p.second_plane, second + half, 64);
      }
    }
  }
}
[[maybe_unused]] void pack_int8(const Rows& p) {
  return p.second_plane != 0 ? pack_planes<true>(p) : pack_planes<false>(p);
}

[[maybe_unused]] inline const Note& note_of(const Block& b, std::int64_t row, std::int64_t group) {
  return reinterpret_cast<const Note*>(b.notes + row * b.notes_stride)[group];
}
}  // namespace
}  // namespace switchyard::experts::dot
