// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Rows of floats as fewer bytes, for links that are slower than the conversion. What each type
/// gives up is bounded here and held by wire_type_test.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace switchyard::comm {

/// Errors are of a value x in a row whose largest magnitude is a; values that are not finite stay
/// so in bfloat16, and make their whole row NaN in the two types with a scale, never a number.
enum class WireType {
  kFloat32,   ///< 4 bytes; the same bits
  kBfloat16,  ///< 2 bytes; 8 significant bits, to nearest even: error <= 2^-8 |x|
  kInt8,      ///< 1 byte, and 4 a row for a / 127: error <= a / 254
  kFp8,       ///< 1 byte (e4m3), and 4 a row for a / 448: 4 significant bits, so error <= 2^-4 |x|,
              ///< or, below 2^-6 of the scale, half the smallest step: a / 448 * 2^-10
};

/// "float32", "bfloat16", "int8", "fp8".
[[nodiscard]] std::string_view name_of(WireType type);
/// @throws std::invalid_argument  "wire: got 'x', want float32, bfloat16, int8 or fp8"
[[nodiscard]] WireType wire_type_from(std::string_view name);

/// The bound above in words for a report; empty for float32.
[[nodiscard]] std::string_view bound_of(WireType type);

/// The bound as a number, for one value of a row. Exact arithmetic; one more part in 2^20 covers
/// the rounding of scale, quotient and product.
/// @param value    |x|
/// @param largest  a, the largest magnitude of the row
[[nodiscard]] double error_bound(WireType type, double value, double largest);

/// Bytes of a row of so many floats on the wire; a multiple of 4.
[[nodiscard]] std::int64_t wire_bytes(WireType type, std::int64_t floats);

/// @param to  wire_bytes(type, row.size())
void narrow(WireType type, std::span<const float> row, std::byte* to);
/// @param from  as narrow() wrote it
void widen(WireType type, const std::byte* from, std::span<float> row);

/// Rows [first, last) of `floats` each, to and from rows of wire_bytes(type, floats).
void narrow_rows(WireType type, const std::byte* from, std::byte* to, std::int64_t floats,
                 std::int64_t first, std::int64_t last);
void widen_rows(WireType type, const std::byte* from, std::byte* to, std::int64_t floats,
                std::int64_t first, std::int64_t last);
}  // namespace switchyard::comm
