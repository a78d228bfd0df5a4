// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The system calls that a checkpoint is made of, and nothing else, so that tests can log them,
/// fail them and lose what was never flushed.
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace switchyard::runtime {

inline constexpr std::size_t kDirectAlignment = 4096;

/// What a path is, links not followed.
struct FileStatus {
  enum class Kind { kFile, kDirectory, kOther };
  Kind kind = Kind::kOther;
  std::int64_t size = 0;
};

/// Calls return what the kernel does: 0, a count or a handle, or an errno with its sign changed.
/// They may write or read less than was asked and be interrupted; files.hpp deals with that. May be
/// called from several threads at once.
class FileSystem {
 public:
  enum class Open {
    kRead,       ///< an existing regular file; links are not followed
    kCreate,     ///< a new file to write, which must not exist
    kLock,       ///< an existing or new file to read and write
    kDirectory,  ///< to be flushed
  };
  virtual ~FileSystem() = default;

  [[nodiscard]] virtual int open(const std::string& path, Open how) = 0;
  [[nodiscard]] virtual std::int64_t pwrite(int file, std::span<const std::byte> bytes,
                                            std::int64_t at) = 0;
  [[nodiscard]] virtual std::int64_t pread(int file, std::span<std::byte> bytes,
                                           std::int64_t at) = 0;
  /// Reserves room for `bytes`. -EOPNOTSUPP: this file system cannot.
  [[nodiscard]] virtual int allocate(int file, std::int64_t bytes) = 0;
  /// Says that these bytes are complete, so that the device may begin with them. Promises nothing.
  virtual void written(int /*file*/, std::int64_t /*at*/, std::int64_t /*bytes*/) {}
  /// From here on bytes go from memory to the device past the page cache, or no longer do. Memory,
  /// places and sizes are multiples of kDirectAlignment then; a pwrite() that cannot says -EINVAL.
  /// Promises nothing either: what is written is flushed as ever. -EINVAL: this file system cannot.
  [[nodiscard]] virtual int direct(int /*file*/, bool /*on*/) { return -EINVAL; }
  [[nodiscard]] virtual int fsync(int file) = 0;
  [[nodiscard]] virtual int close(int file) = 0;
  /// For this process alone, at once: -EWOULDBLOCK if another has it. Ends with close().
  [[nodiscard]] virtual int lock(int file) = 0;
  [[nodiscard]] virtual int rename(const std::string& from, const std::string& to) = 0;
  /// Swaps two names in one step. -EINVAL, -ENOSYS: this file system cannot.
  [[nodiscard]] virtual int exchange(const std::string& one, const std::string& other) = 0;
  [[nodiscard]] virtual int make_directory(const std::string& path) = 0;
  [[nodiscard]] virtual int remove_directory(const std::string& path) = 0;
  [[nodiscard]] virtual int unlink(const std::string& path) = 0;
  [[nodiscard]] virtual int list(const std::string& path, std::vector<std::string>& names) = 0;
  [[nodiscard]] virtual int status(const std::string& path, FileStatus& status) = 0;
  /// Bytes that this user may still write there.
  [[nodiscard]] virtual std::int64_t free_bytes(const std::string& path) = 0;
};

/// The machine's own.
[[nodiscard]] std::unique_ptr<FileSystem> posix_file_system();
}  // namespace switchyard::runtime
