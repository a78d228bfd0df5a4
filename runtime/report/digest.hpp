// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Output rows of all ranks, in global token order, on rank 0: for the digest and for --output.
#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "comm/group/group.hpp"
#include "experts/tensor.hpp"

namespace switchyard::runtime {

/// Calls sink(bytes) on rank 0 with every rank's rows as float32 little-endian, rank after rank, in
/// pieces of at most 16 MiB, so that no rank ever holds the whole. Collective. Rows must be dense.
void rows_to_root(comm::Group& group, experts::MatrixView<const float> mine,
                  const std::function<void(std::span<const std::byte>)>& sink);

/// SHA-256 of bytes that come in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::span<const std::byte> bytes);
  /// 64 hex digits; ends the sum.
  [[nodiscard]] std::string hex();

 private:
  void* context_;
};

[[nodiscard]] std::string sha256(std::string_view text);
}  // namespace switchyard::runtime
