// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Rows read where they lie in another thread, results written where their home wants them; only
/// addresses travel. Local groups only.
#include "comm/exchange/courier.hpp"
#include "comm/exchange/round.hpp"

namespace switchyard::comm {

/// Cost: 8 bytes a row. Wire bytes are what is sent between threads: headers, notes, addresses.
/// A rank that throws in the middle of a round takes its rows with it while others may still read
/// them: as with any shared memory, a failure there is for the whole process.
class LocalExchange final : public RoundExchange {
 public:
  LocalExchange(Group& group, Channel channel);
  ~LocalExchange() override;
  [[nodiscard]] bool shares_addresses() const override { return true; }

 private:
  void carry_rows(const Offer& offer) override;
  void locate_rows(int from, std::span<const std::byte*> rows) const override;
  void open_slots() override;
  void carry_results() override;
  [[nodiscard]] Traffic carried() const override { return courier_.traffic(); }

  Courier courier_;
  std::vector<Parcel> rows_in_;  ///< by rank; the bodies are addresses
  std::vector<Parcel> reply_in_;
  std::vector<Buffer> results_in_;  ///< by rank, written by that rank's thread
};
}  // namespace switchyard::comm
