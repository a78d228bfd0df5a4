// SPDX-License-Identifier: Apache-2.0
#include "comm/group/stream.hpp"

#include <algorithm>

namespace switchyard::comm {
namespace {
// 4 MiB on their way: what a socket's buffers take at most.
constexpr std::size_t kWindow = 64;
}  // namespace

Stream::Stream(Group& group, Channel channel, int peer, Way way)
    : group_(&group), channel_(channel), peer_(peer), way_(way), window_(kWindow) {}

void Stream::begin(std::byte* data, std::span<const std::int64_t> cuts) {
  data_ = data;
  cuts_.assign(cuts.begin(), cuts.end());
  cut_ = 0;
  started_ = done_ = 0;
  allowed_ = way_ == Way::kIn ? length() : 0;
}

void Stream::start_pieces() {
  while (started_ < allowed_ && in_flight_ < kWindow) {
    while (cuts_[cut_] <= started_) ++cut_;
    Piece& piece = window_[(oldest_ + in_flight_) % kWindow];
    piece.bytes = std::min(kPieceBytes, cuts_[cut_] - started_);
    const Extent extent{.row_bytes = 1, .rows = piece.bytes};
    auto memory = Buffer::borrow({data_ + started_, static_cast<std::size_t>(piece.bytes)});
    piece.pending = way_ == Way::kOut ? group_->send(peer_, channel_, std::move(memory), extent)
                                      : group_->receive(peer_, channel_, std::move(memory), extent);
    started_ += piece.bytes;
    ++in_flight_;
    ++messages_;
  }
}

void Stream::progress() {
  if (finished()) return;
  start_pieces();
  // In order: only the oldest is asked, so that a look at a stream costs one test.
  while (in_flight_ > 0 && window_[oldest_].pending.test()) {
    static_cast<void>(window_[oldest_].pending.take());
    done_ += window_[oldest_].bytes;
    oldest_ = (oldest_ + 1) % kWindow;
    --in_flight_;
  }
  start_pieces();
}
}  // namespace switchyard::comm
