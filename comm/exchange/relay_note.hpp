// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Notes that a relay writes: plain values, and bytes that end at whole words.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "comm/base/error.hpp"

namespace switchyard::comm::notes {

inline constexpr std::size_t kAlign = 4;

template <class T>
void append(std::vector<std::byte>& note, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  note.insert(note.end(), bytes.begin(), bytes.end());
}

inline void append_padded(std::vector<std::byte>& note, std::span<const std::byte> bytes) {
  note.insert(note.end(), bytes.begin(), bytes.end());
  note.resize((note.size() + kAlign - 1) / kAlign * kAlign);
}

/// Reads what the two above wrote.
class Reader {
 public:
  Reader(std::span<const std::byte> note, int from) : left_(note), from_(from) {}

  template <class T>
  T value() {
    T read;
    std::memcpy(&read, take(sizeof read).data(), sizeof read);
    return read;
  }
  std::span<const std::byte> padded(std::int32_t bytes) {
    if (bytes < 0) refuse("a length of " + std::to_string(bytes));
    const auto size = static_cast<std::size_t>(bytes);
    const auto all = take((size + kAlign - 1) / kAlign * kAlign);
    return all.first(size);
  }
  void require_end() const {
    if (!left_.empty()) refuse(std::to_string(left_.size()) + " bytes are left, want 0");
  }

 private:
  std::span<const std::byte> take(std::size_t bytes) {
    if (bytes > left_.size()) {
      refuse("ends " + std::to_string(bytes - left_.size()) + " bytes too early");
    }
    const auto taken = left_.first(bytes);
    left_ = left_.subspan(bytes);
    return taken;
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw ProtocolError("note from rank " + std::to_string(from_) + ": " + what);
  }

  std::span<const std::byte> left_;
  int from_;
};
}  // namespace switchyard::comm::notes
