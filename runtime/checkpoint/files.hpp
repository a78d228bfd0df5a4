// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Whole operations on a file system: what was cut short or interrupted is gone on with, and what
/// fails says at which file.
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/file_system.hpp"

namespace switchyard::runtime {

/// Calls until it is not interrupted.
template <class Call>
auto uninterrupted(Call&& call) {
  auto result = call();
  while (result == -EINTR) result = call();
  return result;
}

/// @throws std::system_error  "checkpoint: cannot VERB PATH: No space left on device"
[[noreturn]] void fail_file(int error, const char* verb, const std::string& path);

/// An open file, closed when it goes.
class OpenFile {
 public:
  /// @throws std::system_error
  OpenFile(FileSystem& files, std::string path, FileSystem::Open how);
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile();

  void write(std::span<const std::byte> bytes, std::int64_t at);
  /// The same past the page cache, as far as memory and place are aligned and the file system can.
  void write_direct(std::span<const std::byte> bytes, std::int64_t at);
  /// @return  bytes read: fewer than asked for only at the end of the file
  [[nodiscard]] std::int64_t read(std::span<std::byte> bytes, std::int64_t at);
  /// These bytes will not change: the device may begin with them.
  void written(std::int64_t at, std::int64_t bytes) { files_.written(handle_, at, bytes); }
  /// Reserves room where the file system can.
  void allocate(std::int64_t bytes);
  /// To the device. Once this has failed nobody knows what the device has: give the file up.
  void flush();
  /// Says what closing says; the destructor does not.
  void close();
  [[nodiscard]] int handle() const { return handle_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  void set_direct(bool on);

  FileSystem& files_;
  std::string path_;
  int handle_ = -1;
  bool direct_ = false;
};

/// The names in a folder are on the device from here on.
void flush_directory(FileSystem& files, const std::string& path);
/// A folder of files, and itself. @throws std::system_error  something of it could not be removed
void remove_folder(FileSystem& files, const std::string& path);
[[nodiscard]] std::vector<std::string> list_folder(FileSystem& files, const std::string& path);
void make_folder(FileSystem& files, const std::string& path);
/// Bytes that may still be written there.
[[nodiscard]] std::int64_t room_in(FileSystem& files, const std::string& path);
void rename_path(FileSystem& files, const std::string& from, const std::string& to);
[[nodiscard]] bool exists(FileSystem& files, const std::string& path);
/// A small file. @throws std::invalid_argument  it has more than `most` bytes, or is no regular
/// file
[[nodiscard]] std::vector<std::byte> read_small(FileSystem& files, const std::string& path,
                                                std::int64_t most);
}  // namespace switchyard::runtime
