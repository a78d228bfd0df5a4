// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/files.hpp"

#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace switchyard::runtime {
void fail_file(int error, const char* verb, const std::string& path) {
  throw std::system_error(error, std::generic_category(),
                          std::string("checkpoint: cannot ") + verb + " " + path);
}

OpenFile::OpenFile(FileSystem& files, std::string path, FileSystem::Open how)
    : files_(files), path_(std::move(path)) {
  handle_ = uninterrupted([&] { return files_.open(path_, how); });
  if (handle_ < 0) fail_file(-handle_, how == FileSystem::Open::kCreate ? "make" : "open", path_);
}

OpenFile::OpenFile(OpenFile&& other) noexcept
    : files_(other.files_),
      path_(std::move(other.path_)),
      handle_(std::exchange(other.handle_, -1)) {}

OpenFile::~OpenFile() {
  if (handle_ >= 0) static_cast<void>(files_.close(handle_));
}

void OpenFile::write(std::span<const std::byte> bytes, std::int64_t at) {
  while (!bytes.empty()) {
    const std::int64_t done = uninterrupted([&] { return files_.pwrite(handle_, bytes, at); });
    if (done == -EINVAL && direct_) {  // after a short one, or where the device wants more
      set_direct(false);
      if (!direct_) continue;
    }
    if (done < 0) fail_file(static_cast<int>(-done), "write", path_);
    if (done == 0) fail_file(EIO, "write", path_);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    at += done;
  }
}

std::int64_t OpenFile::read(std::span<std::byte> bytes, std::int64_t at) {
  std::int64_t total = 0;
  while (!bytes.empty()) {
    const std::int64_t done =
        uninterrupted([&] { return files_.pread(handle_, bytes, at + total); });
    if (done < 0) fail_file(static_cast<int>(-done), "read", path_);
    if (done == 0) break;
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    total += done;
  }
  return total;
}

void OpenFile::write_direct(std::span<const std::byte> bytes, std::int64_t at) {
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  const bool apt =
      begin % kDirectAlignment == 0 && static_cast<std::size_t>(at) % kDirectAlignment == 0;
  const auto head = bytes.first(apt ? bytes.size() / kDirectAlignment * kDirectAlignment : 0);
  if (!head.empty()) {
    set_direct(true);
    write(head, at);
    set_direct(false);
  }
  write(bytes.subspan(head.size()), at + static_cast<std::int64_t>(head.size()));
}

void OpenFile::set_direct(bool on) {
  if (on == direct_) return;
  const int code = uninterrupted([&] { return files_.direct(handle_, on); });
  if (code >= 0) direct_ = on;
}

void OpenFile::allocate(std::int64_t bytes) {
  if (bytes <= 0) return;
  const int code = uninterrupted([&] { return files_.allocate(handle_, bytes); });
  if (code < 0 && code != -EOPNOTSUPP && code != -ENOSYS) fail_file(-code, "write", path_);
}

void OpenFile::flush() {
  const int code = uninterrupted([&] { return files_.fsync(handle_); });
  if (code < 0) fail_file(-code, "flush", path_);
}

void OpenFile::close() {
  // Interrupted, it is closed all the same: closing again could close somebody else's file.
  const int code = files_.close(std::exchange(handle_, -1));
  if (code < 0 && code != -EINTR) fail_file(-code, "close", path_);
}

void flush_directory(FileSystem& files, const std::string& path) {
  OpenFile folder(files, path, FileSystem::Open::kDirectory);
  folder.flush();
  folder.close();
}

void remove_folder(FileSystem& files, const std::string& path) {
  for (const std::string& name : list_folder(files, path)) {
    std::string file = path;
    file.append("/").append(name);
    int code = uninterrupted([&] { return files.unlink(file); });
    if (code == -EISDIR || code == -EPERM) {  // none of ours, but in our way
      remove_folder(files, file);
      continue;
    }
    if (code < 0 && code != -ENOENT) fail_file(-code, "remove", file);
  }
  const int code = uninterrupted([&] { return files.remove_directory(path); });
  if (code < 0 && code != -ENOENT) fail_file(-code, "remove", path);
}

std::vector<std::string> list_folder(FileSystem& files, const std::string& path) {
  std::vector<std::string> names;
  const int code = uninterrupted([&] { return files.list(path, names); });
  if (code < 0) fail_file(-code, "list", path);
  return names;
}

void make_folder(FileSystem& files, const std::string& path) {
  const int code = uninterrupted([&] { return files.make_directory(path); });
  if (code < 0) fail_file(-code, "make", path);
}

std::int64_t room_in(FileSystem& files, const std::string& path) {
  const std::int64_t room = uninterrupted([&] { return files.free_bytes(path); });
  if (room < 0) fail_file(static_cast<int>(-room), "look for room in", path);
  return room;
}

void rename_path(FileSystem& files, const std::string& from, const std::string& to) {
  const int code = uninterrupted([&] { return files.rename(from, to); });
  if (code < 0) fail_file(-code, "rename", from);
}

bool exists(FileSystem& files, const std::string& path) {
  FileStatus status;
  const int code = uninterrupted([&] { return files.status(path, status); });
  if (code < 0 && code != -ENOENT) fail_file(-code, "look at", path);
  return code == 0;
}

std::vector<std::byte> read_small(FileSystem& files, const std::string& path, std::int64_t most) {
  FileStatus status;
  const int code = uninterrupted([&] { return files.status(path, status); });
  if (code < 0) fail_file(-code, "read", path);
  if (status.kind != FileStatus::Kind::kFile) {
    throw std::invalid_argument(path + ": not a regular file");
  }
  if (status.size > most) {
    throw std::invalid_argument(path + ": size " + std::to_string(status.size) + ", want at most " +
                                std::to_string(most));
  }
  OpenFile file(files, path, FileSystem::Open::kRead);
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.size));
  bytes.resize(static_cast<std::size_t>(file.read(bytes, 0)));
  return bytes;
}
}  // namespace switchyard::runtime
