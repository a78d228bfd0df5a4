// SPDX-License-Identifier: Apache-2.0
#include "comm/base/buffer.hpp"

#include <cstdlib>
#include <limits>
#include <new>
#include <sys/mman.h>

namespace switchyard::comm {
namespace {
constexpr std::size_t kCacheLine = 64;
// From here on a buffer is worth huge pages: rows are read once, so each page costs a walk.
constexpr std::size_t kHugePage = std::size_t{1} << 21;
}  // namespace

void Buffer::Free::operator()(std::byte* bytes) const {
  if (owned) std::free(bytes);
}

void Buffer::resize(std::size_t bytes) {
  if (bytes > capacity_) {
    if (bytes > std::numeric_limits<std::size_t>::max() - kHugePage) throw std::bad_alloc();
    const std::size_t align = bytes >= 2 * kHugePage ? kHugePage : kCacheLine;
    const std::size_t room = (bytes + align - 1) / align * align;
    data_.reset();
    size_ = capacity_ = 0;
    data_ = {static_cast<std::byte*>(std::aligned_alloc(align, room)), Free()};
    if (data_ == nullptr) throw std::bad_alloc();
    if (align == kHugePage) ::madvise(data_.get(), room, MADV_HUGEPAGE);  // a wish, not a need
    capacity_ = room;
  }
  size_ = bytes;
}

void Buffer::abandon() noexcept {
  static_cast<void>(data_.release());
  size_ = capacity_ = 0;
}
}  // namespace switchyard::comm
