// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/store.hpp"

#include <atomic>
#include <filesystem>
#include <future>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "runtime/checkpoint/verify.hpp"
#include "runtime/faults/faulty_files.hpp"
#include "tests/runtime/store_state.hpp"

namespace {
using namespace switchyard;
using namespace switchyard::runtime;
using store_tests::State;
using testing::ElementsAre;
using testing::HasSubstr;

class Store : public testing::Test {
 protected:
  std::unique_ptr<FileSystem> files_ = posix_file_system();
  tests::TempFolder temporary_;
  std::string folder_ = (temporary_.path() / "ckpt").string();

  /// Saves step 1, 2, ... `last` of a state on so many ranks.
  void save_steps(int ranks, std::int64_t last, int keep = 2) {
    comm::run_local(ranks, [&](comm::Group& group) {
      CheckpointStore store(group, *files_, folder_, {.run_id = "r", .keep = keep});
      for (std::int64_t step = 1; step <= last; ++step) {
        const State state(step);
        const SaveResult result = store.save(state.info(), state.pieces(group));
        EXPECT_TRUE(result.saved) << result.problem;
      }
    });
  }
};

TEST_F(Store, WhatWasSavedOnSoManyRanksIsReadBitEqualOnAnyOther) {
  for (const int writers : {1, 3, 4}) {
    save_steps(writers, 2);
    for (const int readers : {1, 2, 5}) {
      comm::run_local(readers, [&](comm::Group& group) {
        const auto loaded = load_newest(group, *files_, folder_, {}, [&](StoredCheckpoint& c) {
          EXPECT_EQ(State(2).differences(c), "") << writers << " to " << readers;
        });
        ASSERT_TRUE(loaded);
        EXPECT_EQ(loaded->info().step, 2);
        EXPECT_EQ(loaded->info().writer_world, writers);
        EXPECT_EQ(loaded->info().counters, State(2).info().counters);
        EXPECT_EQ(loaded->info().load, State(2).info().load);
        EXPECT_EQ(loaded->info().experts_of, State(2).info().experts_of);
      });
    }
  }
}

TEST_F(Store, AnySaveWhileStepsGoOnSavesWhatWasThereWhenItBegan) {
  comm::run_local(3, [&](comm::Group& group) {
    CheckpointStore store(group, *files_, folder_, {.run_id = "r"});
    State state(1);
    store.begin(state.info(), state.pieces(group));
    state = State(7);  // the step after
    EXPECT_TRUE(store.saving());
    std::optional<SaveResult> result;
    while (!(result = store.poll())) std::this_thread::yield();
    EXPECT_TRUE(result->saved) << result->problem;
    EXPECT_FALSE(store.saving());
    comm::agree(group, {});
    const auto loaded = load_newest(group, *files_, folder_, {}, [&](StoredCheckpoint& c) {
      EXPECT_EQ(State(1).differences(c), "");
    });
    EXPECT_TRUE(loaded);
  });
}

TEST_F(Store, TheNewestStaySoManyAndAPinnedOne) {
  save_steps(2, 5, 3);
  EXPECT_THAT(saved_steps(*files_, folder_), ElementsAre(5, 4, 3));
  comm::run_local(2, [&](comm::Group& group) {
    CheckpointStore store(group, *files_, folder_, {.run_id = "r", .keep = 2});
    store.pin(3);
    const State state(6);
    EXPECT_TRUE(store.save(state.info(), state.pieces(group)).saved);
  });
  EXPECT_THAT(saved_steps(*files_, folder_), ElementsAre(6, 5, 3));
}

TEST_F(Store, ADamagedStepIsNotOneOfTheGoodOnesThatStay) {
  save_steps(1, 3, 3);
  std::filesystem::resize_file(folder_ + "/" + step_name(3) + "/MANIFEST", 40);
  comm::run_local(2, [&](comm::Group& group) {
    CheckpointStore store(group, *files_, folder_, {.run_id = "r", .keep = 2});
    const State state(4);
    EXPECT_TRUE(store.save(state.info(), state.pieces(group)).saved);
  });
  EXPECT_THAT(saved_steps(*files_, folder_), ElementsAre(4, 3, 2));
}

TEST_F(Store, ASaveCountsBeforeOlderStepsHaveGone) {
  save_steps(1, 2);
  std::promise<void> told;
  std::future<void> heard = told.get_future();
  std::atomic<bool> removed = false;
  const auto slow = with_faults(posix_file_system(), [&](std::string_view call) {
    constexpr std::chrono::seconds kLong(10);
    if (call == "unlink" && !removed) {
      heard.wait_for(kLong);
      removed = true;
    }
    return 0;
  });
  const auto group = comm::solo_group();
  {
    CheckpointStore store(*group, *slow, folder_, {.run_id = "r"});
    const State state(3);
    EXPECT_TRUE(store.save(state.info(), state.pieces(*group)).saved);
    EXPECT_FALSE(store.saving());
    EXPECT_FALSE(removed);
    told.set_value();
    store.tidy();
    EXPECT_TRUE(removed);
    const State next(4);
    EXPECT_TRUE(store.save(next.info(), next.pieces(*group)).saved);
  }  // its end waits for step 2 to go
  std::vector<std::string> names;
  ASSERT_EQ(files_->list(folder_, names), 0);
  EXPECT_THAT(names, testing::UnorderedElementsAre("LOCK", step_name(3), step_name(4)));
}

TEST_F(Store, AFreshRunTakesTheStepsOfOthersAwayOnceItHasSavedOneItself) {
  save_steps(1, 9);
  // So that the save has long been told when its thread looks at the steps.
  const auto slow = with_faults(posix_file_system(), [](std::string_view call) {
    if (call == "open") std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return 0;
  });
  comm::run_local(2, [&](comm::Group& group) {
    CheckpointStore store(group, *slow, folder_, {.run_id = "new", .fresh = true});
    State state(4);
    CheckpointInfo info = state.info();
    info.run_id = "new";
    EXPECT_TRUE(store.save(info, state.pieces(group)).saved);
  });
  EXPECT_THAT(saved_steps(*files_, folder_), ElementsAre(4));
}

TEST_F(Store, ASecondJobIsRefusedWithTheNameOfTheFirst) {
  const auto group = comm::solo_group();
  const CheckpointStore first(*group, *files_, folder_, {.run_id = "the-first"});
  try {
    const CheckpointStore second(*group, *files_, folder_, {.run_id = "second"});
    FAIL() << "two jobs hold it";
  } catch (const comm::CollectiveError& error) {
    EXPECT_EQ(error.status(), 2);
    EXPECT_THAT(error.what(), HasSubstr("is held by run the-first, pid"));
  }
}

TEST_F(Store, ANewStartHasAHigherIncarnation) {
  const auto group = comm::solo_group();
  for (const std::uint64_t want : {1U, 2U, 3U}) {
    EXPECT_EQ(CheckpointStore(*group, *files_, folder_, {}).incarnation(), want);
  }
  EXPECT_EQ(CheckpointStore(*group, *files_, folder_, {.incarnation = 9}).incarnation(), 9U);
}

TEST_F(Store, AnElementSavedTwiceEndsTheRunOnAllRanks) {
  comm::run_local(2, [&](comm::Group& group) {
    CheckpointStore store(group, *files_, folder_, {});
    const State state(1);
    try {
      store.save(state.info(), state.all_pieces());  // on both ranks
      ADD_FAILURE() << "saved twice";
    } catch (const comm::CollectiveError& error) {
      EXPECT_EQ(error.status(), 2);
      EXPECT_THAT(error.what(), HasSubstr("pieces overlap"));
    }
  });
  EXPECT_THAT(saved_steps(*files_, folder_), ElementsAre());
}

TEST_F(Store, AGoodStepOfAnotherRunIsKeptUnlessItMayGo) {
  save_steps(2, 2);
  comm::run_local(2, [&](comm::Group& group) {
    CheckpointStore store(group, *files_, folder_, {.run_id = "r"});
    const State same(2);
    EXPECT_TRUE(store.save(same.info(), same.pieces(group)).saved);
    State other(3);
    CheckpointInfo info = other.info();
    info.step = 2;
    info.run_id = "other";
    try {
      store.save(info, other.pieces(group));
      ADD_FAILURE() << "replaced";
    } catch (const comm::CollectiveError& error) {
      EXPECT_THAT(error.what(), HasSubstr("exists, is good, and is of another run"));
    }
  });
  comm::run_local(2, [&](comm::Group& group) {
    CheckpointStore store(group, *files_, folder_, {.run_id = "r", .overwrite = true});
    State other(3);
    CheckpointInfo info = other.info();
    info.step = 2;
    EXPECT_TRUE(store.save(info, other.pieces(group)).saved);
  });
  StoredCheckpoint stored(*files_, folder_, 2);
  EXPECT_EQ(State(3).differences(stored), "");
}
}  // namespace
