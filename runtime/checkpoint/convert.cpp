// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/convert.hpp"

#include <cstring>

#include "experts/dtype.hpp"

namespace switchyard::runtime {
namespace {
bool is_float(DataType type) {
  return type == DataType::kFloat32 || type == DataType::kBfloat16 || type == DataType::kFloat16;
}

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

float widened(DataType type, const std::byte* at) {
  if (type == DataType::kFloat32) return load<float>(at);
  const auto bits = load<std::uint16_t>(at);
  return type == DataType::kBfloat16 ? experts::widen_bfloat16(bits) : experts::widen_float16(bits);
}

void narrow(float value, DataType type, std::byte* at) {
  if (type == DataType::kFloat32) {
    std::memcpy(at, &value, sizeof value);
    return;
  }
  const std::uint16_t bits = type == DataType::kBfloat16 ? experts::narrow_bfloat16(value)
                                                         : experts::narrow_float16(value);
  std::memcpy(at, &bits, sizeof bits);
}
}  // namespace

bool can_convert(DataType from, DataType to) {
  return from == to || (is_float(from) && is_float(to));
}

void convert(DataType from, std::span<const std::byte> values, DataType to,
             std::span<std::byte> results) {
  if (from == to) {
    if (!values.empty()) std::memcpy(results.data(), values.data(), values.size());
    return;
  }
  const auto in = static_cast<std::size_t>(bytes_of(from));
  const auto out = static_cast<std::size_t>(bytes_of(to));
  for (std::size_t i = 0; i < values.size() / in; ++i) {
    narrow(widened(from, values.data() + i * in), to, results.data() + i * out);
  }
}
}  // namespace switchyard::runtime
