// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A file system in memory that remembers what was done to it, in order: for what a crash would
/// leave of it, for damage, and for calls that fail.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "runtime/checkpoint/file_system.hpp"

namespace switchyard::faults {

/// One change, by number of what it changes. Names are of numbers, so a renamed folder keeps its
/// own.
struct Change {
  enum class Kind {
    kWrite,  ///< bytes of a file
    kSize,   ///< its size, at least
    kNames,  ///< of one folder, all at once
    kFlush,  ///< of a file or folder: what was changed before is on the device
    kMark,   ///< not of the file system: whoever saved was told so, of step `size`
  };
  Kind kind = Kind::kMark;
  int node = 0;
  std::int64_t at = 0;
  std::int64_t size = 0;
  std::vector<std::byte> bytes = {};
  std::map<std::string, int> names = {};  ///< 0: gone
};

struct Node {
  bool folder = false;
  std::vector<std::byte> bytes = {};
  std::map<std::string, int> names = {};
};

/// Called before a call does anything. Returns 0, an errno to fail with, or a number of bytes above
/// kShort that a read or write may have at most.
using Trouble = std::function<int(const std::string& call, const std::string& path)>;
inline constexpr int kShort = 1'000'000;

/// Paths begin with "/". Thread-safe, like a kernel.
class MemoryFiles final : public runtime::FileSystem {
 public:
  static constexpr int kRoot = 1;
  MemoryFiles() { nodes_[kRoot].folder = true; }
  explicit MemoryFiles(std::map<int, Node> nodes) : nodes_(std::move(nodes)) {}

  int open(const std::string& path, Open how) override;
  std::int64_t pwrite(int file, std::span<const std::byte> bytes, std::int64_t at) override;
  std::int64_t pread(int file, std::span<std::byte> bytes, std::int64_t at) override;
  int allocate(int file, std::int64_t bytes) override;
  int direct(int file, bool on) override;
  int fsync(int file) override;
  int close(int file) override;
  int lock(int file) override;
  int rename(const std::string& from, const std::string& to) override;
  int exchange(const std::string& one, const std::string& other) override;
  int make_directory(const std::string& path) override;
  int remove_directory(const std::string& path) override;
  int unlink(const std::string& path) override;
  int list(const std::string& path, std::vector<std::string>& names) override;
  int status(const std::string& path, runtime::FileStatus& status) override;
  std::int64_t free_bytes(const std::string& path) override;

  void mark(std::int64_t step);
  void most_bytes_a_write(std::size_t bytes) { most_bytes_ = bytes; }
  void trouble(Trouble trouble) { trouble_ = std::move(trouble); }
  /// Bytes that were written past the page cache.
  [[nodiscard]] std::int64_t direct_bytes() const { return direct_bytes_; }
  [[nodiscard]] const std::vector<Change>& log() const { return log_; }
  [[nodiscard]] const std::map<int, Node>& nodes() const { return nodes_; }
  /// The bytes of a file, to be damaged; null if there is none.
  [[nodiscard]] std::vector<std::byte>* bytes_of(const std::string& path);

 private:
  struct Handle {
    int node = 0;
    std::string path;
    bool direct = false;
  };
  /// 0: there is none.
  [[nodiscard]] int find(const std::string& path) const;
  [[nodiscard]] int parent_of(const std::string& path, std::string& name) const;
  void change_names(int folder, std::map<std::string, int> names);
  [[nodiscard]] int asked(const char* call, const std::string& path) const;
  [[nodiscard]] const std::string& path_of(int file) const { return handles_.at(file).path; }

  mutable std::mutex mutex_;
  std::map<int, Node> nodes_;
  std::map<int, Handle> handles_;
  std::map<int, int> locks_;  ///< node -> handle
  std::vector<Change> log_;
  std::size_t most_bytes_ = SIZE_MAX;
  std::int64_t direct_bytes_ = 0;
  Trouble trouble_;
  int next_node_ = 100;
  int next_handle_ = 3;
};
}  // namespace switchyard::faults
