// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Writes a routing trace while a job runs: the rows of all ranks, in global token order, so that
/// the bytes of the file are the same at any rank count.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/layer/routing_sink.hpp"
#include "runtime/trace/writer.hpp"

namespace switchyard::runtime {

/// Where a token stands among those of a step: by sequence, then by position.
struct TokenKey {
  std::int64_t sequence = 0;
  std::int64_t position = 0;
  auto operator<=>(const TokenKey&) const = default;
};

/// One on every rank.
class RoutingRecorder final : public RoutingSink {
 public:
  /// Opens the file on rank 0. Collective.
  /// @param what  for messages: "--record-trace"
  /// @param info  with layer_numbers, by which layers are told apart; equal on every rank
  /// @throws comm::CollectiveError  on every rank: the file cannot be written
  RoutingRecorder(comm::Group& group, std::string what, std::string file, TraceInfo info);

  /// The tokens of this rank in the pass that begins. A step may have several passes.
  void tokens(std::span<const TokenKey> keys);
  void sent(std::int64_t layer, const experts::Routing& routing, std::int64_t first,
            std::int64_t count) override;
  /// Writes what all ranks sent since the last step. Collective.
  /// @throws comm::CollectiveError  on every rank: a full disk, a token that no layer sent
  void end_step(std::int64_t number);
  /// Forgets what was sent since the last step: a warmup.
  void forget();
  /// The file appears under its name. Collective.
  void finish();

  /// On rank 0, of what was written.
  [[nodiscard]] std::int64_t steps() const { return steps_; }
  [[nodiscard]] std::int64_t bytes() const { return writer_ ? writer_->bytes() : 0; }

 private:
  struct Rows {
    std::vector<std::int32_t> chosen;  ///< [tokens, top_k]
    std::vector<float> weights;        ///< the same, if they are wanted
  };
  /// Everybody's values of one kind, by rank, on rank 0.
  template <class Value>
  [[nodiscard]] std::vector<Value> to_root(const std::vector<Value>& mine);
  void write_layer(std::int64_t number, std::size_t layer, std::span<const std::int64_t> order);

  comm::Group& group_;
  TraceInfo info_;
  std::unique_ptr<TraceWriter> writer_;  ///< rank 0's
  std::vector<TokenKey> keys_;           ///< of this rank's tokens in this step
  std::vector<Rows> layers_;             ///< [layers]
  std::int64_t steps_ = 0;
};
}  // namespace switchyard::runtime
