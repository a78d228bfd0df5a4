// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What both sides of `bench exchange` are given to do, and how it is checked. Private to it.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/group/group.hpp"
#include "experts/kernels/aligned.hpp"
#include "experts/kernels/isa.hpp"
#include "experts/router/routing.hpp"
#include "runtime/bench/exchange.hpp"
#include "runtime/layer/engine.hpp"

namespace switchyard::runtime::bench {

/// Tokens and routing of this rank at one number of tokens: that of a batch. A repetition is some
/// batches in a row, each dispatched and combined by itself, so that what its start costs (ranks
/// that share processors leave a barrier up to a turn of the scheduler apart) is shared by many.
struct ExchangeWork {
  ExchangeWork(comm::Group& group, const ExchangeSettings& settings, std::int64_t tokens_per_rank);

  /// Other rows: those of the seed times a power of two, so that a repetition cannot be right by
  /// what an earlier one has left.
  void renew(std::int64_t repetition);
  /// Counts what is not bit for bit what it must be.
  /// @param results  [slots], where the result of each slot lies, null if it is gone and only its
  ///                 sum is left; none: they were added up on the way, in another order, so sums
  ///                 need only be close
  [[nodiscard]] std::int64_t wrong(const std::vector<const float*>& results) const;

  std::int64_t hidden = 0;
  std::int64_t batch = 0;    ///< tokens of one; at least 1
  std::int64_t batches = 1;  ///< of a repetition; those of batch b from token b * batch on
  int rank = 0;
  Placement placement;
  experts::Routing routing;
  experts::Matrix tokens;                  ///< [batches * batch, hidden]
  experts::Matrix sums;                    ///< [tokens, hidden], written by a side
  experts::Isa isa = experts::best_isa();  ///< asked once: it takes a virtual machine microseconds
  bool inject = false;

 private:
  experts::Matrix base_;
  experts::Matrix base_sums_;
  float factor_ = 1;
};

/// Stands for an expert: its rows are read in full into a panel, and each result is what was read
/// times (expert + 1), which is exact enough to compare bits. A row and its result may be one
/// place.
/// @param expert   logical
/// @param rows     where each lies, [hidden]
/// @param results  where the result of each belongs, [hidden]
/// @param panel    grown as needed and reused
void compute(std::int32_t expert, std::span<const float* const> rows,
             std::span<float* const> results, const ExchangeWork& work,
             experts::AlignedBuffer& panel);
/// Makes one of these results wrong, if there are any.
void spoil(std::span<float* const> results, const ExchangeWork& work);

/// One of the two ways to do it.
class ExchangeSide {
 public:
  virtual ~ExchangeSide() = default;
  /// Collective. Leaves the sums in the work.
  virtual void run(ExchangeWork& work) = 0;
  /// Where the last run's result of each slot lies at home; null for those whose memory was used
  /// again.
  [[nodiscard]] const std::vector<const float*>& results() const { return results_; }
  /// Rows that left this rank for another in one run (of all batches), on the way out.
  [[nodiscard]] virtual std::int64_t rows_out() const = 0;
  /// Bytes that left this rank in one run.
  [[nodiscard]] virtual std::int64_t wire_bytes() const = 0;

 protected:
  std::vector<const float*> results_;  ///< [slots]
};

/// Over a transport, by what a layer does before and after its experts: each row once to each rank,
/// results by themselves, or (presum) one sum a row.
/// @param engine        must outlive it; its exchange has one stage, if it is to presum
/// @param chunk_tokens  most that a rank sends at once, from 1
[[nodiscard]] std::unique_ptr<ExchangeSide> transport_side(Engine& engine, const ExchangeWork& work,
                                                           bool presum, std::int64_t chunk_tokens);
/// No exchange, but the copies that none can do without: each token's row into a segment, out of
/// there into the panel of each of its experts, its results out of panels, and their sum. All in
/// this rank's own memory, in the same chunks, without waiting for anybody.
[[nodiscard]] std::unique_ptr<ExchangeSide> copies_side(const ExchangeWork& work,
                                                        std::int64_t chunk_tokens);
/// Textbook: k rows a token, packed by destination and expert, MPI_Alltoallv, and the same back.
[[nodiscard]] std::unique_ptr<ExchangeSide> alltoallv_side(comm::Group& group,
                                                           const ExchangeWork& work);
}  // namespace switchyard::runtime::bench
