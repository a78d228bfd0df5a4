// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a fuzz target is fed with, and what it may do about it: refuse by one of our exceptions.
/// Anything else that leaves it is a finding.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>

#include "comm/base/error.hpp"

namespace switchyard::fuzz {

using Bytes = std::span<const std::byte>;

/// Takes fields from the front of an input; zeros when it is used up.
class Input {
 public:
  explicit Input(Bytes bytes) : bytes_(bytes) {}

  template <class T>
  T number() {
    T value{};
    const Bytes taken = take(sizeof value);
    if (!taken.empty()) std::memcpy(&value, taken.data(), taken.size());
    return value;
  }
  /// In [low, high], from one byte.
  int between(int low, int high) { return low + number<std::uint8_t>() % (high - low + 1); }
  Bytes take(std::size_t count) {
    const Bytes taken = bytes_.first(std::min(count, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }
  Bytes rest() { return take(bytes_.size()); }
  std::string text() {
    const Bytes all = rest();
    return {reinterpret_cast<const char*>(all.data()), all.size()};
  }

 private:
  Bytes bytes_;
};

/// A file of these bytes that only this process sees.
class MemoryFile {
 public:
  explicit MemoryFile(Bytes bytes) : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    if (descriptor_ < 0) throw std::runtime_error("memfd_create");
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0) throw std::runtime_error("write to a memory file");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// Calls it, and takes a refusal for an answer.
template <class F>
void may_refuse(const F& read) {
  try {
    read();
  } catch (const std::invalid_argument&) {
  } catch (const std::system_error&) {
  } catch (const comm::ProtocolError&) {
  }
}

/// A property that every accepted input has.
inline void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}
}  // namespace switchyard::fuzz
