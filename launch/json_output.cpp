// SPDX-License-Identifier: Apache-2.0
#include "launch/json_output.hpp"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "launch/terminal.hpp"

namespace switchyard::launch {
namespace {
[[noreturn]] void refuse(const std::string& file, int error) {
  throw std::system_error(error, std::generic_category(), "--json: cannot write " + file);
}
}  // namespace

JsonOutput::JsonOutput(std::string file, std::ostream& stdout_stream, nlohmann::ordered_json header)
    : file_(std::move(file)), header_(std::move(header)) {
  if (file_ == "-") {
    stdout_ = &stdout_stream;
    return;
  }
  struct stat there {};
  const bool exists = ::stat(file_.c_str(), &there) == 0;
  if (exists && S_ISDIR(there.st_mode)) refuse(file_, EISDIR);
  const bool in_place = exists && !S_ISREG(there.st_mode);
  if (exists && !in_place && ::access(file_.c_str(), W_OK) != 0) refuse(file_, errno);
  if (!in_place) temporary_ = file_ + ".tmp";
  const std::string& target = in_place ? file_ : temporary_;
  const int create = in_place ? 0 : O_CREAT | O_TRUNC;
  descriptor_ = ::open(target.c_str(), O_WRONLY | O_CLOEXEC | create, 0644);
  if (descriptor_ == -1) {
    temporary_.clear();  // not ours to remove
    refuse(file_, errno);
  }
}

JsonOutput::~JsonOutput() {
  give_up();
}

// NOLINTNEXTLINE(bugprone-exception-escape): the destructor of json may run out of memory
JsonOutput::JsonOutput(JsonOutput&& other) noexcept {
  *this = std::move(other);
}

JsonOutput& JsonOutput::operator=(JsonOutput&& other) noexcept {
  if (this == &other) return *this;
  give_up();
  file_ = std::exchange(other.file_, {});
  temporary_ = std::exchange(other.temporary_, {});
  descriptor_ = std::exchange(other.descriptor_, -1);
  stdout_ = std::exchange(other.stdout_, nullptr);
  header_ = std::exchange(other.header_, {});
  return *this;
}

void JsonOutput::give_up() noexcept {
  if (descriptor_ != -1) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  descriptor_ = -1;
}

void JsonOutput::write(const nlohmann::ordered_json& result) {
  if (!wanted()) return;
  nlohmann::ordered_json whole = header_;
  whole.update(result);
  using nlohmann::detail::error_handler_t;
  const std::string text = whole.dump(2, ' ', false, error_handler_t::replace) + "\n";
  if (stdout_ != nullptr) {
    *stdout_ << text;
    return;
  }
  int error = write_all(descriptor_, text);
  if (::close(std::exchange(descriptor_, -1)) != 0 && error == 0) error = errno;
  if (error == 0 && !temporary_.empty()) {
    if (std::rename(temporary_.c_str(), file_.c_str()) == 0) {
      temporary_.clear();
    } else {
      error = errno;
    }
  }
  if (error != 0) refuse(file_, error);
}
}  // namespace switchyard::launch
