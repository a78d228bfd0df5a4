// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/always_on.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <stdexcept>
#include <string>

#include "experts/kernels/math.hpp"

namespace switchyard::runtime {
namespace {
/// The network over all rows, in blocks that threads can share.
experts::Matrix run_dense(const experts::PackedExpert& network,
                          experts::MatrixView<const float> tokens, Workers& workers,
                          std::vector<experts::AlignedBuffer>& scratch) {
  experts::Matrix out(tokens.rows, tokens.cols);
  const std::int64_t block = workers.threads() == 1 ? std::max<std::int64_t>(tokens.rows, 1) : 96;
  workers.run((tokens.rows + block - 1) / block, [&](std::int64_t i, int thread) {
    const std::int64_t first = i * block;
    const std::int64_t count = std::min(block, tokens.rows - first);
    std::vector<const float*> rows;
    std::vector<float*> results;
    for (std::int64_t t = first; t < first + count; ++t) {
      rows.push_back(tokens.row(t).data());
      results.push_back(out.row(t).data());
    }
    network.run(rows, {}, results, scratch[static_cast<std::size_t>(thread)]);
  });
  return out;
}

/// a[t] += factor[t] * b[t]; no factors: 1.
void add_rows(experts::MatrixView<float> a, experts::MatrixView<const float> b,
              std::span<const float> factors) {
  for (std::int64_t t = 0; t < a.rows; ++t) {
    const float factor = factors.empty() ? 1.0F : factors[static_cast<std::size_t>(t)];
    float* const sum = a.row(t).data();
    const float* const row = b.row(t).data();
    for (std::int64_t c = 0; c < a.cols; ++c) sum[c] += factor * row[c];
  }
}
}  // namespace

AlwaysOn::AlwaysOn(const experts::BlockSpec& spec, experts::WeightSource& source,
                   experts::DType stored, experts::Isa isa)
    : dense_mode_(spec.dense_mode) {
  if (spec.shared) {
    shared_.emplace_back(*spec.shared, source.shared(), stored, isa);
    if (spec.shared_gate == experts::SharedGate::kSigmoid) {
      shared_gate_ = experts::PackedLinear(source.shared_gate(), isa);
    }
  }
  if (spec.dense) dense_.emplace_back(*spec.dense, source.dense(), stored, isa);
  if (spec.output_bias) {
    output_bias_ = source.output_bias();
    if (output_bias_.size() != static_cast<std::size_t>(spec.expert.hidden)) {
      throw std::invalid_argument("output bias: got " + std::to_string(output_bias_.size()) +
                                  " values, want " + std::to_string(spec.expert.hidden));
    }
  }
}

void AlwaysOn::add(experts::MatrixView<const float> tokens, experts::MatrixView<float> out,
                   Workers& workers, std::vector<experts::AlignedBuffer>& scratch) const {
  if (!shared_.empty()) add_shared(tokens, out, workers, scratch);
  if (!output_bias_.empty()) {
    for (std::int64_t t = 0; t < out.rows; ++t) {
      const auto row = out.row(t);
      for (std::size_t c = 0; c < row.size(); ++c) row[c] += output_bias_[c];
    }
  }
  if (!dense_.empty()) add_dense(tokens, out, workers, scratch);
}

void AlwaysOn::add_shared(experts::MatrixView<const float> tokens, experts::MatrixView<float> out,
                          Workers& workers, std::vector<experts::AlignedBuffer>& scratch) const {
  const experts::Matrix result = run_dense(shared_[0], tokens, workers, scratch);
  std::vector<float> gates;
  if (!shared_gate_.empty()) {
    gates.resize(static_cast<std::size_t>(tokens.rows));
    shared_gate_.apply(tokens, {gates.data(), tokens.rows, 1});
    for (float& gate : gates) {
      gate = static_cast<float>(1.0 / (1.0 + experts::portable::exp(-static_cast<double>(gate))));
    }
  }
  add_rows(out, result.view(), gates);
}

void AlwaysOn::add_dense(experts::MatrixView<const float> tokens, experts::MatrixView<float> out,
                         Workers& workers, std::vector<experts::AlignedBuffer>& scratch) const {
  if (dense_mode_ == experts::DenseMode::kParallel) {
    add_rows(out, run_dense(dense_[0], tokens, workers, scratch).view(), {});
    return;
  }
  experts::Matrix normed(tokens.rows, tokens.cols);
  rms_norm_sum(tokens, out, normed.view());
  add_rows(out, run_dense(dense_[0], normed.view(), workers, scratch).view(), {});
}

std::int64_t AlwaysOn::bytes() const {
  std::int64_t sum = 0;
  for (const auto& network : shared_) sum += network.bytes();
  for (const auto& network : dense_) sum += network.bytes();
  return sum;
}

void rms_norm_sum(experts::MatrixView<const float> a, experts::MatrixView<const float> b,
                  experts::MatrixView<float> y) {
  for (std::int64_t t = 0; t < a.rows; ++t) {
    double squares = 0;
    for (std::int64_t c = 0; c < a.cols; ++c) {
      const float x = b.data == nullptr ? a(t, c) : a(t, c) + b(t, c);
      y(t, c) = x;
      squares += static_cast<double>(x) * static_cast<double>(x);
    }
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(a.cols) + 1e-6);
    for (std::int64_t c = 0; c < a.cols; ++c) {
      y(t, c) = static_cast<float>(static_cast<double>(y(t, c)) * scale);
    }
  }
}
}  // namespace switchyard::runtime
