// SPDX-License-Identifier: Apache-2.0
// A program with an MPI of its own, of whose ranks every other one works together.
#include <cstdio>
#include <mpi.h>

#include "comm/collective.hpp"
#include "comm/mpi_group.hpp"
#include "runtime/model/model.hpp"

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm half = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
  if (rank % 2 == 0) {
    switchyard::comm::MpiGroup group(half);
    switchyard::comm::barrier(group);
    const auto model = switchyard::runtime::Model::preset("olmoe");
    if (rank == 0) {
      std::printf("%d ranks, %lld parameters\n", group.size(),
                  static_cast<long long>(model.parameters().total));
    }
  }
  MPI_Comm_free(&half);
  MPI_Finalize();
  return 0;
}
