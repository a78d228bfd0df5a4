// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A batch that is routed chunk by chunk, the next one in pieces while its rank would wait for
/// others with the last one. Keeps the books; who routes is the caller.
#include <cstdint>

#include "experts/router/routing.hpp"
#include "experts/tensor.hpp"

namespace switchyard::runtime {

/// Keeps its memory from batch to batch.
class RouteAhead {
 public:
  struct Piece {
    experts::MatrixView<const float> tokens;
    std::int64_t first = 0;  ///< number in the batch of the first of them
  };

  /// @param tokens  [tokens, hidden]; must stay until the last chunk has been taken
  /// @param chunk   tokens of each but the last, at least 1
  void start(experts::MatrixView<const float> tokens, std::int64_t chunk);

  /// Tokens of the next chunk that are not routed yet.
  [[nodiscard]] bool left() const { return routed_ < end_; }
  /// Some of these, few enough for others not to wait for long.
  [[nodiscard]] Piece some() const;
  /// All of these.
  [[nodiscard]] Piece rest() const;
  /// Where the routing of a piece is to be written, before add() of as many tokens.
  [[nodiscard]] experts::Routing& room(const Piece& piece) {
    return all_at_once(piece) ? next_ : piece_;
  }
  void add(const Piece& piece);

  /// The next chunk, when nothing is left of it; good until the next call. Then left() speaks of
  /// the chunk after it. Behind the last chunk: one without tokens.
  [[nodiscard]] const experts::Routing& take();

 private:
  [[nodiscard]] bool all_at_once(const Piece& piece) const {
    return piece.first == begin_ && piece.first + piece.tokens.rows == end_;
  }
  /// The next chunk is [begin, ...).
  void expect(std::int64_t begin);

  experts::MatrixView<const float> tokens_{};
  std::int64_t chunk_ = 0;
  std::int64_t begin_ = 0;   ///< of the next chunk
  std::int64_t routed_ = 0;  ///< in [begin, end]
  std::int64_t end_ = 0;
  experts::Routing current_;
  experts::Routing next_;
  experts::Routing piece_;
};
}  // namespace switchyard::runtime
