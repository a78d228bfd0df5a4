// SPDX-License-Identifier: Apache-2.0
#include "comm/group/local_group.hpp"

#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/base/error.hpp"
#include "comm/group/local_hub.hpp"

namespace switchyard::comm {
namespace {

class Sending final : public Pending::State {
 public:
  Sending(std::shared_ptr<LocalHub> hub, int to, std::shared_ptr<LocalMessage> message)
      : hub_(std::move(hub)), to_(to), message_(std::move(message)) {}

  [[nodiscard]] bool test() override {
    if (message_->taken.load(std::memory_order_acquire)) return true;
    hub_->require_everyone();
    return false;
  }
  [[nodiscard]] int peer() const override { return to_; }
  [[nodiscard]] Buffer take() override { return std::move(message_->buffer); }

 private:
  std::shared_ptr<LocalHub> hub_;
  int to_;
  std::shared_ptr<LocalMessage> message_;  ///< shared with the mailbox: outlives either side
};

class Receiving final : public Pending::State {
 public:
  Receiving(std::shared_ptr<LocalHub> hub, int from, int to, Channel channel, Buffer buffer,
            const Extent& extent)
      : hub_(std::move(hub)),
        from_(from),
        to_(to),
        channel_(channel),
        buffer_(std::move(buffer)),
        extent_(extent),
        ticket_(hub_->ticket(from, to, channel)) {}

  [[nodiscard]] bool test() override {
    if (done_) return true;
    const auto message = hub_->get(from_, to_, channel_, ticket_);
    if (message == nullptr) {
      hub_->require_everyone();
      return false;
    }
    done_ = true;
    if (message->bytes != extent_.bytes()) {
      throw ProtocolError("receive: rank " + std::to_string(from_) + " sent " +
                          std::to_string(message->bytes) + " bytes, want " +
                          std::to_string(extent_.bytes()));
    }
    if (message->bytes > 0) {
      std::memcpy(buffer_.data(), message->buffer.data(), static_cast<std::size_t>(message->bytes));
    }
    message->taken.store(true, std::memory_order_release);
    return true;
  }
  [[nodiscard]] int peer() const override { return from_; }
  [[nodiscard]] Buffer take() override { return std::move(buffer_); }

 private:
  std::shared_ptr<LocalHub> hub_;
  int from_;
  int to_;
  Channel channel_;
  Buffer buffer_;
  Extent extent_;
  std::uint64_t ticket_;
  bool done_ = false;
};

/// A message that was taken away: here from the start.
class Stray final : public Pending::State {
 public:
  Stray(int from, std::shared_ptr<LocalMessage> message)
      : from_(from), message_(std::move(message)), buffer_(message_->buffer.size()) {
    message_->taken.store(true, std::memory_order_release);
  }
  [[nodiscard]] bool test() override { return true; }
  [[nodiscard]] int peer() const override { return from_; }
  [[nodiscard]] Buffer take() override { return std::move(buffer_); }

 private:
  int from_;
  std::shared_ptr<LocalMessage> message_;
  Buffer buffer_;
};

class LocalGroup final : public Group {
 public:
  LocalGroup(std::shared_ptr<LocalHub> hub, int rank, std::chrono::milliseconds limit)
      : Group(limit), hub_(std::move(hub)), rank_(rank) {}

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return hub_->size(); }

  [[nodiscard]] Pending send(int to, Channel channel, Buffer buffer, Extent extent) override {
    require_message("send", *this, to, extent);
    if (buffer.size() < static_cast<std::size_t>(extent.bytes())) {
      throw std::invalid_argument("send: buffer has " + std::to_string(buffer.size()) +
                                  " bytes, want " + std::to_string(extent.bytes()));
    }
    auto message = std::shared_ptr<LocalMessage>(new LocalMessage);
    message->buffer = std::move(buffer);
    message->bytes = extent.bytes();
    hub_->put(rank_, to, channel, message);
    return Pending(std::make_unique<Sending>(hub_, to, std::move(message)));
  }

  [[nodiscard]] Pending receive(int from, Channel channel, Buffer buffer, Extent extent) override {
    require_message("receive", *this, from, extent);
    const auto bytes = static_cast<std::size_t>(extent.bytes());
    if (buffer.size() < bytes) buffer.resize(bytes);
    return Pending(
        std::make_unique<Receiving>(hub_, from, rank_, channel, std::move(buffer), extent));
  }

  [[nodiscard]] Pending take_stray(int from, Channel channel) override {
    auto message = hub_->stray(from, rank_, channel);
    if (message == nullptr) return {};
    return Pending(std::make_unique<Stray>(from, std::move(message)));
  }

  void require_everyone() const override { hub_->require_everyone(); }
  [[nodiscard]] std::unique_ptr<SharedMemory> share(std::int64_t capacity) override {
    return share_between_threads(*this, capacity);
  }

 private:
  [[nodiscard]] int find_leader() override { return 0; }

  std::shared_ptr<LocalHub> hub_;
  int rank_;
};

void play(const std::shared_ptr<LocalHub>& hub, int rank, const std::function<void(Group&)>& body,
          std::chrono::milliseconds limit) {
  try {
    LocalGroup group(hub, rank, limit);
    body(group);
  } catch (const std::exception& error) {
    hub->leave(rank, std::current_exception(), error.what());
  } catch (...) {
    hub->leave(rank, std::current_exception(), "an exception without words");
  }
}
}  // namespace

void run_local(int ranks, const std::function<void(Group&)>& body,
               std::chrono::milliseconds limit) {
  if (ranks < 1) {
    throw std::invalid_argument("run_local: ranks is " + std::to_string(ranks) +
                                ", want 1 or more");
  }
  const auto hub = std::shared_ptr<LocalHub>(new LocalHub(ranks));
  {
    std::vector<std::jthread> threads;  // joined on the way out, also when one cannot be started
    for (int rank = 0; rank < ranks; ++rank) {
      try {
        threads.emplace_back([&hub, rank, &body, limit] { play(hub, rank, body, limit); });
      } catch (...) {
        hub->leave(rank, std::current_exception(), "its thread could not be started");
        break;
      }
    }
  }
  if (hub->first_failure() != nullptr) std::rethrow_exception(hub->first_failure());
}

std::unique_ptr<Group> solo_group() {
  return std::make_unique<LocalGroup>(std::shared_ptr<LocalHub>(new LocalHub(1)), 0,
                                      std::chrono::seconds(60));
}

bool is_local(const Group& group) {
  return dynamic_cast<const LocalGroup*>(&group) != nullptr;
}
}  // namespace switchyard::comm
