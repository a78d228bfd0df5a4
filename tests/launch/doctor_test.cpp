// SPDX-License-Identifier: Apache-2.0
// What doctor reads from a machine, tried on a made-up /proc and /sys, and what it says about it.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "launch/machine.hpp"
#include "tests/launch/program.hpp"

namespace {
using switchyard::launch::advice;
using switchyard::launch::Machine;
using switchyard::launch::read_machine;
using switchyard::launch::suggested_line;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

/// A root directory made of a few files.
class FakeRoot {
 public:
  FakeRoot()
      : path_(std::filesystem::path(testing::TempDir()) / ("root_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;

  FakeRoot& with(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((path_ / file).parent_path());
    std::ofstream(path_ / file) << text;
    return *this;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A machine that nothing is wrong with.
Machine good() {
  Machine machine;
  machine.processors_allowed = 16;
  machine.cores_allowed = 8;
  machine.memory_bytes = 64LL << 30;
  machine.shm_bytes = 32LL << 30;
  machine.shm_free_bytes = 32LL << 30;
  machine.huge_pages = "madvise";
  machine.blas_threads = 1;
  machine.reads_own_kind = true;
  machine.mpirun = "/usr/bin/mpirun";
  return machine;
}

TEST(Doctor, ReadsTheChosenWordTheLimitsAndTheMemory) {
  FakeRoot root;
  root.with("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
      .with("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always advise [never]\n")
      .with("proc/meminfo",
            "MemTotal:  4096 kB\nMemFree: 1 kB\nMemAvailable:  1024 kB\n"
            "HugePages_Total:  3\nHugepagesize:  2048 kB\n")
      .with("proc/self/cgroup", "0::/job/step\n")
      .with("proc/cpuinfo", "processor : 0\nflags\t\t: fpu avx512f sse2 avx512_bf16 amx_int8\n")
      .with("sys/fs/cgroup/job/cpu.max", "150000 100000\n")
      .with("sys/fs/cgroup/job/step/cpu.max", "max 100000\n")
      .with("sys/fs/cgroup/job/step/memory.max", "2097152\n")
      .with("sys/devices/system/node/node10/cpulist", "8-11\n")
      .with("sys/devices/system/node/node2/cpulist", "0-3,16\n")
      .with("sys/devices/system/node/has_cpu", "2,10\n")
      .with("sys/devices/system/node/nodes/cpulist", "5\n")
      .with("proc/sys/kernel/yama/ptrace_scope", "1\n");
  Machine machine =
      read_machine(root.path(), {"OPENBLAS_NUM_THREADS=3", "OMPI_COMM_WORLD_LOCAL_SIZE=6"});
  EXPECT_EQ(machine.huge_pages, "madvise");
  EXPECT_EQ(machine.huge_pages_shm, "never");
  machine.collapses_shm = false;
  EXPECT_EQ(machine.shared_pages(), "4 KiB");
  machine.collapses_shm = true;
  EXPECT_EQ(machine.shared_pages(), "2 MiB");
  EXPECT_THAT(machine.numa_nodes, testing::ElementsAre("0-3,16", "8-11"));
  EXPECT_EQ(machine.huge_pool_pages, 3);
  EXPECT_EQ(machine.huge_page_bytes, 2048 * 1024);
  EXPECT_EQ(machine.local_ranks, 6);
  EXPECT_THAT(machine.extensions, testing::ElementsAre("amx_int8", "avx512_bf16", "avx512f"));
  EXPECT_EQ(machine.memory_bytes, 4096 * 1024);
  EXPECT_EQ(machine.memory_available_bytes, 1024 * 1024);
  EXPECT_EQ(machine.processor_limit, 1.5);
  EXPECT_EQ(machine.memory_limit_bytes, 2097152);
  EXPECT_EQ(machine.ptrace_scope, 1);
  EXPECT_EQ(machine.blas_threads, 3);
  EXPECT_GE(machine.processors_allowed, 1);
  EXPECT_EQ(machine.usable(), 1);
}

TEST(Doctor, WhatIsNotThereIsUnknownAndNoError) {
  const FakeRoot root;
  const Machine machine = read_machine(root.path(), {});
  EXPECT_EQ(machine.huge_pages, "");
  EXPECT_EQ(machine.shared_pages(), "unknown");
  EXPECT_TRUE(machine.extensions.empty());
  EXPECT_EQ(machine.local_ranks, 0);
  EXPECT_EQ(machine.processor_limit, 0);
  EXPECT_EQ(machine.memory_limit_bytes, 0);
  EXPECT_EQ(machine.ptrace_scope, -1);
  EXPECT_EQ(machine.mpirun, "");
}

TEST(Doctor, AGoodMachineNeedsNoAdviceAndGetsARankACore) {
  EXPECT_TRUE(advice(good()).empty());
  EXPECT_THAT(suggested_line(good()), HasSubstr("mpirun -n 8 switchyard run"));
}

TEST(Doctor, EveryFaultIsNamedWithItsRemedy) {
  Machine machine = good();
  machine.root = true;
  EXPECT_THAT(advice(machine), Contains(HasSubstr("OMPI_ALLOW_RUN_AS_ROOT=1")));
  EXPECT_THAT(suggested_line(machine), HasSubstr("--allow-run-as-root"));

  machine = good();
  machine.blas_threads = 0;
  EXPECT_THAT(advice(machine), Contains(HasSubstr("OPENBLAS_NUM_THREADS=1")));
  EXPECT_THAT(suggested_line(machine), HasSubstr("-x OPENBLAS_NUM_THREADS=1"));

  machine = good();
  machine.shm_free_bytes = 64LL << 20;
  EXPECT_THAT(advice(machine), Contains(HasSubstr("/dev/shm has 64 MiB free")));

  machine = good();
  machine.processor_limit = 2.5;
  EXPECT_THAT(advice(machine), Contains(HasSubstr("the time of 2 of 16 processors")));
  EXPECT_THAT(suggested_line(machine), HasSubstr("-n 2 "));

  machine = good();
  machine.reads_own_kind = false;
  EXPECT_THAT(advice(machine), Contains(HasSubstr("process_vm_readv")));
  machine.single_copy = "none";
  EXPECT_TRUE(advice(machine).empty());

  machine = good();
  machine.huge_pages_shm = "never";
  EXPECT_THAT(advice(machine), Contains(HasSubstr("echo advise > /sys/kernel/mm/")));
  machine.huge_pages_shm = "advise";
  EXPECT_TRUE(advice(machine).empty());
  EXPECT_EQ(machine.shared_pages(), "2 MiB");
  machine.huge_pages_shm = "never";
  machine.collapses_shm = true;
  EXPECT_TRUE(advice(machine).empty());
  machine.huge_pages_shm = "deny";
  EXPECT_EQ(machine.shared_pages(), "4 KiB");
  machine.huge_pages_shm = "";
  machine.huge_pool_pages = 512;
  machine.huge_page_bytes = 2LL << 20;
  EXPECT_THAT(advice(machine), Contains(HasSubstr("1024 MiB are reserved in the hugetlb pool")));

  machine = good();
  machine.local_ranks = 16;
  EXPECT_TRUE(advice(machine).empty());
  machine.local_ranks = 17;
  EXPECT_THAT(advice(machine), Contains(HasSubstr("17 ranks share 16 processors")));

  machine = good();
  machine.mpirun = "";
  EXPECT_THAT(advice(machine), Contains(HasSubstr("mpirun is not in PATH")));
}

TEST(Doctor, OneProcessorStillGetsTwoRanks) {
  Machine machine = good();
  machine.processors_allowed = 1;
  machine.cores_allowed = 1;
  EXPECT_THAT(suggested_line(machine), HasSubstr("-n 2 --oversubscribe"));
}

TEST(Doctor, TheProgramSaysTheSameInTextAndJson) {
  const auto text = switchyard::tests::run({.words = switchyard::tests::switchyard({"doctor"})});
  ASSERT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("Open MPI"));
  EXPECT_THAT(text.out, HasSubstr("try: mpirun"));
  const auto json =
      switchyard::tests::run({.words = switchyard::tests::switchyard({"doctor", "--json", "-"})});
  ASSERT_EQ(json.status, 0) << json.err;
  const auto facts = nlohmann::json::parse(json.out);
  EXPECT_THAT(text.out, HasSubstr(facts.at("suggested_line").get<std::string>()));
  EXPECT_THAT(text.out, HasSubstr(facts.at("instruction_set").get<std::string>()));
}
}  // namespace
