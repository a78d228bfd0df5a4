// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/manifest.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>
#include <tuple>

#include "runtime/checkpoint/messages.hpp"
#include "runtime/report/digest.hpp"

namespace switchyard::runtime {

std::int64_t bytes_of(DataType type) {
  switch (type) {
    case DataType::kFloat32:
    case DataType::kInt32:
      return 4;
    case DataType::kBfloat16:
    case DataType::kFloat16:
      return 2;
    case DataType::kInt64:
      return 8;
    case DataType::kUint8:
    case DataType::kInt8:
    case DataType::kFp8:
      return 1;
  }
  throw std::invalid_argument("checkpoint: element type " + std::to_string(static_cast<int>(type)) +
                              ", want 1 to 8");
}

std::string_view name_of(DataType type) {
  constexpr std::array<std::string_view, 9> kNames = {
      "unspecified", "float32", "bfloat16", "float16", "int64", "uint8", "int8", "fp8", "int32"};
  const auto number = static_cast<std::size_t>(type);
  return kNames[number < kNames.size() ? number : 0];
}

std::int64_t TensorInfo::elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Rectangle Rectangle::whole(const TensorInfo& tensor) {
  return {std::vector<std::int64_t>(tensor.shape.size(), 0), tensor.shape};
}

std::int64_t Rectangle::elements() const {
  return std::accumulate(extent.begin(), extent.end(), std::int64_t{1}, std::multiplies<>());
}

std::int64_t filled_bytes(std::int64_t bytes) {
  return (bytes + kCheckpointAlignment - 1) / kCheckpointAlignment * kCheckpointAlignment;
}

std::int64_t blocks_of(std::int64_t bytes) {
  return (bytes + kCheckpointBlock - 1) / kCheckpointBlock;
}

std::string content_of(const Manifest& manifest) {
  std::vector<const PieceInfo*> pieces;
  for (const ShardInfo& shard : manifest.shards) {
    for (const PieceInfo& piece : shard.pieces) pieces.push_back(&piece);
  }
  std::ranges::sort(pieces, [](const PieceInfo* a, const PieceInfo* b) {
    return std::tie(a->tensor, a->where.offset) < std::tie(b->tensor, b->where.offset);
  });
  Sha256 sum;
  std::string words;
  const auto add = [&](std::uint64_t value) { put_u64(words, value); };
  const auto next = [&] {
    sum.add(std::as_bytes(std::span(words)));
    words.clear();
  };
  auto piece = pieces.begin();
  for (std::size_t t = 0; t < manifest.tensors.size(); ++t) {
    const TensorInfo& tensor = manifest.tensors[t];
    add(tensor.name.size());
    words += tensor.name;
    add(static_cast<std::uint64_t>(tensor.type));
    add(tensor.shape.size());
    for (const std::int64_t extent : tensor.shape) add(static_cast<std::uint64_t>(extent));
    next();
    for (; piece != pieces.end() && (*piece)->tensor == t; ++piece) {
      for (const std::int64_t at : (*piece)->where.offset) add(static_cast<std::uint64_t>(at));
      for (const std::int64_t ext : (*piece)->where.extent) add(static_cast<std::uint64_t>(ext));
      for (const std::uint32_t block : (*piece)->block_crc32c) put_u32(words, block);
      next();
    }
  }
  return sum.hex();
}

std::string shard_name(int shard, int shards) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "shard-%05d-of-%05d.sy", shard, shards);
  return text.data();
}

std::string step_name(std::int64_t step) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "step-%012lld", static_cast<long long>(step));
  return text.data();
}
}  // namespace switchyard::runtime
