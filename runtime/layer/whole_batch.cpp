// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/whole_batch.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "comm/group/collective.hpp"

namespace switchyard::runtime {
namespace {
template <class T>
std::vector<T> joined(comm::Group& group, std::span<const T> mine) {
  std::vector<T> all;
  for (const auto& part : comm::allgather_values<T>(group, mine)) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

experts::Matrix joined(comm::Group& group, const experts::Matrix& mine, std::int64_t rows,
                       std::int64_t cols) {
  const auto count = static_cast<std::size_t>(mine.rows() * mine.cols());
  const auto values = joined<float>(group, std::span(mine.data(), count));
  experts::Matrix all(rows, cols);
  std::copy(values.begin(), values.end(), all.data());
  return all;
}
}  // namespace

experts::Routing decide_whole_batch(comm::Group& group, const experts::RouterSpec& spec,
                                    experts::Routing mine) {
  // Slots of each token rather than offsets: they can be joined as they are.
  std::vector<std::int64_t> sizes;
  for (std::int64_t t = 0; t < mine.tokens(); ++t) {
    const auto i = static_cast<std::size_t>(t);
    sizes.push_back(mine.offsets[i + 1] - mine.offsets[i]);
  }
  const std::int64_t tokens = mine.tokens();
  const auto counts = comm::allgather_values<std::int64_t>(group, std::span(&tokens, 1));
  std::int64_t first = 0;
  for (int r = 0; r < group.rank(); ++r) first += counts[static_cast<std::size_t>(r)][0];

  experts::Routing whole;
  for (const std::int64_t size : joined<std::int64_t>(group, sizes)) {
    whole.offsets.push_back(whole.offsets.back() + size);
  }
  whole.experts = joined<std::int32_t>(group, mine.experts);
  whole.weights = joined<float>(group, mine.weights);
  whole.logits = joined(group, mine.logits, whole.tokens(), spec.all_experts());
  whole.scores = joined(group, mine.scores, whole.tokens(), spec.all_experts());

  experts::apply_batch_rule(spec, whole);

  const std::int64_t begin = whole.offsets[static_cast<std::size_t>(first)];
  const std::int64_t end = whole.offsets[static_cast<std::size_t>(first + tokens)];
  mine.offsets.clear();
  for (std::int64_t t = first; t <= first + tokens; ++t) {
    mine.offsets.push_back(whole.offsets[static_cast<std::size_t>(t)] - begin);
  }
  mine.experts.assign(whole.experts.begin() + begin, whole.experts.begin() + end);
  mine.weights.assign(whole.weights.begin() + begin, whole.weights.begin() + end);
  return mine;
}
}  // namespace switchyard::runtime
