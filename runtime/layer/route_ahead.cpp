// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/route_ahead.hpp"

#include <algorithm>
#include <utility>

namespace switchyard::runtime {
namespace {
/// Two groups of rows of the widest kernel: the router's weights are read once for all of them.
constexpr std::int64_t kSome = 28;
}  // namespace

void RouteAhead::start(experts::MatrixView<const float> tokens, std::int64_t chunk) {
  tokens_ = tokens;
  chunk_ = chunk;
  expect(0);
}

void RouteAhead::expect(std::int64_t begin) {
  begin_ = routed_ = begin;
  end_ = std::min(begin + chunk_, tokens_.rows);
  next_.offsets.assign(1, 0);
  next_.experts.clear();
  next_.weights.clear();
}

RouteAhead::Piece RouteAhead::some() const {
  const std::int64_t count = std::min(kSome, end_ - routed_);
  return {.tokens = tokens_.slice(routed_, count), .first = routed_};
}

RouteAhead::Piece RouteAhead::rest() const {
  return {.tokens = tokens_.slice(routed_, end_ - routed_), .first = routed_};
}

void RouteAhead::add(const Piece& piece) {
  routed_ += piece.tokens.rows;
  if (all_at_once(piece)) return;
  const std::int64_t before = next_.slots();
  for (std::int64_t t = 1; t <= piece_.tokens(); ++t) {
    next_.offsets.push_back(before + piece_.offsets[static_cast<std::size_t>(t)]);
  }
  next_.experts.insert(next_.experts.end(), piece_.experts.begin(), piece_.experts.end());
  next_.weights.insert(next_.weights.end(), piece_.weights.begin(), piece_.weights.end());
}

const experts::Routing& RouteAhead::take() {
  std::swap(current_, next_);
  expect(end_);
  return current_;
}
}  // namespace switchyard::runtime
