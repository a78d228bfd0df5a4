// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/stored.hpp"

#include <cerrno>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <system_error>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "experts/dtype.hpp"
#include "runtime/checkpoint/verify.hpp"
#include "tests/faults/memory_files.hpp"
#include "tests/runtime/store_state.hpp"

namespace {
using namespace switchyard;
using namespace switchyard::runtime;
using store_tests::State;
using testing::ElementsAre;
using testing::HasSubstr;

/// A step with two tensors of several blocks, each cut in both dimensions among four ranks.
class Stored : public testing::Test {
 protected:
  static constexpr std::int64_t kRows = 700;
  static constexpr std::int64_t kCols = 1200;
  const std::string folder_ = "/ckpt";
  faults::MemoryFiles files_;
  std::vector<float> values_ = std::vector<float>(kRows * kCols);

  void SetUp() override {
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i] = static_cast<float>(i) * 0.37F;
    comm::run_local(4, [&](comm::Group& group) {
      CheckpointStore store(group, files_, folder_, {.run_id = "r"});
      const TensorInfo tensor{.name = "matrix", .shape = {kRows, kCols}};
      const std::int64_t row = group.rank() / 2 * 300;
      const std::int64_t rows = row == 0 ? 300 : kRows - 300;
      const std::int64_t col = group.rank() % 2 * 1100;
      const std::int64_t cols = col == 0 ? 1100 : kCols - 1100;
      const Rectangle where{{row, col}, {rows, cols}};
      const std::vector<float> part = cut(where);
      const SavedPiece piece{tensor, where, std::as_bytes(std::span(part))};
      CheckpointInfo info;
      info.step = 5;
      ASSERT_TRUE(store.save(info, std::span(&piece, 1)).saved);
    });
  }

  [[nodiscard]] std::vector<float> cut(const Rectangle& where) const {
    std::vector<float> part;
    for (std::int64_t r = 0; r < where.extent[0]; ++r) {
      for (std::int64_t c = 0; c < where.extent[1]; ++c) {
        part.push_back(
            values_[static_cast<std::size_t>((where.offset[0] + r) * kCols + where.offset[1] + c)]);
      }
    }
    return part;
  }
};

TEST_F(Stored, AnyPartOfATensorIsReadFromWhateverPiecesItLiesIn) {
  StoredCheckpoint stored(files_, folder_, 5);
  for (const Rectangle& where : std::vector<Rectangle>{{{0, 0}, {kRows, kCols}},
                                                       {{0, 0}, {1, 1}},
                                                       {{299, 1099}, {2, 2}},
                                                       {{0, 1150}, {kRows, 3}},
                                                       {{650, 0}, {50, kCols}},
                                                       {{kRows - 1, kCols - 1}, {1, 1}},
                                                       {{10, 20}, {600, 1170}},
                                                       {{10, 20}, {0, 5}}}) {
    std::vector<float> got(static_cast<std::size_t>(where.elements()));
    stored.read("matrix", where, DataType::kFloat32, std::as_writable_bytes(std::span(got)));
    EXPECT_EQ(got, cut(where)) << where.offset[0] << ", " << where.offset[1];
  }
}

TEST_F(Stored, OnlyTheBlocksOfThePartAreRead) {
  StoredCheckpoint stored(files_, folder_, 5);
  std::vector<float> one(1);
  stored.read("matrix", {{0, 0}, {1, 1}}, DataType::kFloat32,
              std::as_writable_bytes(std::span(one)));
  EXPECT_EQ(stored.bytes_read(), kCheckpointBlock);
  // A column: one block of each piece that has several rows a block, none twice.
  std::vector<float> column(kRows);
  stored.read("matrix", {{0, 0}, {kRows, 1}}, DataType::kFloat32,
              std::as_writable_bytes(std::span(column)));
  const std::int64_t pieces = filled_bytes(300 * 1100 * 4) + filled_bytes(400 * 1100 * 4);
  EXPECT_LE(stored.bytes_read(), kCheckpointBlock + pieces);
}

TEST_F(Stored, NumbersComeInTheTypeThatIsAskedFor) {
  StoredCheckpoint stored(files_, folder_, 5);
  const Rectangle where{{200, 1000}, {200, 150}};
  const std::vector<float> want = cut(where);
  std::vector<std::uint16_t> narrow(want.size());
  stored.read("matrix", where, DataType::kBfloat16, std::as_writable_bytes(std::span(narrow)));
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(narrow[i], experts::narrow_bfloat16(want[i])) << i;
  }
  EXPECT_THROW(
      stored.read("matrix", where, DataType::kInt8, std::as_writable_bytes(std::span(narrow))),
      std::invalid_argument);
}

