// SPDX-License-Identifier: Apache-2.0
/// @file
/// What store_test proves of threads, once more of processes.
#include <cstdlib>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "comm/group/collective.hpp"
#include "comm/group/mpi_group.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "tests/runtime/store_state.hpp"

namespace {
using namespace switchyard;
using namespace switchyard::runtime;
using store_tests::State;
using testing::ElementsAre;
using testing::HasSubstr;

/// A folder of rank 0's, known to all.
class StoreOfProcesses : public testing::Test {
 protected:
  std::unique_ptr<comm::MpiGroup> group_ = comm::MpiGroup::world(std::chrono::seconds(20));
  std::unique_ptr<FileSystem> files_ = posix_file_system();
  std::string folder_;

  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "switchyard-XXXXXX").string();
    if (group_->rank() == 0) {
      ASSERT_NE(::mkdtemp(name.data()), nullptr);
    }
    const auto all = comm::broadcast(*group_, std::as_bytes(std::span(name)));
    folder_.assign(reinterpret_cast<const char*>(all.data()), all.size());
  }
  void TearDown() override {
    comm::barrier(*group_);
    std::error_code ignored;
    if (group_->rank() == 0) std::filesystem::remove_all(folder_, ignored);
  }
};

TEST_F(StoreOfProcesses, SavesWhileStepsGoOnAndReadsItAgain) {
  CheckpointStore store(*group_, *files_, folder_ + "/a/b", {.run_id = "r"});
  store.reserve(100'000);
  for (std::int64_t step = 1; step <= 4; ++step) {
    const State state(step);
    if (step % 2 == 0) {
      EXPECT_TRUE(store.save(state.info(), state.pieces(*group_)).saved);
      continue;
    }
    group_->deadline().phase("route");
    store.begin(state.info(), state.pieces(*group_));
    std::optional<SaveResult> result;
    for (int i = 0; i < 20; ++i) {  // steps, while it lasts on some ranks and not on others
      if (!result) result = store.poll();
      comm::barrier(*group_);
    }
    while (!result) result = store.poll();
    EXPECT_TRUE(result->saved) << result->problem;
    EXPECT_EQ(group_->deadline().position().phase, "route");
    comm::barrier(*group_);
  }
  store.tidy();
  comm::barrier(*group_);  // rank 0 has taken the old ones away
  EXPECT_THAT(saved_steps(*files_, store.directory()), ElementsAre(4, 3));
  const auto loaded =
      load_newest(*group_, *files_, store.directory(), {},
                  [](StoredCheckpoint& stored) { EXPECT_EQ(State(4).differences(stored), ""); });
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->info().writer_world, group_->size());
}

TEST_F(StoreOfProcesses, WhatOneRankCannotSaveNobodySavesAndTheNextSaveIsGood) {
  std::vector<std::string> notes;
  CheckpointStore store(
      *group_, *files_, folder_ + "/c",
      {.run_id = "r", .note = [&](const std::string& words) { notes.push_back(words); }});
  const State state(1);
  store.begin(state.info(), state.pieces(*group_));
  EXPECT_TRUE(store.finish()->saved);
  const int last = group_->size() - 1;
  const State next(2);
  std::vector<SavedPiece> pieces = next.pieces(*group_);
  if (group_->rank() == last) pieces.push_back(pieces.front());  // an element twice
  EXPECT_ANY_THROW(static_cast<void>(store.save(next.info(), pieces)));
  EXPECT_TRUE(store.save(next.info(), next.pieces(*group_)).saved);
  EXPECT_TRUE(notes.empty());
}
}  // namespace
