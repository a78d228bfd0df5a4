// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "launch/machine.hpp"

namespace switchyard::launch {
namespace {
constexpr std::int64_t kMebibyte = 1LL << 20;
/// Open MPI takes a few MiB of /dev/shm a rank; containers come with 64 MiB.
constexpr std::int64_t kSmallShmBytes = 256 * kMebibyte;

std::int64_t ranks_of(const Machine& machine) {
  return std::max<std::int64_t>(std::min(machine.usable(), machine.cores_allowed), 1);
}
}  // namespace

std::vector<std::string> advice(const Machine& machine) {
  std::vector<std::string> sentences;
  if (machine.mpirun.empty()) {
    sentences.emplace_back("mpirun is not in PATH: install Open MPI's programs (openmpi-bin)");
  }
  if (machine.root && !machine.root_opted_in) {
    sentences.emplace_back(
        "you are root, and mpirun refuses root without --allow-run-as-root or "
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
  }
  if (machine.processor_limit > 0 &&
      machine.processor_limit < static_cast<double>(machine.processors_allowed)) {
    sentences.push_back("a cgroup limits this process to the time of " +
                        std::to_string(machine.usable()) + " of " +
                        std::to_string(machine.processors_allowed) +
                        " processors, which mpirun does not see: more ranks than that will stall");
  }
  if (machine.local_ranks > machine.usable()) {
    sentences.push_back(std::to_string(machine.local_ranks) + " ranks share " +
                        std::to_string(machine.usable()) +
                        " processors: each waits while another computes; want a rank a core, and "
                        "--threads-per-rank for what is left");
  }
  const std::int64_t ranks = ranks_of(machine);
  if (ranks > 1 && machine.blas_threads != 1) {
    const std::string each = machine.blas_threads == 0 ? std::to_string(machine.processors_allowed)
                                                       : std::to_string(machine.blas_threads);
    sentences.push_back("OpenBLAS starts " + each + " threads in each of " + std::to_string(ranks) +
                        " ranks: set OPENBLAS_NUM_THREADS=1");
  }
  if (machine.shm_bytes == 0) {
    sentences.emplace_back("there is no /dev/shm: ranks of a node will talk through the network");
  } else if (machine.shm_free_bytes < kSmallShmBytes) {
    sentences.push_back("/dev/shm has " + std::to_string(machine.shm_free_bytes / kMebibyte) +
                        " MiB free, want " + std::to_string(kSmallShmBytes / kMebibyte) +
                        ": in a container, start it with --shm-size=1g");
  }
  if (!machine.reads_own_kind && machine.single_copy != "none") {
    sentences.emplace_back(
        "this kernel forbids process_vm_readv, so Open MPI copies large messages twice; "
        "OMPI_MCA_btl_vader_single_copy_mechanism=none keeps it from trying");
  } else if (machine.reads_own_kind && machine.ptrace_scope > 0 && !machine.root &&
             machine.single_copy != "none") {
    sentences.push_back("kernel.yama.ptrace_scope is " + std::to_string(machine.ptrace_scope) +
                        ", want 0 for Open MPI's single copy between ranks of a node; "
                        "OMPI_MCA_btl_vader_single_copy_mechanism=none keeps it from trying");
  }
  if (machine.huge_pages == "never") {
    sentences.emplace_back(
        "transparent huge pages are off: weights of some GiB read faster with "
        "/sys/kernel/mm/transparent_hugepage/enabled at madvise");
  }
  if (machine.shared_pages() == "4 KiB") {
    sentences.emplace_back(
        "ranks of a node share memory in pages of 4 KiB: an administrator can give it 2 MiB with "
        "`echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled` (rows at random "
        "read 1.2 times as fast, first use takes half the time)");
  }
  if (machine.huge_pool_pages > 0) {
    sentences.push_back(
        std::to_string(machine.huge_pool_pages * machine.huge_page_bytes / kMebibyte) +
        " MiB are reserved in the hugetlb pool, which switchyard does not use: vm.nr_hugepages=0 "
        "gives them back");
  }
  return sentences;
}

std::string suggested_line(const Machine& machine) {
  const std::int64_t ranks = ranks_of(machine);
  std::string line = "mpirun";
  if (machine.root) line += " --allow-run-as-root";
  line += " -n " + std::to_string(std::max<std::int64_t>(ranks, 2));
  if (ranks < 2) line += " --oversubscribe";
  if (machine.blas_threads != 1) line += " -x OPENBLAS_NUM_THREADS=1";
  return line + " switchyard run --model olmoe-1b-7b --layers 1 --tokens 1024";
}
}  // namespace switchyard::launch
