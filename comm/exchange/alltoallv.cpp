// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/alltoallv.hpp"

#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace switchyard::comm {
namespace {
constexpr auto kHead = static_cast<std::size_t>(kFrameHeaderBytes);

/// Running sums of counts, each of which MPI takes as an int.
std::int64_t lay_out(const std::vector<std::int64_t>& from, std::vector<int>& counts,
                     std::vector<int>& offsets) {
  counts.clear();
  offsets.clear();
  std::int64_t total = 0;
  for (const std::int64_t count : from) {
    if (total + count > std::numeric_limits<int>::max()) {
      throw std::invalid_argument("exchange alltoallv: got " + std::to_string(total + count) +
                                  " rows or note bytes in one round, want at most 2147483647");
    }
    counts.push_back(static_cast<int>(count));
    offsets.push_back(static_cast<int>(total));
    total += count;
  }
  return total;
}

template <class B>  // Buffer, const or not
auto* item(B& buffer, const std::vector<int>& offsets, int rank, std::int64_t item_bytes) {
  return buffer.data() + offsets[static_cast<std::size_t>(rank)] * item_bytes;
}
}  // namespace

AlltoallvExchange::AlltoallvExchange(MpiGroup& group, Channel channel)
    : RoundExchange(group, channel, "alltoallv"),
      mpi_(group),
      heads_(std::make_unique<Flight>()),
      notes_(std::make_unique<Flight>()),
      rows_(std::make_unique<Flight>()),
      returns_(std::make_unique<Flight>()),
      headers_(static_cast<std::size_t>(group.size())),
      out_(headers_.size()),
      in_(headers_.size()) {}

AlltoallvExchange::~AlltoallvExchange() = default;

void AlltoallvExchange::load(Flight& flight, std::int64_t item_bytes) const {
  const std::int64_t out = lay_out(out_, flight.send_counts, flight.send_offsets);
  const std::int64_t in = lay_out(in_, flight.receive_counts, flight.receive_offsets);
  flight.send.resize(static_cast<std::size_t>(out * item_bytes));
  flight.receive.resize(static_cast<std::size_t>(in * item_bytes));
}

void AlltoallvExchange::count_message(int to, std::int64_t bytes) {
  const auto& node_of = mpi_.nodes().node_of;
  traffic_.messages += 1;
  traffic_.wire_bytes += bytes;
  if (node_of[static_cast<std::size_t>(to)] == node_of[static_cast<std::size_t>(rank())]) return;
  traffic_.between_nodes_bytes += bytes;
}

void AlltoallvExchange::fly(std::unique_ptr<Flight>& flight, std::int64_t item_bytes) {
  const MPI_Datatype type = mpi_.row_type(item_bytes);
  for (int r = 0; r < size(); ++r) {
    const std::int64_t count = flight->send_counts[static_cast<std::size_t>(r)];
    if (r != rank() && count > 0) count_message(r, count * item_bytes);
  }
  check(MPI_Ialltoallv(flight->send.data(), flight->send_counts.data(), flight->send_offsets.data(),
                       type, flight->receive.data(), flight->receive_counts.data(),
                       flight->receive_offsets.data(), type, mpi_.handle(), &flight->request),
        "MPI_Ialltoallv");
  land(flight);
}

void AlltoallvExchange::land(std::unique_ptr<Flight>& flight) {
  try {
    const auto done = [&] {
      int complete = 0;
      check(MPI_Test(&flight->request, &complete, MPI_STATUS_IGNORE), "MPI_Test");
      return complete != 0;
    };
    // A collective does not tell whom it waits for.
    const auto whom = [] { return std::string("some rank in MPI_Ialltoallv"); };
    group().deadline().wait(done, whom, {.what = "MPI_Ialltoallv"});
  } catch (...) {
    static_cast<void>(flight.release());  // MPI may still write there
    throw;
  }
}

