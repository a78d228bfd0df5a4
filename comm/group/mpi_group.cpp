// SPDX-License-Identifier: Apache-2.0
#include "comm/group/mpi_group.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "comm/base/error.hpp"

namespace switchyard::comm {
namespace {

/// A request, the buffer it reads or writes, and what must have arrived in the end.
class Message final : public Pending::State {
 public:
  using Spare = std::vector<std::unique_ptr<Pending::State>>;

  Message() = default;
  /// One of the spare ones, among which there is room for every one that was ever made.
  static std::unique_ptr<Message> make(const std::shared_ptr<Spare>& spare, int peer,
                                       Buffer buffer) {
    if (spare->empty()) {
      // As many again as there are: how many are in flight at a time is left to chance, and the
      // most of a few warm steps is not the most of all.
      constexpr std::size_t kFirst = 16;
      const std::size_t more = std::max(spare->capacity(), kFirst);
      spare->reserve(spare->capacity() + more);
      for (std::size_t i = 0; i < more; ++i) spare->push_back(std::make_unique<Message>());
    }
    std::unique_ptr<Message> message(static_cast<Message*>(spare->back().release()));
    spare->pop_back();
    message->spare_ = spare;
    message->peer_ = peer;
    message->buffer_ = std::move(buffer);
    return message;
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() override {
    if (request_ != MPI_REQUEST_NULL) buffer_.abandon();
  }

  void send(MPI_Comm comm, int tag, MPI_Datatype type, int rows) {
    check(MPI_Isend(buffer_.data(), rows, type, peer_, tag, comm, &request_), "MPI_Isend");
  }

  void receive(MPI_Comm comm, int tag, MPI_Datatype type, int rows) {
    type_ = type;
    rows_ = rows;
    check(MPI_Irecv(buffer_.data(), rows, type, peer_, tag, comm, &request_), "MPI_Irecv");
  }

  [[nodiscard]] bool test() override {
    if (request_ == MPI_REQUEST_NULL) return true;
    int done = 0;
    MPI_Status status;
    const int code = MPI_Test(&request_, &done, &status);
    if (code != MPI_SUCCESS) refuse(code);
    if (done == 0) return false;
    if (type_ == MPI_DATATYPE_NULL) return true;  // a send
    int rows = 0;
    check(MPI_Get_count(&status, type_, &rows), "MPI_Get_count");
    if (rows != rows_) {
      throw ProtocolError("receive: rank " + std::to_string(peer_) + " sent " +
                          (rows == MPI_UNDEFINED ? "part of a row" : std::to_string(rows)) +
                          ", want " + std::to_string(rows_) + " rows");
    }
    return true;
  }

  [[nodiscard]] int peer() const override { return peer_; }
  [[nodiscard]] Buffer take() override { return std::move(buffer_); }

  void release() noexcept override {
    if (request_ != MPI_REQUEST_NULL) {
      delete this;  // gives its buffer up: MPI may still use it
      return;
    }
    buffer_ = Buffer();
    type_ = MPI_DATATYPE_NULL;
    const std::shared_ptr<Spare> spare = std::move(spare_);
    spare->emplace_back(this);  // has room: see make()
  }

 private:
  [[noreturn]] void refuse(int code) {
    int kind = MPI_SUCCESS;
    MPI_Error_class(code, &kind);
    if (kind == MPI_ERR_TRUNCATE) {
      throw ProtocolError("receive: rank " + std::to_string(peer_) + " sent more than the " +
                          std::to_string(rows_) + " rows that are wanted");
    }
    check(code, "MPI_Test");
    throw MpiError("MPI_Test: failed without a code");
  }

  std::shared_ptr<Spare> spare_;
  int peer_ = -1;
  Buffer buffer_;
  MPI_Request request_ = MPI_REQUEST_NULL;
  MPI_Datatype type_ = MPI_DATATYPE_NULL;  ///< of what is received; the group frees it
  int rows_ = 0;
};
}  // namespace

MpiGroup::MpiGroup(MPI_Comm parent, std::chrono::milliseconds limit)
    : Group(limit), spare_(std::make_shared<Message::Spare>()) {
  check(MPI_Comm_dup(parent, &comm_), "MPI_Comm_dup");
  check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  bytes_sent_.resize(static_cast<std::size_t>(size_));
  void* bound = nullptr;
  int found = 0;
  check(MPI_Comm_get_attr(comm_, MPI_TAG_UB, &bound, &found), "MPI_Comm_get_attr");
  if (found != 0 && bound != nullptr) tag_limit_ = *static_cast<int*>(bound);
}

std::unique_ptr<MpiGroup> MpiGroup::world(std::chrono::milliseconds limit) {
  return std::make_unique<MpiGroup>(MPI_COMM_WORLD, limit);
}

MpiGroup::~MpiGroup() {
  if (comm_ != MPI_COMM_NULL && mpi_is_running()) MPI_Comm_free(&comm_);
}

Pending MpiGroup::send(int to, Channel channel, Buffer buffer, Extent extent) {
  require_message("send", *this, to, extent);
  if (buffer.size() < static_cast<std::size_t>(extent.bytes())) {
    throw std::invalid_argument("send: buffer has " + std::to_string(buffer.size()) +
                                " bytes, want " + std::to_string(extent.bytes()));
  }
  if (channel >= kFirstExchange) bytes_sent_[static_cast<std::size_t>(to)] += extent.bytes();
  auto message = Message::make(spare_, to, std::move(buffer));
  message->send(comm_, tag(channel), row_type(extent.row_bytes), static_cast<int>(extent.rows));
  return Pending(std::move(message));
}

Pending MpiGroup::receive(int from, Channel channel, Buffer buffer, Extent extent) {
  require_message("receive", *this, from, extent);
  const auto bytes = static_cast<std::size_t>(extent.bytes());
  if (buffer.size() < bytes) buffer.resize(bytes);
  auto message = Message::make(spare_, from, std::move(buffer));
  message->receive(comm_, tag(channel), row_type(extent.row_bytes), static_cast<int>(extent.rows));
  return Pending(std::move(message));
}

Pending MpiGroup::take_stray(int from, Channel channel) {
  int found = 0;
  MPI_Status status;
  check(MPI_Iprobe(from, tag(channel), comm_, &found, &status), "MPI_Iprobe");
  if (found == 0) return {};
  int bytes = 0;
  check(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
  if (bytes == MPI_UNDEFINED) return {};  // past 2^31 bytes it may stay where it is
  return receive(from, channel, Buffer(static_cast<std::size_t>(bytes)),
                 {.row_bytes = 1, .rows = bytes});
}

std::unique_ptr<SharedMemory> MpiGroup::share(std::int64_t capacity) {
  return share_between_processes(*this, capacity);
}

int MpiGroup::find_leader() {
  MPI_Comm node = MPI_COMM_NULL;
  check(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node),
        "MPI_Comm_split_type");
  int leader = rank_;  // the first of its communicator: they are ordered by rank
  const int code = MPI_Bcast(&leader, 1, MPI_INT, 0, node);
  MPI_Comm_free(&node);
  check(code, "MPI_Bcast");
  return leader;
}

MPI_Datatype MpiGroup::row_type(std::int64_t row_bytes) {
  if (row_bytes == 1) return MPI_BYTE;
  auto found = row_types_.find(row_bytes);
  if (found == row_types_.end()) found = row_types_.emplace(row_bytes, Datatype(row_bytes)).first;
  return found->second.handle();
}

int MpiGroup::tag(Channel channel) const {
  const int tag = static_cast<int>(channel);
  if (tag < 0 || tag > tag_limit_) {
    throw std::invalid_argument("channel: got " + std::to_string(tag) + ", want 0 to " +
                                std::to_string(tag_limit_) + " (MPI_TAG_UB)");
  }
  return tag;
}
}  // namespace switchyard::comm
