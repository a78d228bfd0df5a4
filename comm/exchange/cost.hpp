// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How long a round takes over which exchange: a few measured constants of the links, and sums.
/// What is chosen from it changes no bit, so a wrong prediction costs time and nothing else.
#include <cstdint>
#include <string>
#include <vector>

#include "comm/exchange/exchange.hpp"

namespace switchyard::comm {

/// Between nodes, of one node whose ranks all send and receive at once.
struct LinkCosts {
  double latency_s = 0;         ///< of a short message, one way
  double bytes_per_s = 0;       ///< each way, in short pieces
  double long_bytes_per_s = 0;  ///< each way, in one long message to and from each
  double message_s = 0;         ///< that a rank spends on a piece, whatever its length
};

/// What the caller expects of a round; equal on all ranks.
struct RoundShape {
  double rows = 0;    ///< that each rank has
  double copies = 0;  ///< results of each row
  std::int64_t row_bytes = 0;
  double places = 0;  ///< of results on each rank, that stages are made of
  double work_s = 0;  ///< of each rank between rows and results
};

/// Collective: short messages and long ones between neighbouring nodes, a few tenths of a second on
/// slow links. The same figures on all ranks. Nothing is measured on one node.
[[nodiscard]] LinkCosts probe_links(Group& group);

/// Expected seconds of a round, if every result is equally likely to come from every rank.
/// @param options  "p2p" or "two-level", with stages from 1
[[nodiscard]] double predict(const NodeMap& nodes, const RoundShape& shape, const LinkCosts& links,
                             const ExchangeOptions& options);

struct ExchangeChoice {
  ExchangeOptions options;  ///< nothing left open
  double predicted_s = 0;
  std::string why;  ///< one line; empty if nothing was open
};

/// Fills in what `options` leave open: transport "auto", stages 0. The wire is never narrowed, for
/// that gives bits up. Collective where there are several nodes and something is open.
[[nodiscard]] ExchangeChoice choose_exchange(Group& group, const ExchangeOptions& options,
                                             const RoundShape& shape);
/// The same from given costs; pure.
[[nodiscard]] ExchangeChoice choose_exchange(const NodeMap& nodes, const ExchangeOptions& options,
                                             const RoundShape& shape, const LinkCosts& links);
}  // namespace switchyard::comm
