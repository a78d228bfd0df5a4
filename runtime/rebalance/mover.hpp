// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Takes blocks of bytes from rank to rank in pieces, between steps and while a rank waits.
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <utility>

#include "comm/group/group.hpp"
#include "comm/group/stream.hpp"

namespace switchyard::runtime {

/// Bytes to or from one rank. Both ends add theirs in the same order.
struct Cargo {
  int peer = 0;
  comm::Stream::Way way = comm::Stream::Way::kOut;
  std::int64_t bytes = 0;
  std::function<std::byte*()> begin;  ///< where they are, asked when it is their turn
  std::function<void()> end;          ///< they are through; may be empty
};

class Mover final : public comm::Spare {
 public:
  /// Collective.
  explicit Mover(comm::Group& group) : group_(group), channel_(group.new_channel()) {}

  void add(Cargo cargo);
  /// Moves what can be moved now, one look at each lane; never waits. @return  whether anything did
  bool pump();
  [[nodiscard]] bool idle() const;
  /// Until all is through, within the deadline.
  void finish();
  /// Bytes of this rank that are through, both ways, since construction.
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }

  /// In the waits of one step: a few looks in vain are allowed, for who waits for ever has to be
  /// found out.
  void allow_looks() { looks_ = kLooks; }
  [[nodiscard]] bool left() const override { return looks_ > 0 && !idle(); }
  void work() override;

 private:
  static constexpr int kLooks = 64;
  struct Lane {
    explicit Lane(comm::Stream made) : stream(std::move(made)) {}
    comm::Stream stream;
    std::deque<Cargo> cargos;
    bool under_way = false;  ///< the first of them
    std::int64_t done = 0;   ///< of it, when the stream was asked last
  };
  bool advance(Lane& lane);

  comm::Group& group_;
  comm::Channel channel_;
  std::map<std::pair<int, comm::Stream::Way>, Lane> lanes_;
  std::int64_t bytes_ = 0;
  int looks_ = 0;
};
}  // namespace switchyard::runtime
