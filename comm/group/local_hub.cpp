// SPDX-License-Identifier: Apache-2.0
#include "comm/group/local_hub.hpp"

#include "comm/base/error.hpp"

namespace switchyard::comm {

void LocalHub::put(int from, int to, Channel channel, std::shared_ptr<LocalMessage> message) {
  Mailbox& box = mailboxes_[static_cast<std::size_t>(to)];
  const std::lock_guard lock(box.mutex);
  Lane& lane = box.lanes[{from, channel}];
  lane.waiting.emplace(lane.sent++, std::move(message));
}

std::uint64_t LocalHub::ticket(int from, int to, Channel channel) {
  Mailbox& box = mailboxes_[static_cast<std::size_t>(to)];
  const std::lock_guard lock(box.mutex);
  return box.lanes[{from, channel}].asked++;
}

std::shared_ptr<LocalMessage> LocalHub::get(int from, int to, Channel channel,
                                            std::uint64_t ticket) {
  Mailbox& box = mailboxes_[static_cast<std::size_t>(to)];
  const std::lock_guard lock(box.mutex);
  Lane& lane = box.lanes[{from, channel}];
  const auto found = lane.waiting.find(ticket);
  if (found == lane.waiting.end()) return nullptr;
  auto message = std::move(found->second);
  lane.waiting.erase(found);
  return message;
}

std::shared_ptr<LocalMessage> LocalHub::stray(int from, int to, Channel channel) {
  Mailbox& box = mailboxes_[static_cast<std::size_t>(to)];
  const std::lock_guard lock(box.mutex);
  Lane& lane = box.lanes[{from, channel}];
  if (lane.waiting.empty()) return nullptr;
  auto message = std::move(lane.waiting.begin()->second);
  lane.waiting.erase(lane.waiting.begin());
  return message;
}

void LocalHub::leave(int rank, std::exception_ptr why, const std::string& words) {
  const std::lock_guard lock(leaving_);
  if (left_.load(std::memory_order_relaxed)) return;
  farewell_ = "rank " + std::to_string(rank) + " left: " + words;
  failure_ = std::move(why);
  left_.store(true, std::memory_order_release);
}

void LocalHub::require_everyone() const {
  if (left_.load(std::memory_order_acquire)) throw TemporaryError(farewell_);
}
}  // namespace switchyard::comm
