// SPDX-License-Identifier: Apache-2.0
#include "comm/group/clock.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace switchyard::comm {
namespace {
constexpr Extent kTime{.row_bytes = sizeof(std::int64_t), .rows = 1};

std::int64_t nanoseconds(AlignedClock::Time time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

std::int64_t now_ns() {
  return nanoseconds(std::chrono::steady_clock::now());
}

void send_time(Group& group, int to, Channel channel, std::int64_t time) {
  Buffer buffer(sizeof time);
  std::memcpy(buffer.data(), &time, sizeof time);
  Pending pending = group.send(to, channel, std::move(buffer), kTime);
  group.wait(pending);
}

std::int64_t receive_time(Group& group, int from, Channel channel) {
  Pending pending = group.receive(from, channel, Buffer(sizeof(std::int64_t)), kTime);
  group.wait(pending);
  const Buffer buffer = pending.take();
  std::int64_t time = 0;
  std::memcpy(&time, buffer.data(), sizeof time);
  return time;
}
}  // namespace

void AlignedClock::measure(Group& group, int rounds) {
  const Channel channel = group.new_channel();
  if (group.rank() == 0) {
    for (int rank = 1; rank < group.size(); ++rank) {
      for (int round = 0; round < rounds; ++round) {
        (void)receive_time(group, rank, channel);
        send_time(group, rank, channel, now_ns());
      }
    }
    samples_.push_back({.at_ns = now_ns()});
    return;
  }
  Sample best;
  for (int round = 0; round < rounds; ++round) {
    const std::int64_t asked = now_ns();
    send_time(group, 0, channel, asked);
    const std::int64_t root = receive_time(group, 0, channel);
    const std::int64_t answered = now_ns();
    const std::int64_t error = (answered - asked + 1) / 2;
    if (round > 0 && error >= best.error_ns) continue;
    best = {.at_ns = answered, .offset_ns = root - (asked + error), .error_ns = error};
  }
  samples_.push_back(best);
}

std::int64_t AlignedClock::root_ns(Time time) const {
  const std::int64_t mine = nanoseconds(time);
  if (samples_.empty()) return mine;
  const Sample& first = samples_.front();
  const Sample& last = samples_.back();
  if (last.at_ns <= first.at_ns) return mine + last.offset_ns;
  const double share =
      static_cast<double>(mine - first.at_ns) / static_cast<double>(last.at_ns - first.at_ns);
  const double drift = static_cast<double>(last.offset_ns - first.offset_ns);
  return mine + first.offset_ns + std::llround(std::clamp(share, 0.0, 1.0) * drift);
}

std::int64_t AlignedClock::offset_ns() const {
  return samples_.empty() ? 0 : samples_.back().offset_ns;
}

std::int64_t AlignedClock::error_ns() const {
  std::int64_t error = 0;
  for (const Sample& sample : samples_) error = std::max(error, sample.error_ns);
  return error;
}
}  // namespace switchyard::comm
