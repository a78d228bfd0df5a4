// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/always_on.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>

#include "experts/kernels/math.hpp"

namespace switchyard::runtime {
namespace {
/// Rows of a block: enough of them for the weights to be read once and used often.
constexpr std::int64_t kRowsAtOnce = 96;

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
                   const ExpertStore& store)
    : dense_mode_(spec.dense_mode) {
  const auto add = [&](std::vector<experts::PackedExpert>& networks,
                       const experts::ExpertSpec& network, const experts::ExpertTensors& tensors) {
    const experts::DType stored =
        store.own_types ? experts::PackedExpert::own_type(tensors) : store.stored;
    networks.emplace_back(network, tensors, stored, store.isa, store.math);
  };
  if (spec.shared) {
    add(shared_, *spec.shared, source.shared());
    if (spec.shared_gate == experts::SharedGate::kSigmoid) {
      shared_gate_ = experts::PackedLinear(source.shared_gate(), store.isa);
    }
  }
  if (spec.dense) add(dense_, *spec.dense, source.dense());
  if (spec.output_bias) {
    output_bias_ = source.output_bias();
    if (output_bias_.size() != static_cast<std::size_t>(spec.expert.hidden)) {
      throw std::invalid_argument("output bias: got " + std::to_string(output_bias_.size()) +
                                  " values, want " + std::to_string(spec.expert.hidden));
    }
  }
}

void AlwaysOn::prepare(experts::MatrixView<const float> tokens, AlwaysOnWork& work,
                       Workers& workers, std::vector<experts::AlignedBuffer>& scratch) const {
  const std::int64_t first = work.prepared;
  const std::int64_t end = std::min(tokens.rows, first + kRowsAtOnce * workers.threads());
  if (!shared_.empty()) {
    if (first == 0) work.shared.reshape(tokens.rows, tokens.cols);
    run_network(shared_[0], tokens, first, end, work.shared, work, workers, scratch);
    work.gates.resize(shared_gate_.empty() ? 0 : static_cast<std::size_t>(tokens.rows));
  }
  if (!shared_gate_.empty()) {
    const std::span gates =
        std::span(work.gates)
            .subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(end - first));
    shared_gate_.apply(tokens.slice(first, end - first), {gates.data(), end - first, 1},
                       work.gate_scratch);
    for (float& gate : gates) {
      gate = static_cast<float>(1.0 / (1.0 + experts::portable::exp(-static_cast<double>(gate))));
    }
  }
  if (!dense_.empty() && dense_mode_ == experts::DenseMode::kParallel) {
    if (first == 0) work.dense.reshape(tokens.rows, tokens.cols);
    run_network(dense_[0], tokens, first, end, work.dense, work, workers, scratch);
  }
  work.prepared = end;
}

void AlwaysOn::add(experts::MatrixView<const float> tokens, experts::MatrixView<float> out,
                   AlwaysOnWork& work, Workers& workers,
                   std::vector<experts::AlignedBuffer>& scratch) const {
  if (!shared_.empty()) add_rows(out, work.shared.view(), work.gates);
  for (std::int64_t t = 0; !output_bias_.empty() && t < out.rows; ++t) {
    const auto row = out.row(t);
    for (std::size_t c = 0; c < row.size(); ++c) row[c] += output_bias_[c];
  }
  if (dense_.empty()) return;
  if (dense_mode_ != experts::DenseMode::kParallel) {
    work.normed.reshape(tokens.rows, tokens.cols);
    rms_norm_sum(tokens, out, work.normed.view());
    work.dense.reshape(tokens.rows, tokens.cols);
    run_network(dense_[0], work.normed.view(), 0, tokens.rows, work.dense, work, workers, scratch);
  }
  add_rows(out, work.dense.view(), {});
}

std::int64_t AlwaysOn::bytes() const {
  std::int64_t sum = 0;
  for (const auto& network : shared_) sum += network.bytes();
  for (const auto& network : dense_) sum += network.bytes();
  return sum;
}

void run_network(const experts::PackedExpert& network, experts::MatrixView<const float> tokens,
                 std::int64_t first, std::int64_t end, experts::Matrix& out, AlwaysOnWork& work,
                 Workers& workers, std::vector<experts::AlignedBuffer>& scratch) {
  const auto count = static_cast<std::size_t>(end - first);
  work.rows.resize(count);
  work.results.resize(count);
  for (std::size_t t = 0; t < count; ++t) {
    work.rows[t] = tokens.row(first + static_cast<std::int64_t>(t)).data();
    work.results[t] = out.row(first + static_cast<std::int64_t>(t)).data();
  }
  if (workers.threads() == 1) return network.run(work.rows, {}, work.results, scratch[0]);
  constexpr auto kRows = static_cast<std::size_t>(kRowsAtOnce);
  const auto block = [&](std::int64_t i, int thread) {
    const std::size_t begin = static_cast<std::size_t>(i) * kRows;
    const std::size_t rows = std::min(kRows, count - begin);
    network.run(std::span(work.rows).subspan(begin, rows), {},
                std::span(work.results).subspan(begin, rows),
                scratch[static_cast<std::size_t>(thread)]);
  };
  // By reference: a std::function of what it captures would allocate.
  workers.run(static_cast<std::int64_t>((count + kRows - 1) / kRows), std::ref(block));
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
