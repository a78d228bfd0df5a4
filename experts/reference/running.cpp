// SPDX-License-Identifier: Apache-2.0
#include "experts/reference/running.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <stdexcept>

namespace switchyard::experts::reference {
namespace {
constexpr double kSecondOrder = 1.01;
}  // namespace

double Running::size() const {
  return std::abs(value) + bound;
}

double half_ulp(double size) {
  // The exponent alone: the power of two at or below `size`.
  const auto power = std::bit_cast<std::uint64_t>(size) & 0x7ff0'0000'0000'0000U;
  return kUnit * std::bit_cast<double>(power);
}

double roundings(std::int64_t n) {
  const double first_order = static_cast<double>(n) * kUnit;
  return first_order / (1 - first_order);
}

Running product(Running a, Running b) {
  return {a.value * b.value,
          std::abs(a.value) * b.bound + std::abs(b.value) * a.bound + a.bound * b.bound};
}

Running rounded(Running a) {
  return {a.value, a.bound + half_ulp(a.size()) + kTiny};
}

void Sum::add(Running term) {
  value_ += term.value;
  bounds_ += term.bound;
  roundings_ += half_ulp(term.size()) + kTiny;
  positive_ += std::max(term.value + term.bound, 0.0);
  negative_ += std::max(term.bound - term.value, 0.0);
  ++terms_;
}

Running Sum::total() const {
  if (terms_ == 0) return {};
  const double partial = std::max(positive_, negative_) * (1 + roundings(terms_));
  const double additions = static_cast<double>(terms_ - 1) * (half_ulp(partial) + kTiny);
  return {value_, bounds_ + roundings_ + additions};
}

Row exact(std::span<const float> values) {
  Row row;
  for (const float value : values) row.push_back({static_cast<double>(value), 0});
  return row;
}

Row apply(const WeightView& weight, const std::vector<float>& bias, const Row& x) {
  Row y;
  for (std::int64_t o = 0; o < weight.out; ++o) {
    Sum sum;
    for (std::int64_t i = 0; i < weight.in; ++i) {
      sum.add(product({static_cast<double>(weight.at(o, i)), 0}, x[static_cast<std::size_t>(i)]));
    }
    if (!bias.empty()) sum.add({static_cast<double>(bias[static_cast<std::size_t>(o)]), 0});
    y.push_back(sum.total());
  }
  return y;
}

Bounded bounded(const std::vector<Row>& rows, std::int64_t cols) {
  Bounded result{static_cast<std::int64_t>(rows.size()), cols, {}, {}};
  for (const Row& row : rows) {
    for (const Running& number : row) {
      result.values.push_back(number.value);
      result.bounds.push_back(number.bound * kSecondOrder);
    }
  }
  return result;
}

void require_shape(const std::string& name, const WeightView& weight, std::int64_t out,
                   std::int64_t in) {
  const auto shape = [](std::int64_t rows, std::int64_t cols) {
    return "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
  };
  if (!weight.empty() && weight.out == out && weight.in == in) return;
  refuse(name + " is " + (weight.empty() ? "missing" : shape(weight.out, weight.in)) + ", want " +
         shape(out, in));
}

void require_length(const std::string& name, const std::vector<float>& values,
                    std::int64_t length) {
  if (values.empty() || static_cast<std::int64_t>(values.size()) == length) return;
  refuse(name + " has " + std::to_string(values.size()) + " elements, want " +
         std::to_string(length) + " or none");
}

void refuse(const std::string& problem) {
  throw std::invalid_argument("reference: " + problem);
}
}  // namespace switchyard::experts::reference