void AlltoallvExchange::swap_headers(FrameKind kind) {
  heads_->send.resize(headers_.size() * kHead);
  heads_->receive.resize(headers_.size() * kHead);
  for (std::size_t r = 0; r < headers_.size(); ++r) {
    const auto head = heads_->send.bytes().subspan(r * kHead, kHead);
    write_header(headers_[r], head);
    if (static_cast<int>(r) != rank()) group().deadline().sends(head);
  }
  for (int r = 0; r < size(); ++r) {
    if (r != rank()) count_message(r, kFrameHeaderBytes);
  }
  const MPI_Datatype type = mpi_.row_type(kFrameHeaderBytes);
  check(MPI_Ialltoall(heads_->send.data(), 1, type, heads_->receive.data(), 1, type, mpi_.handle(),
                      &heads_->request),
        "MPI_Ialltoall");
  land(heads_);
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    const auto i = static_cast<std::size_t>(r);
    const std::int64_t rows = kind == FrameKind::kReturn ? results_from(r) : -1;
    arrivals()[i].header = read_header(
        std::as_const(heads_->receive).bytes().subspan(i * kHead, kHead), expect(kind, r, rows));
  }
}

void AlltoallvExchange::carry_rows(const Offer& offer) {
  const auto ranks = static_cast<std::size_t>(size());
  const auto self = static_cast<std::size_t>(rank());
  for (int r = 0; r < size(); ++r) {
    headers_[static_cast<std::size_t>(r)] = offer_header(FrameKind::kDispatch, offer, r);
  }
  swap_headers(FrameKind::kDispatch);
  for (std::size_t r = 0; r < ranks; ++r) {  // what is for this rank stays where it is
    out_[r] = r == self ? 0 : headers_[r].note_bytes;
    in_[r] = r == self ? 0 : arrivals()[r].header.note_bytes;
  }
  load(*notes_, 1);
  for (std::size_t r = 0; r < ranks; ++r) {
    out_[r] = r == self ? 0 : headers_[r].rows;
    in_[r] = r == self ? 0 : arrivals()[r].header.rows;
  }
  load(*rows_, offer.row_bytes);
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    const std::span<const std::byte> note = note_for(offer, r);
    if (!note.empty()) {
      std::memcpy(item(notes_->send, notes_->send_offsets, r, 1), note.data(), note.size());
    }
    pack_rows(offer, r, item(rows_->send, rows_->send_offsets, r, offer.row_bytes));
  }
  fly(notes_, 1);
  fly(rows_, offer.row_bytes);
  for (std::size_t r = 0; r < ranks; ++r) {
    if (r == self) continue;
    arrivals()[r].note = std::as_const(notes_->receive)
                             .bytes()
                             .subspan(static_cast<std::size_t>(notes_->receive_offsets[r]),
                                      static_cast<std::size_t>(arrivals()[r].header.note_bytes));
  }
}

void AlltoallvExchange::locate_rows(int from, std::span<const std::byte*> rows) const {
  const std::int64_t row_bytes = arrivals()[static_cast<std::size_t>(from)].header.row_bytes;
  const std::byte* row =
      item(std::as_const(rows_->receive), rows_->receive_offsets, from, row_bytes);
  for (const std::byte*& address : rows) {
    address = row;
    row += row_bytes;
  }
}

void AlltoallvExchange::open_slots() {
  for (int r = 0; r < size(); ++r) {
    out_[static_cast<std::size_t>(r)] = r == rank() ? 0 : results_for(r);
    in_[static_cast<std::size_t>(r)] = r == rank() ? 0 : results_from(r);
  }
  load(*returns_, result_bytes());
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    const auto i = static_cast<std::size_t>(r);
    slots()[i] = item(returns_->send, returns_->send_offsets, r, result_bytes());
    results()[i] = item(returns_->receive, returns_->receive_offsets, r, result_bytes());
  }
}

void AlltoallvExchange::carry_results() {
  for (int r = 0; r < size(); ++r) {
    const std::int64_t rows = r == rank() ? 0 : results_for(r);
    headers_[static_cast<std::size_t>(r)] = result_header(FrameKind::kReturn, rows, r);
  }
  swap_headers(FrameKind::kReturn);
  fly(returns_, result_bytes());
}
}  // namespace switchyard::comm
