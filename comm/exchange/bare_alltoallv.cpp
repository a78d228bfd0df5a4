// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/bare_alltoallv.hpp"

#include <limits>
#include <stdexcept>
#include <string>

#include "comm/group/mpi_group.hpp"

namespace switchyard::comm {
namespace {
MpiGroup& mpi_of(Group& group) {
  auto* const mpi = dynamic_cast<MpiGroup*>(&group);
  if (mpi == nullptr) {
    throw std::invalid_argument("bare collective: got ranks that are threads, want MPI processes");
  }
  return *mpi;
}
}  // namespace

bool has_bare_collectives(const Group& group) {
  return dynamic_cast<const MpiGroup*>(&group) != nullptr;
}

BareAlltoallv::BareAlltoallv(Group& group, std::span<const std::int64_t> send_rows,
                             std::span<const std::int64_t> receive_rows, std::int64_t row_bytes)
    : group_(mpi_of(group)),
      row_bytes_(row_bytes),
      send_(side_of(send_rows)),
      receive_(side_of(receive_rows)) {
  const auto ranks = static_cast<std::size_t>(group.size());
  if (send_rows.size() != ranks || receive_rows.size() != ranks) {
    throw std::invalid_argument("bare alltoallv: got rows for " + std::to_string(send_rows.size()) +
                                " and from " + std::to_string(receive_rows.size()) +
                                " ranks, want " + std::to_string(ranks) + " of each");
  }
}

BareAlltoallv::Side BareAlltoallv::side_of(std::span<const std::int64_t> rows) {
  Side side;
  std::int64_t total = 0;
  for (const std::int64_t count : rows) {
    if (count < 0 || count > std::numeric_limits<int>::max() - total) {
      throw std::invalid_argument("bare alltoallv: got " + std::to_string(count) + " rows after " +
                                  std::to_string(total) + ", want 0 to 2147483647 in all");
    }
    side.counts.push_back(static_cast<int>(count));
    side.offsets.push_back(static_cast<int>(total));
    total += count;
  }
  return side;
}

void BareAlltoallv::out(const std::byte* send, std::byte* receive) const {
  move(send, send_, receive, receive_);
}

void BareAlltoallv::back(const std::byte* send, std::byte* receive) const {
  move(send, receive_, receive, send_);
}

void BareAlltoallv::move(const std::byte* send, const Side& to, std::byte* receive,
                         const Side& from) const {
  const MPI_Datatype row = group_.row_type(row_bytes_);
  check(MPI_Alltoallv(send, to.counts.data(), to.offsets.data(), row, receive, from.counts.data(),
                      from.offsets.data(), row, group_.handle()),
        "MPI_Alltoallv");
}

void bare_allgather(Group& group, std::span<const std::int64_t> mine, std::span<std::int64_t> all) {
  MpiGroup& mpi = mpi_of(group);
  if (all.size() != mine.size() * static_cast<std::size_t>(group.size())) {
    throw std::invalid_argument(
        "bare allgather: got room for " + std::to_string(all.size()) + " numbers, want " +
        std::to_string(mine.size() * static_cast<std::size_t>(group.size())));
  }
  const int count = static_cast<int>(mine.size());
  check(
      MPI_Allgather(mine.data(), count, MPI_INT64_T, all.data(), count, MPI_INT64_T, mpi.handle()),
      "MPI_Allgather");
}
}  // namespace switchyard::comm
