// SPDX-License-Identifier: Apache-2.0
#include "runtime/report/whole_file.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace switchyard::runtime {
namespace {
/// True for what exists and is no regular file: /dev/null, a pipe, a terminal.
bool written_in_place(const std::string& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
}
}  // namespace

WholeFile::WholeFile(std::string what, std::string file)
    : what_(std::move(what)), file_(std::move(file)) {
  if (std::filesystem::is_directory(file_)) fail(EISDIR);
  const bool in_place = written_in_place(file_);
  // Renaming would replace a file that its owner has made read-only.
  if (::access(file_.c_str(), F_OK) == 0 && ::access(file_.c_str(), W_OK) != 0) fail(errno);
  if (in_place) {
    descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail(errno);
    return;
  }
  std::string name = file_ + ".XXXXXX";  // a name of its own: two jobs do not share one
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) fail(errno);
  temporary_ = name;
  (void)::fchmod(descriptor_, 0644);
}

WholeFile::~WholeFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void WholeFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail(errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void WholeFile::commit() {
  if (!temporary_.empty() && ::fsync(descriptor_) != 0) fail(errno);
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0 || (!temporary_.empty() && std::rename(temporary_.c_str(), file_.c_str()) != 0)) {
    const int error = errno;
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
    fail(error);
  }
}

void WholeFile::fail(int error) const {
  throw std::system_error(error, std::generic_category(), what_ + ": cannot write " + file_);
}
}  // namespace switchyard::runtime
