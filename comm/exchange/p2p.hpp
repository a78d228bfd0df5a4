// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Rows and results as messages between pairs of ranks; works on any group.
#include "comm/exchange/courier.hpp"
#include "comm/exchange/round.hpp"

namespace switchyard::comm {

/// Cost: each row is packed once, sent once and read where it was received. Memory: one buffer a
/// rank and direction, kept at its largest.
class P2pExchange final : public RoundExchange {
 public:
  /// @param window  frames that are under way at a time, each way
  P2pExchange(Group& group, Channel channel, int window = Courier::kWindow);

 private:
  void carry_rows(const Offer& offer) override;
  void locate_rows(int from, std::span<const std::byte*> rows) const override;
  void open_slots() override;
  void carry_results() override;
  [[nodiscard]] Traffic carried() const override { return courier_.traffic(); }

  void size_body(Buffer& body, std::int64_t bytes) const;

  bool hollow_ = false;
  Courier courier_;
  std::vector<Parcel> rows_in_;     ///< by rank; read in place until collect
  std::vector<Parcel> results_in_;  ///< by rank; read until the next dispatch
};
}  // namespace switchyard::comm
