// SPDX-License-Identifier: Apache-2.0
// After a few steps a layer needs nothing more: not a byte from the heap, no lock, no protobuf.
#include <algorithm>
#include <barrier>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <new>
#include <pthread.h>
#include <string>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "comm/group/mpi_group.hpp"
#include "experts/synthetic.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "tests/runtime/counted.hpp"
#include "tests/runtime/small_block.hpp"

namespace switchyard::runtime {
namespace {
using experts::Matrix;

constexpr int kSteps = 4;

struct Setting {
  std::string name;
  std::string transport;
  bool holds = true;  ///< false: not yet, and the test says how far it is
  std::function<void(experts::BlockSpec&, LayerOptions&)> change = {};
};

void PrintTo(const Setting& setting, std::ostream* out) {
  *out << setting.name;
}

/// Steps of one rank: a few to get warm, and some that are counted.
class Steps {
 public:
  Steps(comm::Group& group, const Setting& setting) {
    auto block = tests::small_block(32, 24, 9);
    LayerOptions options;
    options.transport = setting.transport;
    if (setting.change) setting.change(block, options);
    timeline_ = std::make_unique<Timeline>(options.threads, 4096);
    options.timeline = timeline_.get();
    experts::SyntheticSource source(block, 3, 0, false, false);
    const auto placement = Placement::round_robin(block.router.experts, group.size());
    layer_ = std::make_unique<MoeLayer>(group, block, source, placement, options);
    tokens_ = Matrix(group.rank() == 1 ? 0 : 13 + group.rank(), block.router.hidden);
    experts::fill_tokens(3, 0, 100 * group.rank(), tokens_.view());
    out_ = Matrix(tokens_.rows(), tokens_.cols());
    group.deadline().record(timeline_.get());
    for (int step = 0; step < 3; ++step) take();
  }

  void take() { layer_->forward(std::as_const(tokens_).view(), out_.view()); }

 private:
  std::unique_ptr<Timeline> timeline_;
  std::unique_ptr<MoeLayer> layer_;
  Matrix tokens_;
  Matrix out_;
};

bool one_thread(const Setting& setting) {
  auto block = tests::small_block(32, 24, 9);
  LayerOptions options;
  if (setting.change) setting.change(block, options);
  return options.threads == 1;  // several are woken by a lock, once a phase
}

void expect_nothing(const Setting& setting) {
  tests::counters().on = false;
  const std::int64_t allocations = tests::counters().allocations;
  const std::int64_t locks = tests::counters().locks_matter ? tests::counters().locks.load() : 0;
  const std::int64_t protobufs = tests::counters().protobufs;
  if (!setting.holds) {
    GTEST_SKIP() << "not yet: " << allocations << " allocations, " << locks << " locks, "
                 << protobufs << " protobufs in " << kSteps << " steps";
  }
  EXPECT_EQ(allocations, 0) << tests::counters().who();
  EXPECT_EQ(locks, 0) << tests::counters().who();
  EXPECT_EQ(protobufs, 0) << tests::counters().who();
}

void in_chunks(experts::BlockSpec& /*block*/, LayerOptions& options) {
  options.chunk_tokens = 4;
}
void with_threads(experts::BlockSpec& /*block*/, LayerOptions& options) {
  options.threads = 2;
}
void with_gates_on_the_input(experts::BlockSpec& block, LayerOptions& /*options*/) {
  block.router.gate_on = experts::GateOn::kInput;
}
void with_bfloat16(experts::BlockSpec& /*block*/, LayerOptions& options) {
  options.stored = experts::DType::kBfloat16;
}

class OverMpi : public testing::TestWithParam<Setting> {};

TEST_P(OverMpi, AWarmStepTakesNothing) {
  const Setting& setting = GetParam();
  tests::counters().locks_matter = one_thread(setting);
  const auto group = comm::MpiGroup::world();
  if (setting.transport == "two-level") group->play_nodes(1);  // each a node: all rows are messages
  Steps steps(*group, setting);
  comm::barrier(*group);
  tests::counters().start();
  for (int step = 0; step < kSteps; ++step) steps.take();
  tests::counters().on = false;
  comm::barrier(*group);
  group->deadline().record(nullptr);
  expect_nothing(setting);
}
INSTANTIATE_TEST_SUITE_P(
    Settings, OverMpi,
    testing::Values(Setting{"node", "node"}, Setting{"node_chunks", "node", true, in_chunks},
                    Setting{"node_threads", "node", true, with_threads},
                    Setting{"node_gates", "node", true, with_gates_on_the_input},
                    Setting{"node_bfloat16", "node", true, with_bfloat16}, Setting{"p2p", "p2p"},
                    Setting{"p2p_chunks", "p2p", true, in_chunks},
                    Setting{"two_level", "two-level"},
                    Setting{"two_level_chunks", "two-level", true, in_chunks},
                    Setting{"alltoallv", "alltoallv"}),
    [](const auto& setting) { return setting.param.name; });

class BetweenThreads : public testing::TestWithParam<Setting> {};

TEST_P(BetweenThreads, AWarmStepTakesNothing) {
  const Setting& setting = GetParam();
  tests::counters().locks_matter = one_thread(setting);
  constexpr int kRanks = 3;
  std::barrier<> together(kRanks);
  comm::run_local(kRanks, [&](comm::Group& group) {
    Steps steps(group, setting);
    together.arrive_and_wait();
    if (group.rank() == 0) tests::counters().start();
    together.arrive_and_wait();
    for (int step = 0; step < kSteps; ++step) steps.take();
    together.arrive_and_wait();
    if (group.rank() == 0) tests::counters().on = false;
    together.arrive_and_wait();
    group.deadline().record(nullptr);
  });
  expect_nothing(setting);
}
INSTANTIATE_TEST_SUITE_P(Settings, BetweenThreads,
                         testing::Values(Setting{"node", "node"}, Setting{"local", "local", false},
                                         Setting{"local_chunks", "local", false, in_chunks},
                                         Setting{"local_threads", "local", false, with_threads}),
                         [](const auto& setting) { return setting.param.name; });

TEST(Counting, SeesWhatItIsThereToSee) {
  tests::counters().locks_matter = true;
  tests::counters().start();
  ::operator delete(::operator new(64));  // as functions, or the compiler may leave them out
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&mutex);
  pthread_mutex_unlock(&mutex);
  tests::counters().on = false;
  EXPECT_EQ(tests::counters().allocations, 1);
  EXPECT_EQ(tests::counters().locks, 1);
  EXPECT_NE(tests::counters().who().find("from"), std::string::npos);
}
}  // namespace
}  // namespace switchyard::runtime
