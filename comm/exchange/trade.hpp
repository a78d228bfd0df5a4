// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One step of a relay: frames to some ranks and from some, a few of them under way at a time.
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "comm/exchange/courier.hpp"
#include "comm/group/group.hpp"
#include "comm/wire/frame.hpp"

namespace switchyard::comm {

/// A frame to or from one rank, and the memory for its parts, kept from step to step.
struct Leg {
  explicit Leg(int with) : peer(with) {}

  int peer;
  Parcel parcel;
  Pending head, note, body;
  enum class State { kWaits, kHead, kRest, kDone } state = State::kWaits;
};

/// All calls are collective. Two ranks that trade with many others name them in orders that fit
/// each other: whoever is next in some order must not wait for one that is later in all others.
class Trade {
 public:
  Trade(Group& group, Channel channel, int window)
      : group_(group), channel_(channel), window_(static_cast<std::size_t>(window)) {}

  using Expect = std::function<ExpectedFrame(int from)>;
  /// Frames whose headers, notes and bodies are ready in `out`, and as many of others to `in`.
  /// @param hollow  bodies have a length and no contents
  void frames(std::span<Leg> out, std::span<Leg> in, const Expect& expect, bool hollow);
  /// Bodies alone, whose rows both ends know: header.rows of header.row_bytes.
  void bodies(std::span<Leg> out, std::span<Leg> in, bool hollow);

  [[nodiscard]] const Traffic& traffic() const { return traffic_; }

 private:
  void swap(std::span<Leg> out, std::span<Leg> in, const Expect* expect, bool hollow);
  /// The first leg that is not over, and the first that has not begun.
  struct Reach {
    std::size_t first = 0;
    std::size_t opened = 0;
  };
  template <class Open, class Advance>
  [[nodiscard]] bool move(std::span<Leg> legs, Reach& reach, const Open& open,
                          const Advance& advance);
  void receive_rest(Leg& leg, bool headed, bool hollow);
  [[nodiscard]] Pending post(int to, Buffer& part, const Extent& extent);

  Group& group_;
  Channel channel_;
  std::size_t window_;
  Traffic traffic_;
};
}  // namespace switchyard::comm
