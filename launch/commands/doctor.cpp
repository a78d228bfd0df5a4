// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <thread>
#include <unistd.h>

#include "comm/group/mpi_group.hpp"
#include "experts/kernels/isa.hpp"
#include "launch/commands/all.hpp"
#include "launch/machine.hpp"
#include "launch/version.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
std::string gibibytes(std::int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1LL << 30));
  return text;
}

std::string or_unknown(const std::string& word) {
  return word.empty() ? "unknown" : word;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return or_unknown(text);
}

std::string yes_no(bool yes) {
  return yes ? "yes" : "no";
}

void print(const Machine& machine, std::ostream& out) {
  const auto row = [&out](std::string name, const std::string& value) {
    name.resize(18, ' ');
    out << name << value << '\n';
  };
  row("switchyard", version());
  row("MPI", comm::mpi_version() +
                 ", mpirun: " + (machine.mpirun.empty() ? "not in PATH" : machine.mpirun));
  row("processors", std::to_string(machine.usable()) +
                        " usable: " + std::to_string(machine.processors_allowed) + " allowed on " +
                        std::to_string(machine.cores_allowed) + " cores (slots), cgroup limit " +
                        (machine.processor_limit > 0 ? std::to_string(machine.processor_limit)
                                                     : std::string("none")));
  row("NUMA nodes",
      std::to_string(machine.numa_nodes.size()) + ", processors: " + joined(machine.numa_nodes));
  row("ranks",
      std::to_string(std::min(machine.usable(), machine.cores_allowed)) + " with a core each" +
          (machine.local_ranks > 0 ? ", " + std::to_string(machine.local_ranks) + " started here"
                                   : ""));
  row("instruction set", std::string(experts::name_of(experts::best_isa())) +
                             "; the processor has: " + joined(machine.extensions));
  row("BLAS threads", machine.blas_threads > 0 ? std::to_string(machine.blas_threads) + " a rank"
                                               : "not set: one a processor in every rank");
  row("memory",
      gibibytes(machine.memory_bytes) + ", " + gibibytes(machine.memory_available_bytes) +
          " available, cgroup limit " +
          (machine.memory_limit_bytes > 0 ? gibibytes(machine.memory_limit_bytes) : "none"));
  row("/dev/shm",
      gibibytes(machine.shm_bytes) + ", " + gibibytes(machine.shm_free_bytes) + " free");
  row("huge pages", "memory: " + or_unknown(machine.huge_pages) +
                        ", shared memory: " + or_unknown(machine.huge_pages_shm) + " (pages of " +
                        machine.shared_pages() +
                        "), hugetlb pool: " + std::to_string(machine.huge_pool_pages));
  row("single copy",
      "process_vm_readv works: " + yes_no(machine.reads_own_kind) + ", ptrace_scope: " +
          (machine.ptrace_scope < 0 ? "none" : std::to_string(machine.ptrace_scope)) +
          ", mechanism: " +
          (machine.single_copy.empty() ? "Open MPI's choice" : machine.single_copy));
  row("root", machine.root ? "yes, opted in: " + yes_no(machine.root_opted_in) : "no");
  const std::vector<std::string> sentences = advice(machine);
  out << (sentences.empty() ? "\nnothing to improve\n" : "\nadvice\n");
  for (const std::string& sentence : sentences) out << "- " << sentence << '\n';
  out << "\ntry: " << suggested_line(machine) << '\n';
}

nlohmann::ordered_json to_json(const Machine& machine) {
  return {{"mpi", comm::mpi_version()},
          {"mpirun", machine.mpirun},
          {"processors_usable", machine.usable()},
          {"processors_allowed", machine.processors_allowed},
          {"cores_allowed", machine.cores_allowed},
          {"numa_nodes", machine.numa_nodes},
          {"cgroup_processors", machine.processor_limit},
          {"instruction_set", experts::name_of(experts::best_isa())},
          {"processor_extensions", machine.extensions},
          {"local_ranks", machine.local_ranks},
          {"openblas_num_threads", machine.blas_threads},
          {"memory_bytes", machine.memory_bytes},
          {"memory_available_bytes", machine.memory_available_bytes},
          {"cgroup_memory_bytes", machine.memory_limit_bytes},
          {"shm_bytes", machine.shm_bytes},
          {"shm_free_bytes", machine.shm_free_bytes},
          {"huge_pages", machine.huge_pages},
          {"huge_pages_shm", machine.huge_pages_shm},
          {"shared_pages", machine.shared_pages()},
          {"huge_pool_pages", machine.huge_pool_pages},
          {"process_vm_readv", machine.reads_own_kind},
          {"ptrace_scope", machine.ptrace_scope},
          {"single_copy_mechanism", machine.single_copy},
          {"root", machine.root},
          {"root_opted_in", machine.root_opted_in},
          {"advice", advice(machine)},
          {"suggested_line", suggested_line(machine)}};
}

int run(Context& context) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  const Machine machine = read_machine("/", environment);
  print(machine, context.out);
  if (context.json.wanted()) context.json.write(to_json(machine));
  return runtime::kDone;
}
}  // namespace

Command doctor_command() {
  return {.name = "doctor",
          .summary = "what this installation can do, and the mpirun line it suggests",
          .options = {},
          .run = run};
}
}  // namespace switchyard::launch
