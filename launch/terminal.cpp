// SPDX-License-Identifier: Apache-2.0
#include "launch/terminal.hpp"

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

namespace switchyard::launch {

int write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

void prepare_descriptors() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // Takes the lowest free number, this one; read-only, so that writing to it still fails.
    if (::open("/dev/null", O_RDONLY) == -1) return;
  }
}

void Reporter::line(std::string_view text) const {
  const std::string whole = prefix_ + std::string(text) + "\n";
  [[maybe_unused]] const int nobody_left_to_tell = write_all(STDERR_FILENO, whole);
}

void Reporter::warning(std::string_view text) const {
  line("switchyard: warning: " + std::string(text));
}

void Reporter::error(std::string_view text) const {
  line("switchyard: error: " + std::string(text));
}

Results::Buffer::Buffer(int descriptor) : descriptor_(descriptor) {
  setp(held_.data(), held_.data() + held_.size());
}

int Results::Buffer::sync() {
  const std::string_view text(pbase(), static_cast<std::size_t>(pptr() - pbase()));
  if (descriptor_ >= 0 && error_ == 0) error_ = write_all(descriptor_, text);
  setp(held_.data(), held_.data() + held_.size());
  return error_ == 0 ? 0 : -1;
}

Results::Buffer::int_type Results::Buffer::overflow(int_type letter) {
  if (sync() != 0) return traits_type::eof();
  if (!traits_type::eq_int_type(letter, traits_type::eof())) {
    sputc(traits_type::to_char_type(letter));
  }
  return traits_type::not_eof(letter);
}

Results::Results(int descriptor) : std::ostream(nullptr), buffer_(descriptor) {
  rdbuf(&buffer_);
}

void Results::finish() {
  flush();
  if (buffer_.error() == 0) return;
  throw std::system_error(buffer_.error(), std::generic_category(), "stdout");
}
}  // namespace switchyard::launch
