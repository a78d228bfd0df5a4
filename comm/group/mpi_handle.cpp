// SPDX-License-Identifier: Apache-2.0
#include "comm/group/mpi_handle.hpp"

#include <string>

#include "comm/base/error.hpp"

namespace switchyard::comm {

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  throw MpiError(std::string(call) + ": " +
                 (length > 0 ? std::string(text, static_cast<std::size_t>(length))
                             : "error " + std::to_string(code)));
}

bool mpi_is_running() {
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized != 0 && finalized == 0;
}

Datatype::Datatype(std::int64_t row_bytes) {
  // The caller has checked that it fits (require_message).
  check(MPI_Type_contiguous(static_cast<int>(row_bytes), MPI_BYTE, &handle_),
        "MPI_Type_contiguous");
  check(MPI_Type_commit(&handle_), "MPI_Type_commit");
}

Datatype::~Datatype() {
  if (handle_ != MPI_DATATYPE_NULL && mpi_is_running()) MPI_Type_free(&handle_);
}
}  // namespace switchyard::comm
