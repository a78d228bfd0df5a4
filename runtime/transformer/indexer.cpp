// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/indexer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"

namespace switchyard::runtime {
namespace {
constexpr double kNormEps = 1e-6;  // of the keys' layer norm, in the reference's code
constexpr auto kIndexBlock = IndexKeys::kBlock;
}  // namespace

std::int64_t IndexKeys::bytes() const {
  std::int64_t floats = 0;
  for (const auto& block : blocks) floats += static_cast<std::int64_t>(block.size());
  return floats * static_cast<std::int64_t>(sizeof(float));
}

bool IndexKeys::rewind(std::int64_t tokens) {
  if (tokens > end) return false;
  end = tokens;
  blocks.resize(static_cast<std::size_t>((tokens + kBlock - 1) / kBlock));
  return true;
}

Indexer::Indexer(const MixerParts& parts)
    : heads_(parts.model.message().index_heads()),
      dim_(parts.model.message().index_head_dim()),
      topk_(parts.model.message().index_topk()),
      rotary_(Rotary::of_indexer(parts.model)) {
  const auto& m = parts.model.message();
  const auto want = [](std::int64_t value, const char* field) {
    if (value >= 1) return;
    throw std::invalid_argument(std::string("model: ") + field + ", got " + std::to_string(value) +
                                ", want at least 1 for the indexer");
  };
  want(heads_, "index_heads");
  want(topk_, "index_topk");
  want(m.q_lora_rank(), "q_lora_rank");
  want(dim_ - rotary_.dim() + 1, "index_head_dim less qk_rope_head_dim, plus 1");
  const TensorNames n = tensor_names(parts.model.family());
  const std::string at = layer_prefix(parts.model, parts.layer) + n.attention + "indexer.";
  const auto linear = [&](const char* name, std::int64_t out, std::int64_t in) {
    return Linear(parts.tensors, at + name + n.weight, out, in, parts.isa);
  };
  wq_ = linear("wq_b", heads_ * dim_, m.q_lora_rank());
  wk_ = linear("wk", dim_, m.hidden_size());
  weights_ = linear("weights_proj", heads_, m.hidden_size());
  k_norm_ = Norm(NormKind::kLayer, parts.tensors.values(at + "k_norm.weight", dim_),
                 parts.tensors.values(at + "k_norm.bias", dim_), kNormEps);
}

/// The first elements of each head; several heads of one position.
void Indexer::turn(std::int64_t position, std::span<float> heads, Turn& turn) const {
  turn.to(position);
  for (std::size_t at = 0; at < heads.size(); at += static_cast<std::size_t>(dim_)) {
    turn.apply(heads.data() + at);
  }
}

void Indexer::extend(experts::MatrixView<const float> x, IndexKeys& keys) const {
  experts::Matrix rows = wk_.apply(x);
  Turn angles(rotary_);
  for (std::int64_t r = 0; r < x.rows; ++r, ++keys.end) {
    k_norm_.apply(rows.row(r), rows.row(r));
    turn(keys.end, rows.row(r), angles);
    if (keys.end % kIndexBlock == 0)
      keys.blocks.emplace_back(static_cast<std::size_t>(dim_ * kIndexBlock));
    float* const at = keys.blocks.back().data() + keys.end % kIndexBlock;
    for (std::int64_t d = 0; d < dim_; ++d) at[d * kIndexBlock] = rows(r, d);
  }
}

/// @param scores  [positions seen]
void Indexer::score(std::span<const float> query, std::span<const float> weights,
                    const IndexKeys& keys, std::span<float> scores) const {
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dim_)));
  const auto seen = static_cast<std::int64_t>(scores.size());
  for (std::int64_t first = 0; first < seen; first += kIndexBlock) {
    const float* const block = keys.blocks[static_cast<std::size_t>(first / kIndexBlock)].data();
    std::array<float, kIndexBlock> sums{};
    for (std::int64_t h = 0; h < heads_; ++h) {
      std::array<float, kIndexBlock> products{};
      for (std::int64_t d = 0; d < dim_; ++d) {
        const float q = query[static_cast<std::size_t>(h * dim_ + d)];
        const float* const row = block + d * kIndexBlock;
        for (std::size_t t = 0; t < products.size(); ++t) products[t] += q * row[t];
      }
      const float weight = weights[static_cast<std::size_t>(h)];
      for (std::size_t t = 0; t < products.size(); ++t) {
        sums[t] += weight * std::max(products[t] * scale, 0.0F);
      }
    }
    std::copy_n(sums.begin(), std::min(kIndexBlock, seen - first),
                scores.begin() + static_cast<std::ptrdiff_t>(first));
  }
}

void Indexer::choose(experts::MatrixView<const float> x, experts::MatrixView<const float> latent,
                     std::int64_t first, const IndexKeys& keys,
                     experts::MatrixView<std::uint8_t> allowed) const {
  experts::Matrix queries = wq_.apply(latent);
  experts::Matrix weights = weights_.apply(x);
  const auto share = static_cast<float>(1 / std::sqrt(static_cast<double>(heads_)));
  Turn angles(rotary_);
  std::vector<float> scores;
  std::vector<std::int64_t> order;
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const std::int64_t seen = first + r + 1;
    if (seen <= topk_) {
      std::ranges::fill(allowed.row(r), std::uint8_t{1});
      continue;
    }
    turn(first + r, queries.row(r), angles);
    for (float& weight : weights.row(r)) weight *= share;
    scores.resize(static_cast<std::size_t>(seen));
    score(queries.row(r), weights.row(r), keys, scores);
    order.resize(scores.size());
    std::iota(order.begin(), order.end(), std::int64_t{0});
    const auto better = [&scores](std::int64_t a, std::int64_t b) {
      const float left = scores[static_cast<std::size_t>(a)];
      const float right = scores[static_cast<std::size_t>(b)];
      return left > right || (left == right && a < b);
    };
    const auto middle = order.begin() + static_cast<std::ptrdiff_t>(topk_);
    std::nth_element(order.begin(), middle, order.end(), better);
    std::ranges::fill(allowed.row(r), std::uint8_t{0});
    for (auto chosen = order.begin(); chosen != middle; ++chosen) allowed(r, *chosen) = 1;
  }
}
}  // namespace switchyard::runtime
