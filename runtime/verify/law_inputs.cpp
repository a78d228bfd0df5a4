// SPDX-License-Identifier: Apache-2.0
#include "runtime/verify/law_inputs.hpp"

#include <algorithm>
#include <limits>

namespace switchyard::runtime {
LawSource::LawSource(const LawCase& law)
    : inner_(law.block, law.seed, 0, law.router_bias, law.selection_bias),
      hidden_experts_(law.hidden_experts),
      all_experts_(law.block.router.all_experts()) {}

experts::RouterTensors LawSource::router() {
  auto tensors = inner_.router();
  // Every third expert first, so that hidden ones stand between visible ones.
  std::int64_t left = hidden_experts_;
  for (std::int64_t start = 0; start < 3; ++start) {
    for (std::int64_t e = start; e < all_experts_ && left > 0; e += 3, --left) {
      tensors.bias[static_cast<std::size_t>(e)] = -std::numeric_limits<float>::infinity();
    }
  }
  return tensors;
}

experts::Matrix law_tokens(const LawCase& law, std::int64_t first, std::int64_t count) {
  experts::Matrix tokens(count, law.block.router.hidden);
  if (law.token_kind == TokenKind::kZero) return tokens;
  if (law.token_kind == TokenKind::kEqual) {
    for (std::int64_t t = 0; t < count; ++t) {
      experts::fill_tokens(law.seed, 0, 0, tokens.view().slice(t, 1));
    }
    return tokens;
  }
  experts::fill_tokens(law.seed, 0, first, tokens.view());
  if (law.token_kind == TokenKind::kSkewed) {
    // Three parts of one common direction to one part of its own: most tokens agree on experts.
    experts::Matrix common(1, tokens.cols());
    experts::fill_tokens(law.seed, 1, 0, common.view());
    for (std::int64_t t = 0; t < count; ++t) {
      for (std::int64_t c = 0; c < tokens.cols(); ++c) {
        tokens(t, c) = 0.75F * common(0, c) + 0.25F * tokens(t, c);
      }
    }
  }
  return tokens;
}
}  // namespace switchyard::runtime
