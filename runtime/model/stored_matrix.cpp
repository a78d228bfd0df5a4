// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/stored_matrix.hpp"

#include <cmath>
#include <stdexcept>

#include "runtime/model/checked_json.hpp"

namespace switchyard::runtime {
namespace {

using experts::DType;
using Shape = std::vector<std::int64_t>;

constexpr std::int64_t kInt8Inputs = 128;
constexpr std::uint8_t kMostMxfp4Scale = 252;  // 6 * 2^126 is beyond float32

std::int64_t blocks_for(std::int64_t extent, std::int64_t block) {
  return (extent + block - 1) / block;
}

ScaleBlocks blocks_of(DType type, const ScaleBlocks& fp8) {
  if (type == DType::kMxfp4) return {1, experts::kMxfp4Block};
  return type == DType::kFp8 ? fp8 : ScaleBlocks{1, kInt8Inputs};
}

[[noreturn]] void refuse(const Tensor& tensor, const std::string& name, const std::string& what) {
  throw std::invalid_argument(tensor.file + ": tensor " + shown(name) + ": " + what);
}

std::string place(std::int64_t index, std::int64_t columns) {
  return "[" + std::to_string(index / columns) + ", " + std::to_string(index % columns) + "]";
}

void require_numbers(const StoredMatrix& matrix, const std::uint8_t* codes, std::int64_t out,
                     std::int64_t in) {
  for (std::int64_t o = 0; o < out; ++o, codes += in) {
    unsigned nans = 0;  // no branch, so that the loop becomes vectors
    for (std::int64_t i = 0; i < in; ++i) nans |= experts::is_fp8_nan(codes[i]) ? 1U : 0U;
    for (std::int64_t i = 0; nans != 0 && i < in; ++i) {
      if (!experts::is_fp8_nan(codes[i])) continue;
      refuse(*matrix.tensor, matrix.name,
             "element " + place(o * in + i, in) + " is NaN (code " + std::to_string(codes[i]) +
                 "), want a number");
    }
  }
}

void require_scales(const StoredMatrix& matrix, const void* scales, std::int64_t rows,
                    std::int64_t columns) {
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    if (matrix.type == DType::kMxfp4) {
      const std::uint8_t scale = static_cast<const std::uint8_t*>(scales)[i];
      if (scale <= kMostMxfp4Scale) continue;
      refuse(*matrix.scales, matrix.scales_name,
             "scale of block " + place(i, columns) + ", got " + std::to_string(scale) +
                 ", want at most 252");
    }
    const float scale = static_cast<const float*>(scales)[i];
    if (std::isfinite(scale * experts::kFp8Most)) continue;
    refuse(*matrix.scales, matrix.scales_name,
           "scale of block " + place(i, columns) + ", got " + std::to_string(scale) +
               ", want one that 448 times it is a float32");
  }
}
}  // namespace

bool has_matrix(const TensorSet& tensors, const std::string& name, const Mxfp4Names& mxfp4) {
  return tensors.find(name) != nullptr || tensors.find(name + mxfp4.blocks) != nullptr;
}

StoredMatrix find_matrix(const TensorSet& tensors, const std::string& name,
                         const Mxfp4Names& mxfp4) {
  StoredMatrix found{.name = name, .scales_name = {}};
  found.tensor = tensors.find(name);
  if (found.tensor == nullptr && tensors.find(name + mxfp4.blocks) != nullptr) {
    found.name = name + mxfp4.blocks;
    found.tensor = &tensors.at(found.name);
    found.scales_name = name + mxfp4.scales;
    found.type = DType::kMxfp4;
    require_dtype(*found.tensor, found.name, "U8");
  } else if (found.tensor == nullptr) {
    found.tensor = &tensors.at(name);  // throws
  } else if (found.tensor->dtype == "F8_E4M3") {
    found.scales_name = name + "_scale_inv";
    found.type = DType::kFp8;
  } else if (found.tensor->dtype == "I8") {
    found.scales_name = name + "_scale";
    found.type = DType::kInt8;
  } else {
    require_float(*found.tensor, name);
    return found;
  }
  found.scales = &tensors.at(found.scales_name);
  require_dtype(*found.scales, found.scales_name, found.type == DType::kMxfp4 ? "U8" : "F32");
  return found;
}

void require_shapes(const StoredMatrix& matrix, const Shape& shape, const ScaleBlocks& fp8) {
  if (matrix.scales == nullptr) return require_shape(*matrix.tensor, matrix.name, shape);
  if (shape.size() < 2) refuse(*matrix.tensor, matrix.name, "codes, want two dimensions");
  const ScaleBlocks blocks = blocks_of(matrix.type, fp8);
  const std::int64_t in = shape.back();
  Shape codes = shape;
  if (matrix.type == DType::kMxfp4) {
    if (in % experts::kMxfp4Block != 0) {
      refuse(*matrix.tensor, matrix.name,
             "inputs, got " + std::to_string(in) + ", want a multiple of 32");
    }
    codes.back() /= experts::kMxfp4Block;
    codes.push_back(experts::kMxfp4Block / 2);
  }
  require_shape(*matrix.tensor, matrix.name, codes);
  Shape scales = shape;
  scales[scales.size() - 2] = blocks_for(scales[scales.size() - 2], blocks.out);
  scales.back() = blocks_for(in, blocks.in);
  require_shape(*matrix.scales, matrix.scales_name, scales);
}

experts::WeightView scaled_outline(const StoredMatrix& matrix, std::int64_t out, std::int64_t in,
                                   const ScaleBlocks& fp8) {
  const ScaleBlocks blocks = blocks_of(matrix.type, fp8);
  return {.data = matrix.tensor->data.data(),
          .type = matrix.type,
          .out = out,
          .in = in,
          .out_stride = in,
          .in_stride = 1,
          .scales = {.data = matrix.scales->data.data(),
                     .out_block = blocks.out,
                     .in_block = blocks.in,
                     .out_stride = blocks_for(in, blocks.in)}};
}

experts::WeightView scaled_view(Storage& storage, const StoredMatrix& matrix, std::int64_t out,
                                std::int64_t in, std::int64_t index, const ScaleBlocks& fp8) {
  const ScaleBlocks blocks = blocks_of(matrix.type, fp8);
  const std::int64_t rows = blocks_for(out, blocks.out);
  const std::int64_t columns = blocks_for(in, blocks.in);
  const std::int64_t first = index * rows * columns;
  const void* scales = matrix.type == DType::kMxfp4
                           ? matrix.scales->data.data() + first
                           : storage.place(*matrix.scales, first, rows * columns).data;
  require_scales(matrix, scales, rows, columns);
  const std::byte* codes =
      matrix.tensor->data.data() + experts::bytes_of(matrix.type, index * out * in);
  if (matrix.type == DType::kFp8) {
    require_numbers(matrix, reinterpret_cast<const std::uint8_t*>(codes), out, in);
  }
  experts::WeightView view = scaled_outline(matrix, out, in, fp8);
  view.data = codes;
  view.scales.data = scales;
  return view;
}
}  // namespace switchyard::runtime
