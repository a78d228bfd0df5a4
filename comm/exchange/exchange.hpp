// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Moves rows to the ranks that need them and results back. Knows ranks, rows and opaque notes,
/// never experts. One seam, several transports; a round is dispatch, open_returns, collect.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/group/group.hpp"
#include "comm/wire/wire_type.hpp"

namespace switchyard::comm {

/// What this rank gives in one round. Rows are named, not copied: row i lies at base + i *
/// row_bytes and must stay until collect() has returned.
struct Offer {
  const std::byte* base = nullptr;
  std::int64_t row_bytes = 0;              ///< the same on every rank; a multiple of 4
  std::vector<std::int64_t> row_offsets;   ///< [size + 1], into `rows`; starts at 0, never falls
  std::vector<std::int64_t> rows;          ///< rows for rank 0, then for rank 1, ...
  std::vector<std::int64_t> note_offsets;  ///< [size + 1], in bytes into `notes`
  std::vector<std::byte> notes;            ///< what each rank is told about its rows; opaque
  std::vector<std::int64_t> results;       ///< [size], result rows that each rank will return
  std::int64_t result_bytes = 0;           ///< of one, as open_returns will say; 0: row_bytes
  bool more = false;                       ///< this rank has another round after this one
  /// Rows and results may be cut into stages, so that work on the first begins while the others are
  /// on their way. Both empty: one stage. Entry [r * stages + s] counts what stages 0 to s hold.
  std::vector<std::int64_t> stage_rows{};     ///< [size, stages], of the rows for rank r
  std::vector<std::int64_t> stage_results{};  ///< [size, stages], of what rank r returns
};

/// What the others gave. Addresses and notes are valid until collect() has returned; what a row
/// holds, from await_stage() of its stage on.
struct Delivery {
  std::vector<std::int64_t> row_offsets;          ///< [size + 1], into `rows`
  std::vector<const std::byte*> rows;             ///< by source rank, in the order it named them
  std::vector<std::span<const std::byte>> notes;  ///< [size]
  std::vector<std::int64_t> results;              ///< [size], result rows that each rank expects
  bool more = false;                              ///< some rank has another round
};

/// Counted since construction, for this rank. Wire bytes left it for another rank, headers and
/// notes included; rows that stay here are not in them.
struct Traffic {
  std::int64_t wire_bytes = 0;
  std::int64_t between_nodes_bytes = 0;  ///< of these, what left the node
  std::int64_t messages = 0;
  std::int64_t rows_out = 0;     ///< dispatched rows that crossed to another rank
  std::int64_t results_out = 0;  ///< result rows that crossed to another rank
};

/// All calls are collective over the group, ranks with nothing to send included, and come in the
/// order dispatch, open_returns, collect; between the last two, for each stage in turn,
/// await_stage and release_stage. Rows keep their order within a source and sources come in
/// rank order, so results do not depend on timing.
/// @throws std::invalid_argument  an offer breaks its own description (before anything is sent)
/// @throws DeadlineError, MpiError, ProtocolError  the group is unusable from here on
class Exchange {
 public:
  virtual ~Exchange() = default;

  /// Hands every rank its rows and its note, and returns what came for this one.
  [[nodiscard]] virtual const Delivery& dispatch(const Offer& offer) = 0;

  /// Where results are to be written: result j for rank r goes to the returned [r] + j * row_bytes.
  /// How many each expects is in Delivery::results.
  [[nodiscard]] virtual std::span<std::byte* const> open_returns(std::int64_t row_bytes) = 0;

  /// How many stages an offer may have, and should: the same on every rank and in every round. 1:
  /// all rows are here when dispatch returns, and results leave with collect; the next three do
  /// nothing.
  [[nodiscard]] virtual int stages() const { return 1; }
  /// Waits until the rows of this stage are here.
  virtual void await_stage(int /*stage*/) {}
  /// All results of this stage are written, and may leave. Does not wait.
  virtual void release_stage(int /*stage*/) {}
  /// Moves what is on its way; does not wait. Call between pieces of work, by the thread that makes
  /// the other calls.
  virtual void progress() {}

  /// Call when all results are written. Returns where this rank's own results lie: result j from
  /// rank r at the returned [r] + j * row_bytes. Valid until the next dispatch.
  [[nodiscard]] virtual std::span<const std::byte* const> collect() = 0;

  /// From the next round on frames carry this number, and those with another are refused: of
  /// whatever the notes go by, which all ranks change between the same two rounds. 0 at first.
  virtual void edition(std::uint32_t /*number*/) {}

  /// Whether every address that this exchange gives is good in all ranks of the node, so that any
  /// of them may read the rows and write the results of another.
  [[nodiscard]] virtual bool shares_addresses() const { return false; }
  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual Traffic traffic() const = 0;
};

/// How an exchange is to work; equal on all ranks.
struct ExchangeOptions {
  std::string transport = "auto";
  int stages = 0;                      ///< of two-level, 1 to 16; 0: chosen
  WireType wire = WireType::kFloat32;  ///< of rows of floats between nodes, two-level only
};

/// "p2p": bounded point-to-point, any group. "alltoallv": MPI_Ialltoallv, MPI groups only.
/// "node": rows read and results written in shared memory, where all ranks stand on one node.
/// "two-level": rows once to each node, and in shared memory there.
/// "local": addresses handed between threads, local groups only. "auto": the best for the group.
/// Collective. The group must outlive the exchange.
/// @throws std::invalid_argument  "transport: got 'foo', want auto, node, two-level, p2p or
///         alltoallv"; a wire or stages for a transport that has none
[[nodiscard]] std::unique_ptr<Exchange> make_exchange(Group& group, const ExchangeOptions& options);
[[nodiscard]] std::unique_ptr<Exchange> make_exchange(Group& group, std::string_view transport);
}  // namespace switchyard::comm
