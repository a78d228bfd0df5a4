// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Two-dimensional arrays: a view that owns nothing and a float matrix that owns its rows.
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace switchyard::experts {

/// A row-major matrix somewhere in memory: row r starts at data + r * stride (in elements).
template <class T>
struct MatrixView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;  ///< elements from one row to the next, at least cols

  MatrixView() = default;
  MatrixView(T* first, std::int64_t num_rows, std::int64_t num_cols)
      : data(first), rows(num_rows), cols(num_cols), stride(num_cols) {}
  MatrixView(T* first, std::int64_t num_rows, std::int64_t num_cols, std::int64_t row_stride)
      : data(first), rows(num_rows), cols(num_cols), stride(row_stride) {}
  /// A view of mutable elements is also a view of constant ones.
  template <class U>
  // NOLINTNEXTLINE(google-explicit-constructor): const is implied
  requires(std::is_same_v<T, const U>) MatrixView(const MatrixView<U>& other)
      : data(other.data), rows(other.rows), cols(other.cols), stride(other.stride) {}

  [[nodiscard]] std::span<T> row(std::int64_t r) const {
    return {data + r * stride, static_cast<std::size_t>(cols)};
  }
  [[nodiscard]] T& operator()(std::int64_t r, std::int64_t c) const { return data[r * stride + c]; }
  /// Rows [first, first + count).
  [[nodiscard]] MatrixView slice(std::int64_t first, std::int64_t count) const {
    return {data + first * stride, count, cols, stride};
  }
};

/// Owns [rows, cols] floats, row-major and dense; zero at birth.
class Matrix {
 public:
  Matrix() = default;
  Matrix(std::int64_t rows, std::int64_t cols)
      : rows_(rows), cols_(cols), values_(static_cast<std::size_t>(rows * cols)) {}

  /// Another shape; what it held is lost. Memory is kept, so going back allocates nothing.
  void reshape(std::int64_t rows, std::int64_t cols) {
    rows_ = rows;
    cols_ = cols;
    values_.resize(static_cast<std::size_t>(rows * cols));
  }
  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] std::int64_t cols() const { return cols_; }
  [[nodiscard]] float* data() { return values_.data(); }
  [[nodiscard]] const float* data() const { return values_.data(); }
  [[nodiscard]] MatrixView<float> view() { return {values_.data(), rows_, cols_}; }
  [[nodiscard]] MatrixView<const float> view() const { return {values_.data(), rows_, cols_}; }
  [[nodiscard]] std::span<float> row(std::int64_t r) { return view().row(r); }
  [[nodiscard]] std::span<const float> row(std::int64_t r) const { return view().row(r); }
  [[nodiscard]] float& operator()(std::int64_t r, std::int64_t c) { return view()(r, c); }
  [[nodiscard]] float operator()(std::int64_t r, std::int64_t c) const { return view()(r, c); }

 private:
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  std::vector<float> values_;
};
}  // namespace switchyard::experts