TEST_F(Stored, AFlippedBitIsNamedByTensorFileBlockAndByte) {
  auto& bytes = *files_.bytes_of("/ckpt/step-000000000005/shard-00002-of-00004.sy");
  bytes[4096 + (1 << 20) + 17] ^= std::byte{4};
  StoredCheckpoint stored(files_, folder_, 5);
  std::vector<float> all(values_.size());
  try {
    stored.read("matrix", std::as_writable_bytes(std::span(all)));
    FAIL() << "read";
  } catch (const DamagedCheckpoint& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("step 5: shard-00002-of-00004.sy: tensor matrix: block 1, at "
                          "byte 1052672: checksum "));
  }
  std::vector<float> elsewhere(300);  // what does not need the block is still good
  stored.read("matrix", {{0, 0}, {1, 300}}, DataType::kFloat32,
              std::as_writable_bytes(std::span(elsewhere)));
}

TEST_F(Stored, ATensorThatIsNotThereOrAPartBeyondItIsRefused) {
  StoredCheckpoint stored(files_, folder_, 5);
  std::vector<float> room(10);
  const auto to = std::as_writable_bytes(std::span(room));
  EXPECT_THROW(stored.read("other", to), std::invalid_argument);
  EXPECT_THROW(stored.read("matrix", {{0, kCols - 9}, {1, 10}}, DataType::kFloat32, to),
               std::invalid_argument);
  EXPECT_THROW(stored.read("matrix", {{-1, 0}, {1, 10}}, DataType::kFloat32, to),
               std::invalid_argument);
  EXPECT_THROW(stored.read("matrix", {{0, 0}, {1, 9}}, DataType::kFloat32, to),
               std::invalid_argument);
}

/// Writes a snapshot of some MiB. @return  what went past the page cache
std::int64_t save_large(faults::MemoryFiles& files) {
  constexpr std::int64_t kWidth = 30'000;
  const State state(1, kWidth);
  {
    const auto group = comm::solo_group();
    CheckpointStore store(*group, files, "/ckpt", {.run_id = "r", .read_back = true});
    store.begin(state.info(), state.pieces(*group));
    const auto result = store.finish();
    EXPECT_TRUE(result->saved) << result->problem;
  }
  StoredCheckpoint stored(files, "/ckpt", 1);
  EXPECT_EQ(state.differences(stored), "");
  return files.direct_bytes();
}

TEST(SavedPastThePageCache, IsASnapshotButForItsEnds) {
  faults::MemoryFiles files;
  const std::int64_t direct = save_large(files);
  const auto size = static_cast<std::int64_t>(
      files.bytes_of("/ckpt/step-000000000001/shard-00000-of-00001.sy")->size());
  EXPECT_GT(direct, size - 3 * std::int64_t{kDirectAlignment});
  EXPECT_LT(direct, size);
}

TEST(SavedPastThePageCache, GoesOnWithoutWhereItIsCutShort) {
  faults::MemoryFiles files;
  files.most_bytes_a_write(999'999);
  EXPECT_GT(save_large(files), 0);
}

TEST(SavedPastThePageCache, GoesOnWithoutWhereTheFileSystemCannot) {
  faults::MemoryFiles files;
  files.trouble(
      [](const std::string& call, const std::string&) { return call == "direct" ? EINVAL : 0; });
  EXPECT_EQ(save_large(files), 0);
}

/// Three good steps, newest 3.
class Newest : public testing::Test {
 protected:
  const std::string folder_ = "/ckpt";
  faults::MemoryFiles files_;
  std::vector<std::string> notes_;

  void SetUp() override {
    comm::run_local(2, [&](comm::Group& group) {
      CheckpointStore store(group, files_, folder_, {.run_id = "r", .keep = 3});
      for (std::int64_t step = 1; step <= 3; ++step) {
        const State state(step);
        ASSERT_TRUE(store.save(state.info(), state.pieces(group)).saved);
      }
    });
  }
  void damage(std::int64_t step, const std::string& file, std::size_t at) {
    (*files_.bytes_of(folder_ + "/" + step_name(step) + "/" + file))[at] ^= std::byte{1};
  }
  /// The step that three ranks agree on; -1: none was ever saved.
  std::int64_t load(const std::function<void(comm::Group&, StoredCheckpoint&)>& read) {
    std::int64_t step = -1;
    comm::run_local(3, [&](comm::Group& group) {
      const auto loaded = load_newest(
          group, files_, folder_, [&](const std::string& note) { notes_.push_back(note); },
          [&](StoredCheckpoint& stored) { read(group, stored); });
      if (group.rank() == 0 && loaded) step = loaded->info().step;
    });
    return step;
  }
  static void read_all(comm::Group&, StoredCheckpoint& stored) {
    EXPECT_EQ(State(stored.info().step).differences(stored), "");
  }
};

TEST_F(Newest, WhatIsDamagedForOneRankIsSkippedByAllWithOneLine) {
  damage(3, "shard-00001-of-00002.sy", 5000);
  const auto read = [](comm::Group& group, StoredCheckpoint& stored) {
    if (group.rank() == 2) read_all(group, stored);  // the others read nothing of it
  };
  EXPECT_EQ(load(read), 2);
  ASSERT_EQ(notes_.size(), 1U);
  EXPECT_THAT(notes_[0], HasSubstr("skip step 3: shard-00001-of-00002.sy: tensor "));
}

TEST_F(Newest, AFileThatIsGoneIsDamageWhicheverRankIsTheFirstToWantIt) {
  ASSERT_EQ(files_.unlink(folder_ + "/" + step_name(3) + "/shard-00001-of-00002.sy"), 0);
  const auto read = [](comm::Group& group, StoredCheckpoint& stored) {
    if (group.rank() != 1) read_all(group, stored);  // that one looks whether it is there
  };
  EXPECT_EQ(load(read), 2);
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("skip step 3: shard-00001-of-00002.sy: missing")));
}

