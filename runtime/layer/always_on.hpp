// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What every token gets, whatever the router says: shared experts, a dense branch, a bias. Held
/// and computed by every rank for its own tokens.
#include <vector>

#include "experts/ffn.hpp"
#include "experts/kernels/linear.hpp"
#include "experts/tensor.hpp"
#include "runtime/layer/shard.hpp"
#include "runtime/layer/workers.hpp"

namespace switchyard::runtime {

/// Results on their way, and memory that is kept from call to call.
struct AlwaysOnWork {
  experts::Matrix shared;          ///< [tokens, hidden]
  experts::Matrix dense;           ///< [tokens, hidden]
  experts::Matrix normed;          ///< [tokens, hidden]
  std::vector<float> gates;        ///< [tokens] or none
  std::vector<const float*> rows;  ///< [tokens]
  std::vector<float*> results;     ///< [tokens]
  experts::AlignedBuffer gate_scratch;
  std::int64_t prepared = 0;  ///< tokens, from the first
};

class AlwaysOn {
 public:
  AlwaysOn(const experts::BlockSpec& spec, experts::WeightSource& source, const ExpertStore& store);

  [[nodiscard]] bool empty() const {
    return shared_.empty() && dense_.empty() && output_bias_.empty();
  }

  /// What depends on the tokens alone is worth computing while rows are on their way: a block of
  /// tokens a call, so that others need not wait for long. Begins anew with `work.prepared` = 0.
  void prepare(experts::MatrixView<const float> tokens, AlwaysOnWork& work, Workers& workers,
               std::vector<experts::AlignedBuffer>& scratch) const;
  /// Whether prepare() has something to do for that many tokens.
  [[nodiscard]] bool left(std::int64_t tokens, const AlwaysOnWork& work) const {
    return work.prepared < tokens &&
           (!shared_.empty() || (!dense_.empty() && dense_mode_ == experts::DenseMode::kParallel));
  }
  /// out += shared (times its gate) + bias + dense, in this order. When nothing is left to prepare
  /// of these tokens.
  /// @param tokens  [tokens, hidden]
  /// @param out     [tokens, hidden]; holds the sum over slots
  void add(experts::MatrixView<const float> tokens, experts::MatrixView<float> out,
           AlwaysOnWork& work, Workers& workers,
           std::vector<experts::AlignedBuffer>& scratch) const;

  /// Packs anew what changed of the shared experts. Between steps.
  void repack_shared(const experts::ExpertTensors& tensors, const NetworkOutputs& changed) {
    shared_.at(0).repack(tensors, changed.up, changed.down);
  }
  [[nodiscard]] std::int64_t bytes() const;

 private:
  std::vector<experts::PackedExpert> shared_;  ///< none or one
  experts::PackedLinear shared_gate_;
  std::vector<experts::PackedExpert> dense_;  ///< none or one
  experts::DenseMode dense_mode_ = experts::DenseMode::kNone;
  std::vector<float> output_bias_;
};

/// One network over tokens [first, end), in blocks that threads share.
/// @param out  [tokens, hidden]
void run_network(const experts::PackedExpert& network, experts::MatrixView<const float> tokens,
                 std::int64_t first, std::int64_t end, experts::Matrix& out, AlwaysOnWork& work,
                 Workers& workers, std::vector<experts::AlignedBuffer>& scratch);

/// y[t] = (a[t] + b[t]) / sqrt(mean((a[t] + b[t])^2) + 1e-6), sums in float64 in order: the norm
/// between stacked blocks (no weight). b may be empty.
void rms_norm_sum(experts::MatrixView<const float> a, experts::MatrixView<const float> b,
                  experts::MatrixView<float> y);
}  // namespace switchyard::runtime
