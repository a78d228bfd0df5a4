// SPDX-License-Identifier: Apache-2.0
// Whole layers between threads that play the ranks, with threads of their own: what the thread
// sanitizer is to see.
#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <vector>

#include "comm/group/local_group.hpp"
#include "experts/synthetic.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/run/token_source.hpp"
#include "tests/runtime/small_block.hpp"

namespace switchyard::runtime {
namespace {
using experts::Matrix;

constexpr std::int64_t kTokens = 41;

/// The whole batch, three steps one after the other, over `ranks` threads.
Matrix outputs(int ranks, const LayerOptions& options, int ranks_per_node = 0) {
  const auto block = tests::small_block(20, 12, 7);
  Matrix all(kTokens, block.router.hidden);
  comm::run_local(ranks, [&](comm::Group& group) {
    if (ranks_per_node > 0) group.play_nodes(ranks_per_node);
    experts::SyntheticSource source(block, 3, 0, false, false);
    MoeLayer layer(group, block, source, Placement::round_robin(7, group.size()), options);
    const auto share = share_of(kTokens, group.rank(), group.size());
    Matrix tokens(share.count, block.router.hidden);
    experts::fill_tokens(3, 0, share.first, tokens.view());
    for (int step = 0; step < 3; ++step) tokens = layer.forward(tokens.view());
    std::copy_n(tokens.data(), tokens.rows() * tokens.cols(),
                all.view().slice(share.first, share.count).data);
  });
  return all;
}

class LocalLayer : public testing::TestWithParam<const char*> {};

TEST_P(LocalLayer, HasTheBitsOfOneRankWithAnyNumberOfThreads) {
  const Matrix want = outputs(1, {});
  for (const int ranks : {2, 3, 5}) {
    LayerOptions options;
    options.transport = GetParam();
    options.threads = 2;
    options.chunk_tokens = 4;
    const Matrix got = outputs(ranks, options);
    EXPECT_EQ(std::memcmp(got.data(), want.data(),
                          static_cast<std::size_t>(want.rows() * want.cols()) * sizeof(float)),
              0)
        << ranks << " ranks";
  }
}
// 3 ranks, 2 a node: one rank is alone on its node, and once did not join in sharing weights.
TEST(UnevenNodes, HaveTheBitsOfOneRankWithTheNodeQueue) {
  const Matrix want = outputs(1, {});
  for (const int ranks : {3, 5}) {
    LayerOptions options;
    options.transport = "two-level";
    const Matrix got = outputs(ranks, options, 2);
    EXPECT_EQ(std::memcmp(got.data(), want.data(),
                          static_cast<std::size_t>(want.rows() * want.cols()) * sizeof(float)),
              0)
        << ranks << " ranks";
  }
}
INSTANTIATE_TEST_SUITE_P(Transports, LocalLayer, testing::Values("local", "p2p"),
                         [](const auto& name) { return std::string(name.param); });
}  // namespace
}  // namespace switchyard::runtime
