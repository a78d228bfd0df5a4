// SPDX-License-Identifier: Apache-2.0
#include "runtime/report/timeline.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace switchyard::runtime {

Timeline::Timeline(int threads, std::int64_t capacity) {
  if (threads < 1 || capacity < 1) {
    throw std::invalid_argument("timeline: got " + std::to_string(threads) + " threads and " +
                                std::to_string(capacity) + " events, want at least 1 of each");
  }
  lanes_.resize(static_cast<std::size_t>(threads));
  for (Lane& lane : lanes_) lane.ring.resize(static_cast<std::size_t>(capacity));
}

void Timeline::put(Lane& lane, const TimelineEvent& event) noexcept {
  lane.ring[lane.next] = event;
  if (++lane.next == lane.ring.size()) lane.next = 0;
  ++lane.recorded;
}

void Timeline::span(EventKind kind, std::string_view name, const comm::Position& at, Time begin,
                    Time end) noexcept {
  put(lanes_.front(), {.begin = begin,
                       .end = end,
                       .name = name,
                       .detail = {},
                       .step = static_cast<std::int32_t>(at.step),
                       .layer = static_cast<std::int32_t>(at.layer),
                       .kind = kind});
}

void Timeline::task(int thread, std::string_view name, std::int64_t logical, std::int64_t rows,
                    Time begin, Time end) noexcept {
  put(lanes_[static_cast<std::size_t>(thread)], {.begin = begin,
                                                 .end = end,
                                                 .name = name,
                                                 .detail = {},
                                                 .a = logical,
                                                 .b = rows,
                                                 .kind = EventKind::kTask});
}

void Timeline::count(std::string_view name, const comm::Position& at, std::int64_t value) noexcept {
  const Time now = Clock::now();
  put(lanes_.front(), {.begin = now,
                       .end = now,
                       .name = name,
                       .detail = {},
                       .a = value,
                       .step = static_cast<std::int32_t>(at.step),
                       .layer = static_cast<std::int32_t>(at.layer),
                       .kind = EventKind::kCounter});
}

void Timeline::waited(const comm::Position& at, const comm::Awaited& what, Time begin,
                      Time end) noexcept {
  put(lanes_.front(), {.begin = begin,
                       .end = end,
                       .name = at.phase,
                       .detail = what.what,
                       .a = what.peer,
                       .step = static_cast<std::int32_t>(at.step),
                       .layer = static_cast<std::int32_t>(at.layer),
                       .kind = EventKind::kWait});
}

void Timeline::clear() {
  for (Lane& lane : lanes_) lane.next = 0, lane.recorded = 0;
}

std::vector<TimelineEvent> Timeline::events(int thread) const {
  const Lane& lane = lanes_[static_cast<std::size_t>(thread)];
  const auto next = lane.ring.begin() + static_cast<std::ptrdiff_t>(lane.next);
  std::vector<TimelineEvent> found;
  if (lane.recorded >= static_cast<std::int64_t>(lane.ring.size())) {
    found.assign(next, lane.ring.end());
  }
  found.insert(found.end(), lane.ring.begin(), next);
  return found;
}

std::int64_t Timeline::recorded() const {
  std::int64_t sum = 0;
  for (const Lane& lane : lanes_) sum += lane.recorded;
  return sum;
}

std::int64_t Timeline::dropped() const {
  std::int64_t sum = 0;
  for (const Lane& lane : lanes_) {
    sum += std::max<std::int64_t>(lane.recorded - static_cast<std::int64_t>(lane.ring.size()), 0);
  }
  return sum;
}
}  // namespace switchyard::runtime
