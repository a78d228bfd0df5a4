// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Rows without contents, for who wants to know what crosses and not what it says: an offer whose
/// base is hollow is planned, announced and sent in full length, but no byte of a row is ever read
/// or written. Only a simulated MPI takes such a message.
#include <cstddef>

#include "comm/base/buffer.hpp"

namespace switchyard::comm {

/// What stands for memory that is not there. Never read, never written.
[[nodiscard]] std::byte* hollow_memory();
[[nodiscard]] inline bool is_hollow(const void* memory) {
  return memory == hollow_memory();
}
/// `bytes` in length, and nothing in size.
[[nodiscard]] inline Buffer hollow_buffer(std::size_t bytes) {
  return Buffer::borrow({hollow_memory(), bytes});
}
}  // namespace switchyard::comm
