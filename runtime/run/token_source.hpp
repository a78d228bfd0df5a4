// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where the rows of a run come from: a seed, or a file of raw float32 rows.
#include <cstdint>
#include <memory>
#include <string>

#include "experts/tensor.hpp"

namespace switchyard::runtime {

/// This rank's part of a number of tokens: the first (tokens mod ranks) ranks have one more.
struct TokenShare {
  std::int64_t first = 0;
  std::int64_t count = 0;
};
[[nodiscard]] TokenShare share_of(std::int64_t tokens, int rank, int ranks);

class TokenSource {
 public:
  virtual ~TokenSource() = default;
  /// Rows [first, first + out.rows) of step `step` of a batch of `tokens`.
  virtual void read(std::int64_t step, std::int64_t tokens, std::int64_t first,
                    experts::MatrixView<float> out) = 0;
  /// Rows that there are; -1: no end.
  [[nodiscard]] virtual std::int64_t rows() const = 0;
};

/// Seeded rows of unit variance, new ones every step.
[[nodiscard]] std::unique_ptr<TokenSource> synthetic_tokens(std::uint64_t seed);
/// Rows [hidden] float32 little-endian, one after the other; a stream that starts again at its end.
/// @throws std::invalid_argument  "--input FILE: 10 bytes, want a multiple of 8192"; system_error
[[nodiscard]] std::unique_ptr<TokenSource> file_tokens(const std::string& file,
                                                       std::int64_t hidden);
}  // namespace switchyard::runtime
