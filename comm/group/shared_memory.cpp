// SPDX-License-Identifier: Apache-2.0
#include "comm/group/shared_memory.hpp"

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include "comm/base/round_up.hpp"
#include "comm/group/collective.hpp"
#include "comm/group/group.hpp"

namespace switchyard::comm {
namespace {
constexpr std::int64_t kHugePage = std::int64_t{2} << 20;
/// Where segments are placed: far from what the loader, the heap and the sanitizers use.
constexpr std::uintptr_t kFirstPlace = 0x2000'0000'0000;
constexpr int kPlaces = 4096;
constexpr int kAttempts = 16;
/// MADV_COLLAPSE of Linux 6.1, which Debian 12's headers do not have. It makes huge pages whatever
/// the administrator has chosen for shared memory, `deny` excepted.
constexpr int kCollapse = 25;

/// A range of addresses of this process; unmapped at the end.
class Range {
 public:
  Range() = default;
  Range(void* data, std::int64_t bytes) : data_(data), bytes_(bytes) {}
  Range(Range&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Range& operator=(Range&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Range() {
    if (data_ != nullptr) munmap(data_, static_cast<std::size_t>(bytes_));
  }
  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }
  [[nodiscard]] bool empty() const { return data_ == nullptr; }

 private:
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

Range reserve(std::uintptr_t at, std::int64_t bytes, int more_flags) {
  void* const wanted = reinterpret_cast<void*>(at);  // NOLINT(performance-no-int-to-ptr): a place
  void* const got = mmap(wanted, static_cast<std::size_t>(bytes), PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | more_flags, -1, 0);
  if (got == MAP_FAILED) return {};
  Range range(got, bytes);
  if (at != 0 && got != wanted) return {};  // a kernel that does not know the flag
  return range;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

std::system_error system_error(const std::string& what) {
  return {errno, std::generic_category(), what};
}

/// What a rank tells its mates about its segment. The token shows that the file they opened is this
/// one, not that of a process of another container with the same number.
struct Invitation {
  std::int64_t pid = 0;
  std::int64_t fd = -1;
  std::uint64_t token = 0;
};

class ProcessMemory final : public SharedMemory {
 public:
  ProcessMemory(Range range, Descriptor file, std::int64_t capacity, int local)
      : SharedMemory(range.data(), capacity, local),
        range_(std::move(range)),
        file_(std::move(file)) {}

 private:
  void grow(std::int64_t bytes) override {
    if (ftruncate(file_.get(), bytes) != 0) {
      throw system_error("shared memory: a segment of " + std::to_string(bytes) + " bytes");
    }
    madvise(mine(), static_cast<std::size_t>(bytes), MADV_HUGEPAGE);  // where it is allowed
  }
  void settle(std::int64_t bytes) override {
    // A huge page is made of what is there, so there must be something: a look is enough, and
    // disturbs no mate. Mates' mappings follow by themselves.
    for (; huge_ < bytes && collapses_; huge_ += kHugePage) {
      static_cast<void>(static_cast<const volatile std::byte*>(mine())[huge_]);
      collapses_ = madvise(mine() + huge_, kHugePage, kCollapse) == 0;
    }
  }

  Range range_;
  Descriptor file_;
  std::int64_t huge_ = 0;  ///< bytes that have huge pages
  bool collapses_ = true;
};

class ThreadMemory final : public SharedMemory {
 public:
  /// @param first  segments before those of this node
  ThreadMemory(std::shared_ptr<Range> range, std::int64_t first, std::int64_t capacity, int local)
      : SharedMemory(range->data() + first * capacity, capacity, local), range_(std::move(range)) {}

 private:
  void grow(std::int64_t) override {}  // all of it is usable from the start
  void settle(std::int64_t) override {}
  std::shared_ptr<Range> range_;
};

/// Collective. The same free range in all mates: the first of them proposes until all agree.
Range agree_on_range(Group& group, std::int64_t bytes) {
  const int leader = group.nodes().mates_of(group.rank()).front();
  std::uintptr_t next = kFirstPlace;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Range range;
    for (int i = 0; group.rank() == leader && range.empty() && i < kPlaces; ++i) {
      range = reserve(next, bytes, MAP_FIXED_NOREPLACE);
      next += static_cast<std::uintptr_t>(bytes);
    }
    if (group.rank() == leader && range.empty()) range = reserve(0, bytes, 0);
    const auto mine = reinterpret_cast<std::uintptr_t>(range.data());
    const auto proposals = allgather_values<std::uintptr_t>(group, std::span(&mine, 1));
    const std::uintptr_t proposed = proposals[static_cast<std::size_t>(leader)][0];
    if (group.rank() != leader && proposed != 0) {
      range = reserve(proposed, bytes, MAP_FIXED_NOREPLACE);
    }
    const std::int32_t placed = range.empty() ? 0 : 1;
    bool all = true;
    for (const auto& rank : allgather_values<std::int32_t>(group, std::span(&placed, 1))) {
      all = all && rank[0] == 1;
    }
    if (all) return range;
  }
  return {};
}

void map_at(std::byte* place, int fd, std::int64_t bytes) {
  void* const got = mmap(place, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0);
  if (got == MAP_FAILED) throw system_error("shared memory: cannot map a segment");
}

void map_mate(std::byte* place, const Invitation& mate, std::int64_t capacity) {
  const std::string path = "/proc/" + std::to_string(mate.pid) + "/fd/" + std::to_string(mate.fd);
  const Descriptor file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (file.get() < 0) throw system_error("shared memory: cannot open " + path + " of a mate");
  map_at(place, file.get(), capacity);
  std::uint64_t token = 0;
  if (pread(file.get(), &token, sizeof token, 0) != sizeof token || token != mate.token) {
    throw std::system_error(ENXIO, std::generic_category(),
                            "shared memory: " + path + " is not the mate's segment");
  }
}

/// Runs `part`; if it threw on any rank, all ranks throw.
template <class Part>
void all_or_none(Group& group, const Part& part) {
  std::optional<Problem> problem;
  try {
    part();
  } catch (const std::exception& error) {
    problem = Problem{.status = 74, .message = error.what()};
  }
  agree(group, problem);
}
}  // namespace

void SharedMemory::ensure(std::int64_t bytes) {
  if (bytes > size_) enlarge(bytes);
  // Whole ones only: what was asked for will be touched, the rest perhaps never.
  const std::int64_t whole = bytes / kHugePage * kHugePage;
  if (whole <= settled_) return;
  settle(whole);
  settled_ = whole;
}

void SharedMemory::enlarge(std::int64_t bytes) {
  if (bytes > capacity_) {
    throw std::length_error("shared memory: a segment of " + std::to_string(bytes) +
                            " bytes, want at most " + std::to_string(capacity_));
  }
  // Half as much again, so that a batch that grows slowly does not come here every time.
  const std::int64_t wanted = round_up(size_ == 0 ? bytes : bytes + bytes / 2, kHugePage);
  const std::int64_t larger = wanted < capacity_ ? wanted : capacity_;
  grow(larger);
  size_ = larger;
}

std::unique_ptr<SharedMemory> share_between_processes(Group& group, std::int64_t capacity) {
  capacity = round_up(capacity, kHugePage);
  const std::vector<int>& mates = group.nodes().mates_of(group.rank());
  const auto total = static_cast<std::int64_t>(mates.size()) * capacity;
  Range range = agree_on_range(group, total);
  Descriptor file(-1);
  Invitation mine;
  int local = 0;
  all_or_none(group, [&] {
    if (range.empty()) {
      throw std::system_error(
          ENOMEM, std::generic_category(),
          "shared memory: no range of addresses is free in all ranks of a node");
    }
    file = Descriptor(memfd_create("switchyard", MFD_CLOEXEC));
    if (file.get() < 0) throw system_error("shared memory: memfd_create");
    std::random_device random;
    mine = {
        .pid = getpid(), .fd = file.get(), .token = (std::uint64_t{random()} << 32U) | random()};
    if (pwrite(file.get(), &mine.token, sizeof mine.token, 0) != sizeof mine.token) {
      throw system_error("shared memory: cannot write to a segment");
    }
  });
  const auto invitations = allgather_values<Invitation>(group, std::span(&mine, 1));
  all_or_none(group, [&] {
    for (std::size_t i = 0; i < mates.size(); ++i) {
      std::byte* const place = range.data() + static_cast<std::int64_t>(i) * capacity;
      if (mates[i] == group.rank()) {
        local = static_cast<int>(i);
        map_at(place, file.get(), capacity);
      } else {
        map_mate(place, invitations[static_cast<std::size_t>(mates[i])][0], capacity);
      }
    }
  });
  // All have looked: the token may go, and a new segment is all zeros.
  if (ftruncate(file.get(), 0) != 0) throw system_error("shared memory: cannot empty a segment");
  return std::make_unique<ProcessMemory>(std::move(range), std::move(file), capacity, local);
}

bool collapses_shared_memory() {
  const Descriptor file(memfd_create("switchyard", MFD_CLOEXEC));
  if (file.get() < 0 || ftruncate(file.get(), kHugePage) != 0) return false;
  const Range twice = reserve(0, 2 * kHugePage, 0);  // a whole one fits somewhere in it
  if (twice.empty()) return false;
  const auto address = round_up(reinterpret_cast<std::intptr_t>(twice.data()), kHugePage);
  std::byte* const page = twice.data() + (address - reinterpret_cast<std::intptr_t>(twice.data()));
  map_at(page, file.get(), kHugePage);
  *page = std::byte{1};
  return madvise(page, static_cast<std::size_t>(kHugePage), kCollapse) == 0;
}

std::unique_ptr<SharedMemory> share_between_threads(Group& group, std::int64_t capacity) {
  capacity = round_up(capacity, kHugePage);
  std::shared_ptr<Range> range;
  all_or_none(group, [&] {
    if (group.rank() != 0) return;
    void* const got =
        mmap(nullptr, static_cast<std::size_t>(group.size() * capacity), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED) throw system_error("shared memory: no range of addresses is free");
    range = std::make_shared<Range>(got, group.size() * capacity);
  });
  const std::shared_ptr<Range>* const own = &range;
  const auto all = allgather_values<const std::shared_ptr<Range>*>(group, std::span(&own, 1));
  std::shared_ptr<Range> mine = *all[0][0];
  barrier(group);  // rank 0's pointer must outlive the copies of it
  const NodeMap& map = group.nodes();
  const auto rank = static_cast<std::size_t>(group.rank());
  std::int64_t first = 0;  // segments of the nodes before this one
  for (int node = 0; node < map.node_of[rank]; ++node) {
    first += static_cast<std::int64_t>(map.ranks_of[static_cast<std::size_t>(node)].size());
  }
  return std::make_unique<ThreadMemory>(std::move(mine), first, capacity, map.local_of[rank]);
}
}  // namespace switchyard::comm
