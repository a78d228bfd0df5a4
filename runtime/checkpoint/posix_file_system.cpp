// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <climits>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <limits>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "runtime/checkpoint/file_system.hpp"

namespace switchyard::runtime {
namespace {
int result_of(int code) {
  return code < 0 ? -errno : code;
}

class Posix final : public FileSystem {
 public:
  int open(const std::string& path, Open how) override {
    constexpr int kAlways = O_CLOEXEC | O_NOFOLLOW;
    constexpr mode_t kMode = 0644;
    switch (how) {
      case Open::kRead: {
        // O_NONBLOCK: opening a pipe would wait for its writer.
        const int file = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | kAlways);
        if (file < 0) return -errno;
        struct stat found {};
        if (::fstat(file, &found) == 0 && S_ISREG(found.st_mode)) return file;
        ::close(file);
        return S_ISDIR(found.st_mode) ? -EISDIR : -EINVAL;
      }
      case Open::kCreate:
        return result_of(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | kAlways, kMode));
      case Open::kLock:
        return result_of(::open(path.c_str(), O_RDWR | O_CREAT | kAlways, kMode));
      case Open::kDirectory:
        return result_of(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    return -EINVAL;
  }
  std::int64_t pwrite(int file, std::span<const std::byte> bytes, std::int64_t at) override {
    const ssize_t done = ::pwrite(file, bytes.data(), bytes.size(), at);
    return done < 0 ? -errno : done;
  }
  std::int64_t pread(int file, std::span<std::byte> bytes, std::int64_t at) override {
    const ssize_t done = ::pread(file, bytes.data(), bytes.size(), at);
    return done < 0 ? -errno : done;
  }
  int allocate(int file, std::int64_t bytes) override {
    // Not posix_fallocate: where the file system cannot, that writes every block.
    return result_of(::fallocate(file, 0, 0, bytes));
  }
  void written(int file, std::int64_t at, std::int64_t bytes) override {
    static_cast<void>(::sync_file_range(file, at, bytes, SYNC_FILE_RANGE_WRITE));
  }
  int direct(int file, bool on) override {
    const int flags = ::fcntl(file, F_GETFL);
    if (flags < 0) return -errno;
    return result_of(::fcntl(file, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT));
  }
  int fsync(int file) override { return result_of(::fsync(file)); }
  int close(int file) override { return result_of(::close(file)); }
  int lock(int file) override { return result_of(::flock(file, LOCK_EX | LOCK_NB)); }
  int rename(const std::string& from, const std::string& to) override {
    return result_of(::rename(from.c_str(), to.c_str()));
  }
  int exchange(const std::string& one, const std::string& other) override {
    return result_of(::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE));
  }
  int make_directory(const std::string& path) override {
    constexpr mode_t kMode = 0755;
    return result_of(::mkdir(path.c_str(), kMode));
  }
  int remove_directory(const std::string& path) override {
    return result_of(::rmdir(path.c_str()));
  }
  int unlink(const std::string& path) override { return result_of(::unlink(path.c_str())); }
  int list(const std::string& path, std::vector<std::string>& names) override {
    DIR* const folder = ::opendir(path.c_str());
    if (folder == nullptr) return -errno;
    names.clear();
    errno = 0;
    while (const dirent* entry = ::readdir(folder)) {  // NOLINT(concurrency-mt-unsafe): own stream
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
      errno = 0;
    }
    const int error = errno;
    ::closedir(folder);
    return -error;
  }
  int status(const std::string& path, FileStatus& status) override {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) return -errno;
    status.kind = S_ISREG(found.st_mode)   ? FileStatus::Kind::kFile
                  : S_ISDIR(found.st_mode) ? FileStatus::Kind::kDirectory
                                           : FileStatus::Kind::kOther;
    status.size = found.st_size;
    return 0;
  }
  std::int64_t free_bytes(const std::string& path) override {
    struct statvfs found {};
    if (::statvfs(path.c_str(), &found) != 0) return -errno;
    const auto blocks = static_cast<std::uint64_t>(found.f_bavail);
    const std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    if (found.f_frsize != 0 && blocks > most / found.f_frsize) {
      return std::numeric_limits<std::int64_t>::max();
    }
    return static_cast<std::int64_t>(blocks * found.f_frsize);
  }
};
}  // namespace

std::unique_ptr<FileSystem> posix_file_system() {
  return std::make_unique<Posix>();
}
}  // namespace switchyard::runtime
