// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The sparse indexer of GLM-5 (DeepSeek Sparse Attention): a small attention of its own says which
/// index_topk earlier positions a token may look at.
/// Score of position t for token s: sum over heads h of w_h(s) max(0, q_h(s) k(t) / sqrt(dim)),
/// w(s) = W x(s) / sqrt(heads).
/// Source: huggingface/transformers, src/transformers/models/glm_moe_dsa (GlmMoeDsaIndexer).
#include <cstdint>
#include <vector>

#include "runtime/transformer/linear.hpp"
#include "runtime/transformer/mixer_kinds.hpp"
#include "runtime/transformer/norm.hpp"
#include "runtime/transformer/rotary.hpp"

namespace switchyard::runtime {

/// The indexer's keys of one sequence, in blocks of 64 positions, [dim][64].
struct IndexKeys {
  static constexpr std::int64_t kBlock = 64;
  std::int64_t end = 0;
  std::vector<std::vector<float>> blocks;
  [[nodiscard]] std::int64_t bytes() const;
  /// As if there had been so many tokens. Returns false if there were fewer.
  [[nodiscard]] bool rewind(std::int64_t tokens);
};

class Indexer {
 public:
  explicit Indexer(const MixerParts& parts);

  /// Adds the keys of consecutive new tokens.
  /// @param x  [rows, hidden]
  void extend(experts::MatrixView<const float> x, IndexKeys& keys) const;
  /// What the tokens at [first, first + rows) may see: the topk() best scores of positions up to
  /// their own, ties to the lower position. All where there are no more than that.
  /// @param x        [rows, hidden]
  /// @param latent   [rows, q_lora_rank]: normed
  /// @param allowed  [rows, keys.end]; 1: seen
  void choose(experts::MatrixView<const float> x, experts::MatrixView<const float> latent,
              std::int64_t first, const IndexKeys& keys,
              experts::MatrixView<std::uint8_t> allowed) const;
  [[nodiscard]] std::int64_t topk() const { return topk_; }
  [[nodiscard]] std::int64_t bytes() const {
    return wq_.bytes() + wk_.bytes() + weights_.bytes() + k_norm_.bytes();
  }

 private:
  void turn(std::int64_t position, std::span<float> heads, Turn& turn) const;
  void score(std::span<const float> query, std::span<const float> weights, const IndexKeys& keys,
             std::span<float> scores) const;

  std::int64_t heads_;
  std::int64_t dim_;
  std::int64_t topk_;
  Linear wq_;
  Linear wk_;
  Linear weights_;
  Norm k_norm_;
  Rotary rotary_;
};
}  // namespace switchyard::runtime
