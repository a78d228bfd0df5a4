// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where threads that play the ranks of a group leave messages for each other.
#include <atomic>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "comm/group/group.hpp"

namespace switchyard::comm {

/// A message between threads. The sender's buffer stays here until the receiver has copied it.
struct LocalMessage {
  Buffer buffer;
  std::int64_t bytes = 0;
  std::atomic<bool> taken = false;  ///< set by the receiver, after its copy
};

/// Shared by the ranks of one local group.
class LocalHub {
 public:
  explicit LocalHub(int ranks) : mailboxes_(static_cast<std::size_t>(ranks)) {}

  [[nodiscard]] int size() const { return static_cast<int>(mailboxes_.size()); }

  void put(int from, int to, Channel channel, std::shared_ptr<LocalMessage> message);
  /// The number of a receive: the nth receive of a lane gets its nth message.
  [[nodiscard]] std::uint64_t ticket(int from, int to, Channel channel);
  /// Null while it has not come.
  [[nodiscard]] std::shared_ptr<LocalMessage> get(int from, int to, Channel channel,
                                                  std::uint64_t ticket);

  /// The oldest message of a lane that nobody has got; null: none.
  [[nodiscard]] std::shared_ptr<LocalMessage> stray(int from, int to, Channel channel);

  /// This rank throws; the first to say so is remembered.
  void leave(int rank, std::exception_ptr why, const std::string& words);
  /// @throws TemporaryError  "rank 2 left: <its words>", once a rank has left
  void require_everyone() const;
  /// What the first rank to leave threw; null if none did. Call when all threads are done.
  [[nodiscard]] std::exception_ptr first_failure() const { return failure_; }

 private:
  struct Lane {
    std::uint64_t sent = 0;
    std::uint64_t asked = 0;
    std::map<std::uint64_t, std::shared_ptr<LocalMessage>> waiting;
  };
  struct Mailbox {
    std::mutex mutex;
    std::map<std::pair<int, Channel>, Lane> lanes;  ///< by sender and channel
  };

  std::vector<Mailbox> mailboxes_;
  std::atomic<bool> left_ = false;
  std::mutex leaving_;
  std::string farewell_;  ///< written once, before left_ is set
  std::exception_ptr failure_;
};
}  // namespace switchyard::comm
