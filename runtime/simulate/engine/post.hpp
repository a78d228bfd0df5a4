// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Messages between simulated ranks. What a rank sends another without looking elsewhere (the
/// header, note and body of a frame) is one flow of the network; it begins when the receiver has
/// asked for its first message, and all its messages are through when it is.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/simulate/engine/causes.hpp"
#include "runtime/simulate/machine.hpp"

namespace simgrid::s4u {
class Actor;
class Host;
}  // namespace simgrid::s4u

namespace switchyard::runtime {
class Desk;

/// Whose messages match: the receiver asks for exactly this.
struct Address {
  int peer = 0;
  int tag = 0;
  int group = 0;  ///< number of the communicator
};

/// One message at one of its two ends.
struct Part;
/// Messages that travel together.
struct Bundle;

/// All ranks' messages. One thread, as everything that is simulated.
class Post {
 public:
  /// @param hosts  [ranks]; SimGrid has its platform
  Post(const Machine& machine, const std::vector<simgrid::s4u::Host*>& hosts);
  ~Post();
  Post(const Post&) = delete;
  Post& operator=(const Post&) = delete;

  [[nodiscard]] const Machine& machine() const { return machine_; }
  /// Of the rank that left last.
  [[nodiscard]] const Causes::Link& last_cause() const { return last_cause_; }
  /// Flows that were begun.
  [[nodiscard]] std::int64_t flows() const { return flows_; }

 private:
  friend class Desk;
  struct Store;
  Part* make_part();
  void free_part(Part* part);
  Bundle* make_bundle(int from, int to);
  void start_if_ready(Bundle& bundle, const Desk& by);
  void arrive(Bundle& bundle);
  static void deliver(const Part& sent, Part& wanted);

  const Machine& machine_;
  const std::vector<simgrid::s4u::Host*>& hosts_;
  Causes causes_;
  Causes::Link last_cause_;
  double last_s_ = -1;
  std::vector<Desk*> desks_;  ///< [ranks]
  std::unique_ptr<Store> store_;
  std::int64_t flows_ = 0;
};

/// What one rank sends and receives, and how it waits: giving the processor away means to sleep
/// until a flow of this rank is through, so a look costs nothing.
class Desk {
 public:
  Desk(Post& post, int rank);
  ~Desk() = default;
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  /// @param memory  good until the message is through; hollow: it has no contents
  [[nodiscard]] Part* send(const void* memory, std::int64_t bytes, const Address& to);
  [[nodiscard]] Part* receive(void* memory, std::int64_t bytes, const Address& from);
  /// Bytes of the first message from there that nobody has asked for; -1: none.
  [[nodiscard]] std::int64_t first_unasked(const Address& from);
  /// Once it is through the part is gone.
  struct Through {
    bool yes = false;
    bool truncated = false;
    Address from;  ///< of one that was received
    std::int64_t bytes = 0;
  };
  [[nodiscard]] Through test(Part* part);
  /// Sleeps until one is through; a while if there are none. Returns at once if any was begun or
  /// found to be through since the last time: the rank may have more to begin because of it.
  void sleep();
  /// This rank is busy for so long.
  void pass(double seconds, Cause::Kind kind = Cause::Kind::kBusy);
  /// What the rank is at from here on, for the path that ends last.
  void enters(std::string_view phase) { phase_ = phase; }
  /// Nothing more will be sent or received.
  void leave();
  /// Of the rank that calls; null outside of any.
  [[nodiscard]] static Desk* mine();

  std::vector<const void*> groups;  ///< communicators, in the order in which all ranks made them

 private:
  friend class Post;
  /// Messages from one address; those sent or those asked for, never both.
  struct Queue {
    Part* first = nullptr;
    Part* last = nullptr;
  };
  [[nodiscard]] Queue& queue(const Address& from);
  void seal();
  void pay(int peer);
  void wake(Bundle& by);

  Post& post_;
  int rank_;
  std::unordered_map<std::uint64_t, Queue> queues_;
  Bundle* writing_ = nullptr;  ///< what the next message to the same rank goes into
  std::int64_t open_ = 0;      ///< messages that are not through
  bool moved_ = false;         ///< one was begun, or found to be through, since the last sleep
  bool awake_ = false;         ///< a flow was through since the last sleep
  bool asleep_ = false;
  simgrid::s4u::Actor* actor_ = nullptr;
  std::string_view phase_ = "start";
  Causes::Link cause_;
};
}  // namespace switchyard::runtime
