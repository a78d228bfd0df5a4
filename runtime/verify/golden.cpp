// SPDX-License-Identifier: Apache-2.0
#include "runtime/verify/golden.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>

#include "comm/collective.hpp"
#include "experts/kernels/dispatch.hpp"
#include "runtime/run/token_source.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
using experts::Matrix;
using experts::MatrixView;
using experts::Routing;

std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

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

/// Largest difference; NaN counts as infinite, equal infinities as none.
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

/// The routing as a dense matrix [tokens, experts], as golden.combine is.
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

/// @returns the first token whose expert set is another one, or empty
std::string other_experts(const GoldenBlock& block, const Routing& routing, std::int64_t first) {
  for (std::int64_t t = 0; t < routing.tokens(); ++t) {
    std::vector<std::int64_t> got(routing.experts.begin() + routing.offsets[at(t)],
                                  routing.experts.begin() + routing.offsets[at(t + 1)]);
    const auto begin = block.topk_idx.begin() + (first + t) * block.top_k;
    std::vector<std::int64_t> want(begin, begin + block.top_k);
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

/// Weights of the chosen experts, against topk_weight in the order of topk_idx.
double slot_weight_error(const GoldenBlock& block, const Matrix& dense) {
  Matrix chosen(dense.rows(), block.top_k);
  for (std::int64_t t = 0; t < dense.rows(); ++t) {
    for (std::int64_t s = 0; s < block.top_k; ++s) {
      chosen(t, s) = dense(t, block.topk_idx[at(t * block.top_k + s)]);
    }
  }
  return difference(chosen.view(), block.topk_weight.view());
}

std::string unequal_duplicates(const GoldenBlock& block, const Matrix& output) {
  for (const auto& group : block.duplicate_rows) {
    for (const auto row : group) {
      if (std::memcmp(output.row(row).data(), output.row(group.front()).data(),
                      at(output.cols()) * sizeof(float)) != 0) {
        return "rows " + std::to_string(group.front()) + " and " + std::to_string(row) +
               " are equal and their outputs are not";
      }
    }
  }
  return {};
}

/// Largest error of an output over their root mean square. Rounded weights or activations are off
/// by about 2^-12 (float16), 2^-9 (bfloat16), 1/250 (int8), 1/40 (fp8) or 1/9 (mxfp4) of
/// themselves; three products in a row double that, and the largest of some thousand errors is four
/// or five times the usual one.
double output_limit(const LayerOptions& options, experts::DType given) {
  const bool exact = options.stored == given || options.stored == experts::DType::kFloat32;
  if (exact && experts::math_name(options.isa, options.math, options.stored) == "float32") {
    return 2e-5;
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

/// Every rank's rows as one matrix, on every rank.
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
}  // namespace

double GoldenResult::worst_over_limit() const {
  double worst = 0;
  for (const auto& error : errors) worst = std::max(worst, error.over_limit());
  return worst;
}

GoldenResult check_golden(comm::Group& group, GoldenBlock& block, const LayerOptions& options,
                          const std::string& placement) {
  GoldenResult result;
  result.name = block.name;
  result.tokens = block.tokens;
  result.not_forward = static_cast<std::int64_t>(block.not_forward.size());
  for (const auto& name : block.unknown) {
    result.failures.push_back("tensor " + name + " is in the file and nobody used it");
  }
  if (const std::string problem = check_unpacked(block); !problem.empty()) {
    result.failures.push_back(problem);
  }

  const TokenShare share = share_of(block.tokens, group.rank(), group.size());
  std::optional<Placement> where;
  together(group, [&] {
    where = Placement::from_name(placement, block.spec.router.experts, group.size());
  });
  MoeLayer layer(group, block.spec, *block.weights, *where, options);
  result.path = std::string(layer.transport()) + ", " + std::string(name_of(options.isa)) + ", " +
                std::string(name_of(options.stored));
  const std::string_view math = experts::math_name(options.isa, options.math, options.stored);
  if (math != "float32") result.path += ", " + std::string(math);
  const auto tokens = block.hidden_in.view().slice(share.first, share.count);
  const Routing routing = layer.route(tokens);
  const Matrix mine = layer.forward(tokens, routing);

  const Matrix output = whole(group, mine);
  const Matrix logits = whole(group, routing.logits);
  const Matrix my_weights = dense_weights(routing, block.experts);
  const Matrix weights = whole(group, my_weights);
  const double rms = rms_of(block.output);
  const double largest = std::max(1.0, largest_of(block.topk_weight));
  if (!std::isfinite(rms) || !std::isfinite(largest)) {
    result.failures.emplace_back("golden.output or golden.topk_weight is not finite in the file");
  }
  result.errors = {{.quantity = "output",
                    .error = difference(output.view(), block.output.view()) / (rms > 0 ? rms : 1),
                    .limit = output_limit(options, block.weights->expert(0).up.type)},
                   {.quantity = "router logits",
                    .error = difference(logits.view(), block.router_logits.view()),
                    .limit = 1e-5},
                   {.quantity = "combine weights",
                    .error = std::max(difference(weights.view(), block.combine.view()),
                                      slot_weight_error(block, weights)),
                    .limit = 2e-6 * largest}};
  for (const auto& error : result.errors) {
    if (!(error.over_limit() <= 1)) {
      result.failures.push_back(error.quantity + ": error " + std::to_string(error.over_limit()) +
                                " times the limit");
    }
  }

  const std::string mismatch = other_experts(block, routing, share.first);
  for (const auto& text : comm::allgather(group, std::as_bytes(std::span(mismatch)))) {
    if (text.empty()) continue;
    result.failures.emplace_back(reinterpret_cast<const char*>(text.data()), text.size());
    break;
  }
  if (const std::string text = unequal_duplicates(block, output); !text.empty()) {
    result.failures.push_back(text);
  }
  const LayerStats& stats = layer.stats();
  for (std::int64_t e = 0; e < block.experts; ++e) {
    const std::int64_t got = sum_over(group, stats.load[at(e)]);
    if (got != block.expert_counts[at(e)]) {
      result.failures.push_back("expert " + std::to_string(e) + " has " + std::to_string(got) +
                                " tokens, want " + std::to_string(block.expert_counts[at(e)]));
    }
  }
  result.rows_out = sum_over(group, stats.planned.rows_out);
  const std::int64_t computed = sum_over(group, stats.arrived);
  const std::int64_t planned = sum_over(group, stats.planned.computed);
  if (computed != planned) {
    result.failures.push_back("conservation: " + std::to_string(planned) + " rows sent, " +
                              std::to_string(computed) + " computed");
  }
  return result;
}
}  // namespace switchyard::runtime
