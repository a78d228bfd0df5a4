// SPDX-License-Identifier: Apache-2.0
#include "runtime/verify/compare.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "comm/group/collective.hpp"
#include "experts/index.hpp"
#include "experts/kernels/dispatch.hpp"

namespace switchyard::runtime {
using experts::Matrix;
using experts::MatrixView;
using experts::Routing;

double rms_of(const Matrix& matrix) {
  double squares = 0;
  for (std::int64_t r = 0; r < matrix.rows(); ++r) {
    for (const float x : matrix.row(r)) squares += static_cast<double>(x) * static_cast<double>(x);
  }
  const auto count = static_cast<double>(std::max<std::int64_t>(matrix.rows() * matrix.cols(), 1));
  return std::sqrt(squares / count);
}

double largest_of(const Matrix& matrix) {
  double largest = 0;
  for (std::int64_t r = 0; r < matrix.rows(); ++r) {
    for (const float x : matrix.row(r))
      largest = std::max(largest, std::abs(static_cast<double>(x)));
  }
  return largest;
}

double difference(MatrixView<const float> got, MatrixView<const float> want) {
  double worst = 0;
  for (std::int64_t r = 0; r < want.rows; ++r) {
    for (std::int64_t c = 0; c < want.cols; ++c) {
      if (got(r, c) == want(r, c)) continue;
      const double error =
          std::abs(static_cast<double>(got(r, c)) - static_cast<double>(want(r, c)));
      worst = std::max(worst, std::isnan(error) ? HUGE_VAL : error);
    }
  }
  return worst;
}

Matrix dense_weights(const Routing& routing, std::int64_t experts) {
  Matrix dense(routing.tokens(), experts);
  for (std::int64_t t = 0; t < routing.tokens(); ++t) {
    for (std::int64_t s = routing.offsets[at(t)]; s < routing.offsets[at(t + 1)]; ++s) {
      const std::int32_t expert = routing.experts[at(s)];
      if (expert >= 0) dense(t, expert) += routing.weights[at(s)];
    }
  }
  return dense;
}

std::string other_experts(std::span<const std::int64_t> topk_idx, std::int64_t top_k,
                          const Routing& routing, std::int64_t first) {
  for (std::int64_t t = 0; t < routing.tokens(); ++t) {
    std::vector<std::int64_t> got(routing.experts.begin() + routing.offsets[at(t)],
                                  routing.experts.begin() + routing.offsets[at(t + 1)]);
    const auto begin = topk_idx.begin() + (first + t) * top_k;
    std::vector<std::int64_t> want(begin, begin + top_k);
    std::sort(got.begin(), got.end());
    std::sort(want.begin(), want.end());
    if (got == want) continue;
    std::string text = "token " + std::to_string(first + t) + " goes to experts";
    for (const auto e : got) text += ' ' + std::to_string(e);
    text += ", want";
    for (const auto e : want) text += ' ' + std::to_string(e);
    return text;
  }
  return {};
}

double output_limit(const LayerOptions& options, experts::DType given, double exact) {
  const bool unrounded = options.stored == given || options.stored == experts::DType::kFloat32;
  if (unrounded && experts::math_name(options.isa, options.math, options.stored) == "float32") {
    return exact;
  }
  switch (options.stored) {
    case experts::DType::kFloat16:
      return 5e-3;
    case experts::DType::kBfloat16:
      return 6e-2;
    case experts::DType::kFp8:
      return 1;
    case experts::DType::kMxfp4:
      return 4;
    default:
      return 2e-1;
  }
}

Matrix whole(comm::Group& group, const Matrix& mine) {
  const std::span<const float> values(mine.data(), at(mine.rows() * mine.cols()));
  const auto parts = comm::allgather_values<float>(group, values);
  std::int64_t rows = 0;
  for (const auto& part : parts) rows += static_cast<std::int64_t>(part.size()) / mine.cols();
  Matrix all(rows, mine.cols());
  float* next = all.data();
  for (const auto& part : parts) next = std::copy(part.begin(), part.end(), next);
  return all;
}

std::int64_t sum_over(comm::Group& group, std::int64_t mine) {
  std::int64_t sum = 0;
  for (const auto& rank : comm::allgather_values<std::int64_t>(group, std::span(&mine, 1))) {
    sum += rank[0];
  }
  return sum;
}

double most_over(comm::Group& group, double mine) {
  double most = mine;
  for (const auto& rank : comm::allgather_values<double>(group, std::span(&mine, 1))) {
    most = std::max(most, rank[0]);
  }
  return most;
}

std::string first_words(comm::Group& group, const std::string& mine) {
  for (const auto& text : comm::allgather(group, std::as_bytes(std::span(mine)))) {
    if (!text.empty()) return {reinterpret_cast<const char*>(text.data()), text.size()};
  }
  return {};
}
}  // namespace switchyard::runtime
