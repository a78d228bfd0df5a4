// SPDX-License-Identifier: Apache-2.0
/// @file
/// Segments that processes of a node share: what they hold as they grow, and their pages.
#include "comm/group/shared_memory.hpp"

#include <cstdint>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>

#include "comm/group/collective.hpp"
#include "comm/group/mpi_group.hpp"

namespace switchyard::comm {
namespace {
constexpr std::int64_t kMebibyte = std::int64_t{1} << 20;

/// Of this process's mapping at `place`: the KiB of it that huge pages map.
std::int64_t huge_kibibytes(const void* place) {
  std::ostringstream begin;
  begin << std::hex << reinterpret_cast<std::uintptr_t>(place) << '-';
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.starts_with(begin.str())) here = true;
    const std::string name = "ShmemPmdMapped:";
    if (here && line.starts_with(name)) return std::stoll(line.substr(name.size()));
  }
  return 0;
}

TEST(SharedMemory, KeepsWhatItHoldsWhileItGrowsAndMatesSeeIt) {
  const auto group = MpiGroup::world();
  const auto memory = group->share(64 * kMebibyte);
  const auto mark = static_cast<std::byte>(group->rank() + 1);
  memory->ensure(3);
  memory->mine()[2] = mark;
  memory->ensure(5 * kMebibyte);  // two huge pages, the first of which holds something
  EXPECT_EQ(memory->mine()[2], mark);
  EXPECT_EQ(memory->mine()[5 * kMebibyte - 1], std::byte{0});
  memory->mine()[3 * kMebibyte] = mark;
  memory->ensure(13 * kMebibyte);
  memory->mine()[12 * kMebibyte] = mark;
  barrier(*group);
  for (int r = 0; r < group->size(); ++r) {
    const auto want = static_cast<std::byte>(r + 1);
    for (const std::int64_t at : {std::int64_t{2}, 3 * kMebibyte, 12 * kMebibyte}) {
      EXPECT_EQ(memory->of(r)[at], want) << "rank " << r << ", byte " << at;
    }
    EXPECT_EQ(memory->of(r)[3], std::byte{0});
  }
  barrier(*group);  // nobody leaves before all have looked
}

TEST(SharedMemory, HasHugePagesWhereTheKernelMakesThem) {
  if (!collapses_shared_memory()) GTEST_SKIP() << "this kernel makes none of shared memory";
  const auto group = MpiGroup::world();
  const auto memory = group->share(64 * kMebibyte);
  memory->ensure(kMebibyte);
  EXPECT_EQ(huge_kibibytes(memory->mine()), 0);  // less than one
  memory->ensure(9 * kMebibyte);
  EXPECT_EQ(huge_kibibytes(memory->mine()), 8 * 1024);
  barrier(*group);
  for (int r = 0; r < group->size(); ++r) {
    volatile std::byte* const segment = memory->of(r);
    for (std::int64_t at = 0; at < 8 * kMebibyte; at += 2 * kMebibyte) {
      static_cast<void>(segment[at]);
    }
    EXPECT_EQ(huge_kibibytes(memory->of(r)), 8 * 1024) << "as a mate of rank " << r << " sees it";
  }
  barrier(*group);
}
}  // namespace
}  // namespace switchyard::comm
