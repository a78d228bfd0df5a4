// SPDX-License-Identifier: Apache-2.0
/// @file
/// F6: saves to a small file system until it is full, by looking first, by reserving and by
/// writing; each time the older step stays good, and once there is room again the next save
/// succeeds. Mounts a tmpfs, so it needs to be root; else it says so and ends with 77.
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "tests/faults/campaign.hpp"
#include "tests/runtime/store_state.hpp"

namespace {
using namespace switchyard;
using namespace switchyard::faults;
using store_tests::State;

/// The machine's files, that may believe in more room than there is.
class HopefulFiles final : public runtime::FileSystem {
 public:
  enum class Hope { kNone, kRoom, kRoomAndReserve };
  Hope hope = Hope::kNone;

  int open(const std::string& path, Open how) override { return files_->open(path, how); }
  std::int64_t pwrite(int file, std::span<const std::byte> bytes, std::int64_t at) override {
    return files_->pwrite(file, bytes, at);
  }
  std::int64_t pread(int file, std::span<std::byte> bytes, std::int64_t at) override {
    return files_->pread(file, bytes, at);
  }
  int allocate(int file, std::int64_t bytes) override {
    return hope == Hope::kRoomAndReserve ? -EOPNOTSUPP : files_->allocate(file, bytes);
  }
  int fsync(int file) override { return files_->fsync(file); }
  int close(int file) override { return files_->close(file); }
  int lock(int file) override { return files_->lock(file); }
  int rename(const std::string& from, const std::string& to) override {
    return files_->rename(from, to);
  }
  int exchange(const std::string& one, const std::string& other) override {
    return files_->exchange(one, other);
  }
  int make_directory(const std::string& path) override { return files_->make_directory(path); }
  int remove_directory(const std::string& path) override { return files_->remove_directory(path); }
  int unlink(const std::string& path) override { return files_->unlink(path); }
  int list(const std::string& path, std::vector<std::string>& names) override {
    return files_->list(path, names);
  }
  int status(const std::string& path, runtime::FileStatus& status) override {
    return files_->status(path, status);
  }
  std::int64_t free_bytes(const std::string& path) override {
    return hope == Hope::kNone ? files_->free_bytes(path) : std::int64_t{1} << 40;
  }

 private:
  std::unique_ptr<runtime::FileSystem> files_ = runtime::posix_file_system();
};

/// A small file system for as long as this is.
class SmallDisk {
 public:
  explicit SmallDisk(std::string path) : path_(std::move(path)) {
    mounted_ = ::mount("none", path_.c_str(), "tmpfs", 0, "size=6m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  [[nodiscard]] bool mounted() const { return mounted_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

/// Takes all room but about `left` bytes.
void fill(const std::string& file, runtime::FileSystem& files, const std::string& folder,
          std::int64_t left) {
  const std::int64_t take = files.free_bytes(folder) - left;
  const int handle = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const int error = handle < 0 ? errno : take > 0 ? ::posix_fallocate(handle, 0, take) : 0;
  if (error != 0) {
    throw std::runtime_error("cannot fill " + file + " with " + std::to_string(take) + ": " +
                             std::strerror(error));
  }
  ::close(handle);
}

/// What is wrong; empty: nothing.
std::string one_case(const std::string& folder, const std::string& filler, Random& random) {
  HopefulFiles files;
  std::string wrong;
  comm::run_local(2, [&](comm::Group& group) {
    runtime::CheckpointStore store(group, files, folder, {.run_id = "r"});
    const auto loaded = runtime::load_newest(group, files, folder, {}, [](auto&) {});
    std::int64_t step = loaded ? loaded->info().step : 0;
    const auto save = [&] {
      const State state(++step, 2000);
      return store.save(state.info(), state.pieces(group));
    };
    if (!save().saved) wrong = "no room for the first";
    store.tidy();
    if (group.rank() == 0) {
      fill(filler, files, folder, draw(random, 0, 1'300'000));
      files.hope = static_cast<HopefulFiles::Hope>(draw(random, 0, 2));
    }
    static_cast<void>(comm::broadcast(group, {}));
    const auto full = save();
    if (full.saved)
      wrong = "saved without room";
    else if (full.problem.find("No space left on device") == std::string::npos)
      wrong = full.problem;
    else
      --step;
    try {
      runtime::StoredCheckpoint stored(files, folder, step);
      const std::string differences = State(step, 2000).differences(stored);
      if (!differences.empty()) wrong = differences;
    } catch (const std::exception& error) {
      wrong = error.what();
    }
    comm::barrier(group);
    if (group.rank() == 0) {
      ::unlink(filler.c_str());
      files.hope = HopefulFiles::Hope::kNone;
    }
    comm::barrier(group);
    const auto after = save();
    if (!after.saved) wrong = "with room again: " + after.problem;
  });
  for (const std::string& name : [&] {
         std::vector<std::string> names;
         static_cast<void>(files.list(folder, names));
         return names;
       }()) {
    if (name.starts_with(".")) wrong = "left behind: " + name;
  }
  return wrong;
}
}  // namespace

int main(int argc, char** argv) {
  Campaign campaign(argc, argv, 20);
  const tests::TempFolder temporary;
  const SmallDisk disk(temporary.path().string());
  if (!disk.mounted()) {
    std::printf("SKIPPED: cannot mount a tmpfs (%s); F6 was not tried\n", std::strerror(errno));
    return 77;
  }
  for (std::int64_t i = 0; i < campaign.cases(); ++i) {
    Random random = campaign.random(i);
    std::string wrong;
    try {
      wrong = one_case((temporary.path() / "ckpt").string(), (temporary.path() / "filler").string(),
                       random);
    } catch (const std::exception& error) {
      wrong = error.what();
    }
    if (!wrong.empty()) campaign.fail(i, wrong);
  }
  return campaign.end(std::to_string(campaign.cases()) + " times full");
}