TEST_F(Newest, AManifestCutShortIsSkipped) {
  files_.bytes_of(folder_ + "/" + step_name(3) + "/MANIFEST")->resize(40);
  EXPECT_EQ(load(read_all), 2);
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("skip step 3: MANIFEST: size 40, want ")));
}

TEST_F(Newest, NoneGoodIsAnErrorAndNotAStartFromNothing) {
  for (std::int64_t step = 1; step <= 3; ++step) damage(step, "MANIFEST", 20);
  try {
    load(read_all);
    FAIL() << "loaded";
  } catch (const comm::CollectiveError& error) {
    EXPECT_EQ(error.status(), 2);
    EXPECT_THAT(error.what(), HasSubstr("3 saved steps, none of them good"));
  }
  EXPECT_EQ(notes_.size(), 3U);
}

TEST_F(Newest, NothingSavedIsNoError) {
  faults::MemoryFiles empty;
  comm::run_local(2, [&](comm::Group& group) {
    EXPECT_FALSE(load_newest(group, empty, folder_, {}, [](StoredCheckpoint&) {}));
  });
}

TEST_F(Newest, AShardOfAnotherStepIsKnownByItsHeader) {
  const std::string name = "/shard-00000-of-00002.sy";
  *files_.bytes_of(folder_ + "/" + step_name(3) + name) =
      *files_.bytes_of(folder_ + "/" + step_name(2) + name);
  EXPECT_EQ(load(read_all), 2);
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("header: step 2, want 3")));
}

TEST_F(Newest, WhatTheLoaderThrowsEndsTheSearch) {
  const auto refuse = [](comm::Group& group, StoredCheckpoint&) {
    if (group.rank() == 1) throw std::invalid_argument("another model");
  };
  try {
    load(refuse);
    FAIL() << "loaded";
  } catch (const comm::CollectiveError& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 1: another model"));
  }
  EXPECT_TRUE(notes_.empty());
}

TEST_F(Newest, VerifySaysWhichTensorsAreStillGood) {
  damage(2, "shard-00000-of-00002.sy", 4096);
  const auto steps = saved_steps(files_, folder_);
  ASSERT_EQ(steps.size(), 3U);
  EXPECT_TRUE(verify_checkpoint(files_, folder_, steps[0]).good());
  EXPECT_EQ(steps[1], 2);
  std::int64_t done = 0;
  std::int64_t all = 0;
  const StepVerdict verdict =
      verify_checkpoint(files_, folder_, 2, [&](std::int64_t now, std::int64_t of) {
        EXPECT_GT(now, done);
        EXPECT_LE(now, of);
        done = now;
        all = of;
      });
  EXPECT_EQ(done, all);
  ASSERT_EQ(verdict.findings.size(), 1U);
  EXPECT_EQ(verdict.findings[0].part, "data");
  EXPECT_EQ(verdict.findings[0].block, 0);
  EXPECT_EQ(verdict.good_tensors, verdict.tensors - 1);
}
}  // namespace
