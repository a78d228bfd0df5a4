// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/tensor_views.hpp"

#include <cstring>
#include <stdexcept>

#include "runtime/model/checked_json.hpp"

namespace switchyard::runtime {
namespace {

/// Bytes of elements [first, first + count); checked, because a mistake here would read past a map.
std::span<const std::byte> run_of(const Tensor& tensor, std::int64_t first, std::int64_t count,
                                  std::size_t element_bytes) {
  if (first < 0 || count < 0 || first > tensor.elements() - count) {
    throw std::invalid_argument(tensor.file + ": elements " + std::to_string(first) + " to " +
                                std::to_string(first + count) + ", want at most " +
                                std::to_string(tensor.elements()));
  }
  return tensor.data.subspan(static_cast<std::size_t>(first) * element_bytes,
                             static_cast<std::size_t>(count) * element_bytes);
}

template <class T>
std::vector<T> copy_of(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template <class T>
bool is_aligned(std::span<const std::byte> bytes) {
  return reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(T) == 0;
}

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t extent : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  }
  return text + "]";
}

[[noreturn]] void refuse_tensor(const Tensor& tensor, const std::string& name,
                                const std::string& what) {
  throw std::invalid_argument(tensor.file + ": tensor " + shown(name) + ": " + what);
}
}  // namespace

Numbers Storage::place(const Tensor& tensor, std::int64_t first, std::int64_t count) {
  const experts::DType type = float_type(tensor);
  if (type != experts::DType::kFloat32) {
    const auto bytes = run_of(tensor, first, count, sizeof(std::uint16_t));
    if (is_aligned<std::uint16_t>(bytes)) return {.data = bytes.data(), .type = type};
    halves_.push_back(copy_of<std::uint16_t>(bytes));
    return {.data = halves_.back().data(), .type = type};
  }
  const auto bytes = run_of(tensor, first, count, sizeof(float));
  if (is_aligned<float>(bytes)) return {.data = bytes.data(), .type = type};
  floats_.push_back(copy_of<float>(bytes));
  return {.data = floats_.back().data(), .type = type};
}

experts::DType float_type(const Tensor& tensor) {
  if (tensor.dtype == "F16") return experts::DType::kFloat16;
  return tensor.dtype == "BF16" ? experts::DType::kBfloat16 : experts::DType::kFloat32;
}

void require_float(const Tensor& tensor, const std::string& name) {
  if (tensor.dtype == "F32" || tensor.dtype == "BF16" || tensor.dtype == "F16") return;
  refuse_tensor(tensor, name, "dtype, got " + tensor.dtype + ", want F32, BF16 or F16");
}

void require_dtype(const Tensor& tensor, const std::string& name, const std::string& dtype) {
  if (tensor.dtype == dtype) return;
  refuse_tensor(tensor, name, "dtype, got " + tensor.dtype + ", want " + dtype);
}

void require_shape(const Tensor& tensor, const std::string& name,
                   const std::vector<std::int64_t>& shape) {
  if (tensor.shape == shape) return;
  refuse_tensor(tensor, name, "shape, got " + text_of(tensor.shape) + ", want " + text_of(shape));
}

std::vector<float> read_floats(const Tensor& tensor, std::int64_t first, std::int64_t count) {
  if (tensor.dtype == "F32") return copy_of<float>(run_of(tensor, first, count, sizeof(float)));
  const auto bits = copy_of<std::uint16_t>(run_of(tensor, first, count, sizeof(std::uint16_t)));
  std::vector<float> values;
  values.reserve(bits.size());
  for (const std::uint16_t each : bits) {
    values.push_back(tensor.dtype == "F16" ? experts::widen_float16(each)
                                           : experts::widen_bfloat16(each));
  }
  return values;
}
}  // namespace switchyard::runtime
