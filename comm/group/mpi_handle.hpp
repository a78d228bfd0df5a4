// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// MPI's handles with an owner, and its return codes as exceptions.
#include <cstdint>
#include <mpi.h>
#include <utility>

namespace switchyard::comm {

/// @throws MpiError  "MPI_Isend: MPI_ERR_RANK: invalid rank"
void check(int code, const char* call);

/// Between MPI_Init and MPI_Finalize, where handles may be freed.
[[nodiscard]] bool mpi_is_running();

/// Rows of so many bytes, each one item.
class Datatype {
 public:
  Datatype() = default;
  explicit Datatype(std::int64_t row_bytes);
  Datatype(Datatype&& other) noexcept : handle_(std::exchange(other.handle_, MPI_DATATYPE_NULL)) {}
  Datatype& operator=(Datatype&& other) noexcept {
    std::swap(handle_, other.handle_);  // the other frees what this one held
    return *this;
  }
  ~Datatype();

  [[nodiscard]] MPI_Datatype handle() const { return handle_; }

 private:
  MPI_Datatype handle_ = MPI_DATATYPE_NULL;
};
}  // namespace switchyard::comm
