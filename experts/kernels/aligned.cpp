// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/aligned.hpp"

#include <cstdlib>
#include <malloc.h>
#include <new>
#include <sys/mman.h>
#include <utility>

namespace switchyard::experts {
namespace {
constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20U;
}  // namespace

AlignedBuffer::AlignedBuffer(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const bool large = bytes >= kHugePage;
  const std::size_t alignment = large ? kHugePage : kCacheLine;
  if (bytes > SIZE_MAX - alignment) throw std::bad_alloc();
  const std::size_t rounded = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  data_ = ::memalign(alignment, rounded);  // unlike aligned_alloc, of sizes that are no multiple
  if (data_ == nullptr) throw std::bad_alloc();
  // A hint: without huge pages everything works, a tenth to a third slower. What fills none to its
  // end gets small ones, or the rest of a huge one would be taken for nothing.
  if (large) static_cast<void>(madvise(data_, bytes / kHugePage * kHugePage, MADV_HUGEPAGE));
}

AlignedBuffer::AlignedBuffer(AlignedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  if (this == &other) return *this;
  std::free(data_);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

AlignedBuffer::~AlignedBuffer() {
  std::free(data_);
}

void AlignedBuffer::ensure(std::size_t bytes) {
  if (size_ >= bytes) return;
  *this = AlignedBuffer();  // the old block goes first, so that both never exist at once
  *this = AlignedBuffer(bytes);
}
}  // namespace switchyard::experts
