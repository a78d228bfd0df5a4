// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Takes one frame to every other rank and brings one from each: header, then note, then body.
#include <functional>
#include <string>
#include <vector>

#include "comm/exchange/exchange.hpp"
#include "comm/group/group.hpp"
#include "comm/wire/frame.hpp"

namespace switchyard::comm {

/// A frame and the memory for its parts, kept from round to round.
struct Parcel {
  FrameHeader header;
  Buffer head;  ///< the header as it travels
  Buffer note;
  Buffer body;
};

/// All calls are collective. What is empty is not sent: the header says so.
class Courier {
 public:
  /// @param window  frames that are under way at a time, each way
  Courier(Group& group, Channel channel, int window = kWindow);
  static constexpr int kWindow = 16;

  /// Called once for each other rank, just before its parcel leaves; `out` has header, note, body.
  using Fill = std::function<void(int to, Parcel& out)>;
  /// What the frame from this rank must look like.
  using Expect = std::function<ExpectedFrame(int from)>;

  /// @param in  [size]; in[r] holds what rank r sent, until its next use. Own entry: untouched.
  /// @throws DeadlineError, MpiError, ProtocolError  parcels are lost, the group unusable
  void swap(std::vector<Parcel>& in, const Fill& fill, const Expect& expect);

  /// From now on bodies have a length and no contents (hollow.hpp), or have some again.
  void hollow(bool yes) { hollow_ = yes; }
  /// Bytes and messages that left; rows are the caller's to count.
  [[nodiscard]] const Traffic& traffic() const { return traffic_; }
  /// Of a parcel that is not in flight: between two swaps, rank r's outgoing memory is free.
  [[nodiscard]] Parcel& outgoing(int to) { return out_[static_cast<std::size_t>(to)]; }

 private:
  /// One frame on its way out and one on its way in, with the two ranks of one step.
  struct Talk {
    Pending head_out, note_out, body_out;
    Pending head_in, note_in, body_in;
    bool understood = false;  ///< the header is read, so note_in and body_in are asked for
    bool finished = false;
  };

  [[nodiscard]] int to(int step) const { return (group_.rank() + step) % group_.size(); }
  [[nodiscard]] int from(int step) const {
    return (group_.rank() + group_.size() - step) % group_.size();
  }
  void open(int step, std::vector<Parcel>& in, const Fill& fill);
  void advance(int step, std::vector<Parcel>& in, const Expect& expect);
  [[nodiscard]] Pending post(int to, Buffer& part, const Extent& extent);
  [[nodiscard]] std::string unfinished(int first, int opened);

  Group& group_;
  Channel channel_;
  int window_;
  std::vector<Parcel> out_;  ///< [size]
  std::vector<Talk> talks_;  ///< [size], by step; step 0 would be oneself
  bool hollow_ = false;
  Traffic traffic_;
};
}  // namespace switchyard::comm
