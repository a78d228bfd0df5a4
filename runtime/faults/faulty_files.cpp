// SPDX-License-Identifier: Apache-2.0
#include "runtime/faults/faulty_files.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace switchyard::runtime {
namespace {
class FaultyFiles final : public FileSystem {
 public:
  FaultyFiles(std::unique_ptr<FileSystem> files, FailsCall fails)
      : files_(std::move(files)), fails_(std::move(fails)) {}

  int open(const std::string& path, Open how) override {
    const int error = fails_("open");
    return error != 0 ? -error : files_->open(path, how);
  }
  std::int64_t pwrite(int file, std::span<const std::byte> bytes, std::int64_t at) override {
    const int error = fails_("pwrite");
    return error != 0 ? -error : files_->pwrite(file, bytes, at);
  }
  std::int64_t pread(int file, std::span<std::byte> bytes, std::int64_t at) override {
    const int error = fails_("pread");
    return error != 0 ? -error : files_->pread(file, bytes, at);
  }
  int allocate(int file, std::int64_t bytes) override {
    const int error = fails_("allocate");
    return error != 0 ? -error : files_->allocate(file, bytes);
  }
  void written(int file, std::int64_t at, std::int64_t bytes) override {
    files_->written(file, at, bytes);
  }
  int direct(int file, bool on) override { return files_->direct(file, on); }
  int fsync(int file) override {
    const int error = fails_("fsync");
    return error != 0 ? -error : files_->fsync(file);
  }
  int close(int file) override {
    const int error = fails_("close");
    const int result = files_->close(file);  // whatever it says, the handle is gone
    return error != 0 ? -error : result;
  }
  int lock(int file) override {
    const int error = fails_("lock");
    return error != 0 ? -error : files_->lock(file);
  }
  int rename(const std::string& from, const std::string& to) override {
    const int error = fails_("rename");
    return error != 0 ? -error : files_->rename(from, to);
  }
  int exchange(const std::string& one, const std::string& other) override {
    const int error = fails_("exchange");
    return error != 0 ? -error : files_->exchange(one, other);
  }
  int make_directory(const std::string& path) override {
    const int error = fails_("make_directory");
    return error != 0 ? -error : files_->make_directory(path);
  }
  int remove_directory(const std::string& path) override {
    const int error = fails_("remove_directory");
    return error != 0 ? -error : files_->remove_directory(path);
  }
  int unlink(const std::string& path) override {
    const int error = fails_("unlink");
    return error != 0 ? -error : files_->unlink(path);
  }
  int list(const std::string& path, std::vector<std::string>& names) override {
    const int error = fails_("list");
    return error != 0 ? -error : files_->list(path, names);
  }
  int status(const std::string& path, FileStatus& status) override {
    const int error = fails_("status");
    return error != 0 ? -error : files_->status(path, status);
  }
  std::int64_t free_bytes(const std::string& path) override { return files_->free_bytes(path); }

 private:
  std::unique_ptr<FileSystem> files_;
  FailsCall fails_;
};
}  // namespace

std::unique_ptr<FileSystem> with_faults(std::unique_ptr<FileSystem> files, FailsCall fails) {
  if (!fails) return files;
  return std::make_unique<FaultyFiles>(std::move(files), std::move(fails));
}
}  // namespace switchyard::runtime
