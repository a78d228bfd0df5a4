// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Bytes on their way: uninitialised, aligned, and owned by one thing at a time.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

namespace switchyard::comm {

/// Move-only bytes, 64-byte aligned. Grows to the largest size asked for and stays there.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes) { resize(bytes); }
  /// Bytes that somebody else owns and keeps until this is gone, so that parts of a larger memory
  /// can be messages. Where it is abandoned, the owner must be told to keep them for good.
  [[nodiscard]] static Buffer borrow(std::span<std::byte> bytes) {
    Buffer buffer;
    buffer.data_ = {bytes.data(), Free(false)};
    buffer.size_ = buffer.capacity_ = bytes.size();
    return buffer;
  }
  /// The source is left empty, and may be resized again.
  Buffer(Buffer&& other) noexcept
      : data_(std::move(other.data_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }
  ~Buffer() = default;

  /// What it held is lost when it has to grow.
  void resize(std::size_t bytes);
  /// Gives the bytes up without freeing them: somebody may still write to them.
  void abandon() noexcept;
  [[nodiscard]] std::byte* data() { return data_.get(); }
  [[nodiscard]] const std::byte* data() const { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<std::byte> bytes() { return {data_.get(), size_}; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_.get(), size_}; }

 private:
  struct Free {
    Free() : owned(true) {}
    explicit Free(bool owns) : owned(owns) {}
    bool owned;
    void operator()(std::byte* bytes) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};
}  // namespace switchyard::comm
