// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The ranks that work together and the only primitive between them: a message with an owner. MPI
/// processes (mpi_group.hpp) and threads that play the ranks (local_group.hpp) look alike here.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "comm/base/buffer.hpp"
#include "comm/base/deadline.hpp"
#include "comm/group/node_map.hpp"
#include "comm/group/shared_memory.hpp"

namespace switchyard::comm {

/// Keeps traffics apart that share a group: handshake, collectives, one number per exchange.
enum class Channel : int {};
inline constexpr Channel kCollectives{0};
inline constexpr Channel kHandshake{1};
inline constexpr Channel kFirstExchange{16};

/// How to count a message: `rows` items of `row_bytes`. MPI counts rows, so that a message of more
/// than 2^31 bytes is an ordinary one; the row count must fit an int.
struct Extent {
  std::int64_t row_bytes = 1;
  std::int64_t rows = 0;
  [[nodiscard]] std::int64_t bytes() const { return row_bytes * rows; }
};

/// A message in flight. Owns its buffer until it is complete; nothing else can touch it before.
/// Move-only. Destroyed in flight (an exception), it gives its buffer up rather than free memory
/// that somebody may still write.
class Pending {
 public:
  /// What a kind of group needs to know to complete a message.
  class State {
   public:
    virtual ~State() = default;
    [[nodiscard]] virtual bool test() = 0;  ///< true once complete; may be called again
    [[nodiscard]] virtual int peer() const = 0;
    [[nodiscard]] virtual Buffer take() = 0;  ///< the buffer, after test() was true
    /// Nobody needs it any more. A kind of group may keep it for the next message.
    virtual void release() noexcept { delete this; }
  };
  Pending() = default;
  explicit Pending(std::unique_ptr<State> state) : state_(state.release()) {}

  [[nodiscard]] bool test() { return state_ == nullptr || state_->test(); }
  [[nodiscard]] int peer() const { return state_->peer(); }
  /// The buffer. @pre test() was true
  [[nodiscard]] Buffer take() {
    Buffer buffer = state_->take();
    state_.reset();
    return buffer;
  }
  [[nodiscard]] bool empty() const { return state_ == nullptr; }

 private:
  struct Release {
    void operator()(State* state) const noexcept { state->release(); }
  };
  std::unique_ptr<State, Release> state_;
};

class Group {
 public:
  explicit Group(std::chrono::milliseconds limit) : deadline_(limit) {}
  virtual ~Group() = default;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;

  /// Starts to send the first extent.bytes() of `buffer`. Messages of one (sender, receiver,
  /// channel) arrive in the order in which they were started.
  [[nodiscard]] virtual Pending send(int to, Channel channel, Buffer buffer, Extent extent) = 0;
  /// Starts to receive exactly extent.bytes() into `buffer`, which is grown if need be.
  [[nodiscard]] virtual Pending receive(int from, Channel channel, Buffer buffer,
                                        Extent extent) = 0;

  /// Takes a message that has come on this channel and that no receive waits for, so that it can be
  /// thrown away. Empty: there is none. Does not wait.
  [[nodiscard]] virtual Pending take_stray(int from, Channel channel) = 0;

  /// Waits for one, or for all, within the deadline; complete messages keep their buffers.
  void wait(Pending& pending);
  void wait_all(std::span<Pending> pendings);

  /// A channel that no earlier call on this group returned. All ranks must call alike.
  [[nodiscard]] Channel new_channel();

  [[nodiscard]] Deadline& deadline() { return deadline_; }

  /// Which ranks share memory. Collective the first time, then kept.
  [[nodiscard]] const NodeMap& nodes();
  /// Processors that the ranks of this rank's node may use together. Collective the first time,
  /// then kept.
  [[nodiscard]] int processors();
  /// Plays that every so many consecutive ranks are a node, for studies and tests on one machine.
  /// Call on all ranks alike, before nodes(). 0: as they stand.
  void play_nodes(int ranks_per_node) { ranks_per_node_ = ranks_per_node; }
  /// Throws if a rank is known to have gone, where that can be known; for waits without messages.
  virtual void require_everyone() const {}
  /// A segment for each rank, of at most `capacity` bytes (of addresses, not of memory), that all
  /// ranks of its node see. Collective over the group.
  /// @throws CollectiveError  on every rank: memory cannot be shared here
  [[nodiscard]] virtual std::unique_ptr<SharedMemory> share(std::int64_t capacity) = 0;

 protected:
  /// The lowest rank of this group on this rank's machine. Collective.
  [[nodiscard]] virtual int find_leader() = 0;
  /// For a group whose ranks change: these stand on these nodes, and no channel is open.
  void begin_anew(NodeMap nodes);
  /// Channels below this one were opened.
  [[nodiscard]] int next_channel() const { return next_channel_; }

 private:
  Deadline deadline_;
  int ranks_per_node_ = 0;
  std::optional<NodeMap> nodes_;
  int processors_ = 0;  ///< 0: not asked yet
  int next_channel_ = static_cast<int>(kFirstExchange);
};

/// What every kind of group asks of a message before it starts one.
/// @throws std::invalid_argument  "send: got 3000000000 rows of 1 bytes for rank 1, want 0 to ..."
void require_message(const char* where, const Group& group, int peer, const Extent& extent);
}  // namespace switchyard::comm
