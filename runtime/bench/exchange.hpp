// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Dispatch and combine without experts: transports beside MPI's own MPI_Alltoallv of the same
/// rows.
///
/// What is timed, on both sides: token rows are ready at home; every arriving (token, slot) row has
/// been read in full by its expert's rank into a panel of its expert; a result computed from what
/// was read has been written, has come home, and the k results of each token have been summed in
/// slot order. Experts are multiplications by their number, so every sum is checked at home, bit
/// for bit, in every repetition, with other rows each time; and every (token, slot) result of the
/// last chunk, for those of the chunks before lay in the same memory.
///
/// Beside them the copies alone: what each rank must copy for it and no more, in private memory,
/// without a word to anybody, and where ranks share processors, one after the other. No transport
/// can be faster, so `limit` is what a ratio can come to.
///
/// Few tokens are sent as several batches in a row, each by itself; times are of one batch.
///
/// The routing is known on both sides. MPI_Alltoallv gets the row counts for nothing; a transport
/// has to tell them (its headers and notes are inside its time).
#include <cstdint>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "experts/weights.hpp"
#include "runtime/bench/timing.hpp"
#include "runtime/placement/placement.hpp"

namespace switchyard::runtime::bench {

struct ExchangeSettings {
  experts::RouterSpec router;           ///< hidden, experts, top_k; rules are not applied
  std::vector<std::string> transports;  ///< as make_exchange takes them
  std::vector<std::int64_t> tokens_per_rank;
  double zipf = 0;         ///< exponent of the routing; 0: uniform
  std::uint64_t seed = 1;  ///< of tokens and routing
  /// Most tokens that a rank sends at once over a transport; 0: as many as keep what is on its way
  /// about in the second cache. MPI_Alltoallv always gets all.
  std::int64_t chunk_tokens = 0;
  Budget budget;
  bool inject = false;  ///< spoil one result a rank and repetition, to see that it is caught
};

/// One transport at one number of tokens.
struct ExchangeResult {
  std::string transport;  ///< that was taken
  std::string combine;    ///< exact, or presum: one result a token and rank, with other bits
  std::int64_t tokens_per_rank = 0;
  std::int64_t chunk_tokens = 0;  ///< of these at once
  std::int64_t rows = 0;          ///< (token, slot) rows of all ranks, own rank included
  std::int64_t rows_crossed = 0;  ///< dispatched rows that left their rank, all ranks
  std::int64_t row_bytes = 0;
  std::int64_t logical_bytes = 0;  ///< every (token, slot) row out and back, all ranks
  std::int64_t wire_bytes = 0;     ///< that left a rank, headers and notes included, all ranks
  std::int64_t repetitions = 0;
  std::int64_t batches = 1;  ///< in a row in one repetition; times and bytes are of one
  Summary us;
  Summary copies_us;                           ///< of the copies alone
  Summary pack_alltoallv_us;                   ///< zeros where there is no MPI
  std::int64_t pack_alltoallv_wire_bytes = 0;  ///< rows for other ranks, out and back
  double ratio = 0;           ///< median over repetitions of pack_alltoallv over this transport
  double limit = 0;           ///< the same over the copies alone
  double algbw_gb_per_s = 0;  ///< logical bytes of one rank over the median time
  double busbw_gb_per_s = 0;  ///< the part of them that is for other ranks, (ranks - 1) / ranks
  std::int64_t wrong = 0;     ///< (token, slot) results and sums that are not what they must be,
                              ///< those of the copies included
  std::int64_t pack_alltoallv_wrong = 0;
};

/// How long it takes until every rank knows what comes, and nothing else.
struct CountsResult {
  std::string transport;
  Summary us;                ///< a round of no rows: the transport's headers
  Summary mpi_allgather_us;  ///< MPI_Allgather of as many 8-byte counts as there are ranks
  double ratio = 0;
};

struct ExchangeReport {
  std::vector<ExchangeResult> results;
  std::vector<CountsResult> counts;
  Summary steadiness;  ///< seconds
};

/// Collective. @throws std::invalid_argument  a transport that this group does not have
[[nodiscard]] ExchangeReport bench_exchange(comm::Group& group, const ExchangeSettings& settings);
}  // namespace switchyard::runtime::bench
