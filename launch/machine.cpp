// SPDX-License-Identifier: Apache-2.0
#include "launch/machine.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sched.h>
#include <set>
#include <sstream>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "comm/group/shared_memory.hpp"

namespace switchyard::launch {
namespace {
namespace fs = std::filesystem;

/// The first line of a small file; "" when there is none.
std::string first_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

std::int64_t number(const std::string& text, std::int64_t otherwise) {
  std::int64_t value = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// "madvise" of "always [madvise] never".
std::string chosen(const std::string& words) {
  const std::size_t open = words.find('[');
  const std::size_t close = words.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return "";
  return words.substr(open + 1, close - open - 1);
}

std::string variable(const std::vector<std::string>& environment, const std::string& name) {
  for (const std::string& entry : environment) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return "";
}

void read_processors(const fs::path& root, Machine& machine) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) continue;
    ++machine.processors_allowed;
    const std::string name = "cpu" + std::to_string(cpu);
    const std::string siblings =
        first_line(root / "sys/devices/system/cpu" / name / "topology/thread_siblings_list");
    cores.insert(siblings.empty() ? name : siblings);
  }
  machine.cores_allowed = static_cast<std::int64_t>(cores.size());
}

/// Nodes are numbered with gaps where some are offline.
std::vector<std::string> read_numa_nodes(const fs::path& root) {
  std::map<std::int64_t, std::string> nodes;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(root / "sys/devices/system/node", none)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("node")) continue;
    const std::int64_t index = number(name.substr(4), -1);
    if (index >= 0) nodes[index] = first_line(entry.path() / "cpulist");
  }
  std::vector<std::string> processors;
  for (const auto& [index, list] : nodes) processors.push_back(list);
  return processors;
}

/// Of the flags of the first processor, those that a kernel is or may be written for.
std::vector<std::string> read_extensions(const fs::path& root) {
  const std::set<std::string> wanted{
      "avx2",        "fma",      "f16c",     "avx_vnni", "avx512f", "avx512_bf16", "avx512_vnni",
      "avx512_fp16", "amx_bf16", "amx_int8", "asimd",    "sve",     "bf16",        "i8mm"};
  std::vector<std::string> found;
  std::ifstream stream(root / "proc/cpuinfo");
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;) {
      if (wanted.contains(word)) found.push_back(word);
    }
    break;
  }
  std::ranges::sort(found);
  return found;
}

void lower(double& limit, double value) {
  if (value > 0 && (limit == 0 || value < limit)) limit = value;
}

/// Limits of this process's control group and of those around it: version 2, else version 1.
void read_limits(const fs::path& root, Machine& machine) {
  const fs::path top = root / "sys/fs/cgroup";
  fs::path inside;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (line.starts_with("0::/")) inside = line.substr(4);
  }
  double memory = 0;
  for (fs::path at = inside;; at = at.parent_path()) {
    std::istringstream quota(first_line(top / at / "cpu.max"));
    double time = 0;
    double period = 0;
    if (quota >> time >> period && period > 0) lower(machine.processor_limit, time / period);
    lower(memory, static_cast<double>(number(first_line(top / at / "memory.max"), 0)));
    if (at.empty()) break;
  }
  const double time = static_cast<double>(number(first_line(top / "cpu/cpu.cfs_quota_us"), 0));
  const double period = static_cast<double>(number(first_line(top / "cpu/cpu.cfs_period_us"), 0));
  if (time > 0 && period > 0) lower(machine.processor_limit, time / period);
  lower(memory, static_cast<double>(number(first_line(top / "memory/memory.limit_in_bytes"), 0)));
  // Version 1 says "no limit" with a huge number.
  if (memory < static_cast<double>(machine.memory_bytes)) {
    machine.memory_limit_bytes = static_cast<std::int64_t>(memory);
  }
}

void read_memory(const fs::path& root, Machine& machine) {
  std::ifstream stream(root / "proc/meminfo");
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    std::string name;
    std::int64_t kibibytes = 0;
    words >> name >> kibibytes;
    if (name == "MemTotal:") machine.memory_bytes = kibibytes * 1024;
    if (name == "MemAvailable:") machine.memory_available_bytes = kibibytes * 1024;
    if (name == "HugePages_Total:") machine.huge_pool_pages = kibibytes;  // a number of pages
    if (name == "Hugepagesize:") machine.huge_page_bytes = kibibytes * 1024;
  }
  struct statvfs shm {};
  if (::statvfs((root / "dev/shm").c_str(), &shm) != 0) return;
  machine.shm_bytes = static_cast<std::int64_t>(shm.f_blocks * shm.f_frsize);
  machine.shm_free_bytes = static_cast<std::int64_t>(shm.f_bavail * shm.f_frsize);
}

/// Open MPI's single copy reads another process's memory; the kernel may forbid the call
/// altogether.
bool reads_own_kind() {
  int from = 7;
  int to = 0;
  const iovec local{.iov_base = &to, .iov_len = sizeof to};
  const iovec remote{.iov_base = &from, .iov_len = sizeof from};
  return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) == sizeof to && to == from;
}

std::string in_path(const std::string& program, const std::string& path) {
  std::istringstream folders(path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const fs::path file = fs::path(folder) / program;
    if (::access(file.c_str(), X_OK) == 0) return file.string();
  }
  return "";
}
}  // namespace

std::int64_t memory_of_one_rank() {
  const char* const local = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  const int ranks = local == nullptr ? 1 : std::max(1, std::atoi(local));
  const Machine machine = read_machine("/", {});
  std::int64_t bytes = machine.memory_available_bytes;
  if (machine.memory_limit_bytes > 0) bytes = std::min(bytes, machine.memory_limit_bytes);
  return bytes / ranks;
}

std::string Machine::shared_pages() const {
  if (huge_pages_shm.empty()) return "unknown";
  const bool asked = huge_pages_shm != "never" || collapses_shm;
  return huge_pages_shm != "deny" && asked ? "2 MiB" : "4 KiB";
}

std::int64_t Machine::usable() const {
  std::int64_t processors = processors_allowed;
  if (processor_limit > 0) {
    processors = std::min(processors, static_cast<std::int64_t>(processor_limit));
  }
  return std::max<std::int64_t>(processors, 1);
}

Machine read_machine(const fs::path& root, const std::vector<std::string>& environment) {
  Machine machine;
  read_processors(root, machine);
  machine.numa_nodes = read_numa_nodes(root);
  read_memory(root, machine);
  read_limits(root, machine);
  const fs::path pages = root / "sys/kernel/mm/transparent_hugepage";
  machine.huge_pages = chosen(first_line(pages / "enabled"));
  machine.huge_pages_shm = chosen(first_line(pages / "shmem_enabled"));
  machine.extensions = read_extensions(root);
  machine.local_ranks = number(variable(environment, "OMPI_COMM_WORLD_LOCAL_SIZE"), 0);
  machine.root = ::geteuid() == 0;
  machine.root_opted_in = !variable(environment, "OMPI_ALLOW_RUN_AS_ROOT").empty() &&
                          !variable(environment, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM").empty();
  machine.blas_threads = number(variable(environment, "OPENBLAS_NUM_THREADS"), 0);
  machine.reads_own_kind = reads_own_kind();
  machine.collapses_shm = comm::collapses_shared_memory();
  machine.ptrace_scope = number(first_line(root / "proc/sys/kernel/yama/ptrace_scope"), -1);
  machine.single_copy = variable(environment, "OMPI_MCA_btl_vader_single_copy_mechanism");
  machine.mpirun = in_path("mpirun", variable(environment, "PATH"));
  return machine;
}

}  // namespace switchyard::launch
