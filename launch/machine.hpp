// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What this process may use of the machine that it runs on. Reads /proc, /sys and the environment;
/// starts nothing.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace switchyard::launch {

struct Machine {
  std::int64_t processors_allowed = 0;  ///< hardware threads, by affinity
  std::int64_t cores_allowed = 0;       ///< physical cores among them: what mpirun calls slots
  std::vector<std::string> numa_nodes;  ///< processors of each, by number: "0-15"; empty: unknown
  double processor_limit = 0;           ///< processors' worth of time, by cgroup; 0: no limit
  std::int64_t local_ranks = 0;         ///< of the job on this machine; 0: not under mpirun
  std::vector<std::string> extensions;  ///< of the instruction set, those that kernels can use
  std::int64_t memory_bytes = 0;
  std::int64_t memory_available_bytes = 0;
  std::int64_t memory_limit_bytes = 0;  ///< by cgroup; 0: no limit
  std::int64_t shm_bytes = 0;           ///< size of /dev/shm; 0: there is none
  std::int64_t shm_free_bytes = 0;
  std::string huge_pages;      ///< "always", "madvise", "never"; "" unknown
  std::string huge_pages_shm;  ///< "always", "within_size", "advise", "never", ...; "" unknown
  bool collapses_shm = false;  ///< the kernel makes huge pages of shared memory when asked to
  std::int64_t huge_pool_pages = 0;  ///< reserved for hugetlb, which nobody here uses
  std::int64_t huge_page_bytes = 0;  ///< size of one; 0: unknown
  bool root = false;
  bool root_opted_in = false;      ///< both of OMPI_ALLOW_RUN_AS_ROOT and ..._CONFIRM
  std::int64_t blas_threads = 0;   ///< OPENBLAS_NUM_THREADS; 0: not set, so one a processor
  bool reads_own_kind = false;     ///< process_vm_readv works (Open MPI's single copy, CMA)
  std::int64_t ptrace_scope = -1;  ///< of Yama; -1: not there
  std::string single_copy;         ///< OMPI_MCA_btl_vader_single_copy_mechanism; "" not set
  std::string mpirun;              ///< its path; "" not in PATH

  /// What pages the segments of the node transport get, which ask for huge ones: "2 MiB",
  /// "4 KiB", "unknown".
  [[nodiscard]] std::string shared_pages() const;
  /// Processors' worth of time that ranks can have together; at least 1.
  [[nodiscard]] std::int64_t usable() const;
};

/// @param root         what stands for "/" when /proc and /sys are read
/// @param environment  "NAME=VALUE"
[[nodiscard]] Machine read_machine(const std::filesystem::path& root,
                                   const std::vector<std::string>& environment);

/// Bytes that one rank may fill, if all ranks of this machine take the same.
[[nodiscard]] std::int64_t memory_of_one_rank();

/// What somebody who is about to start ranks should know, a sentence each; empty: all is well.
[[nodiscard]] std::vector<std::string> advice(const Machine& machine);

/// A line that starts as many ranks as there are cores.
[[nodiscard]] std::string suggested_line(const Machine& machine);
}  // namespace switchyard::launch
