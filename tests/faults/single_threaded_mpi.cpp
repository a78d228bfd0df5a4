// SPDX-License-Identifier: Apache-2.0
// To be put before MPI: an MPI that stands one thread only.
#include <mpi.h>

// NOLINTNEXTLINE(readability-identifier-naming): MPI's name
extern "C" int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  const int code = PMPI_Init_thread(argc, argv, required, provided);
  *provided = MPI_THREAD_SINGLE;
  return code;
}
