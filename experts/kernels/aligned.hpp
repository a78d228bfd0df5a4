// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Memory for kernels: aligned to a cache line, on huge pages where the system gives them.
#include <cstddef>
#include <cstdint>

namespace switchyard::experts {

/// Move-only block of bytes, uninitialised, 64-byte aligned (2 MiB and MADV_HUGEPAGE when large).
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t bytes);
  AlignedBuffer(AlignedBuffer&& other) noexcept;
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer();

  /// At least `bytes` large; what it held is lost when it has to grow.
  void ensure(std::size_t bytes);
  [[nodiscard]] std::size_t size() const { return size_; }
  template <class T>
  [[nodiscard]] T* as() {
    return static_cast<T*>(data_);
  }
  template <class T>
  [[nodiscard]] const T* as() const {
    return static_cast<const T*>(data_);
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};
}  // namespace switchyard::experts
