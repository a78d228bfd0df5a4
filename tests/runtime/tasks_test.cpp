// SPDX-License-Identifier: Apache-2.0
/// @file
/// How work is cut into tasks, without anybody who does it.
#include "runtime/layer/tasks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <random>

namespace switchyard::runtime {
namespace {

std::vector<JobShape> jobs_of(std::initializer_list<std::int64_t> rows) {
  std::vector<JobShape> jobs;
  for (const std::int64_t count : rows) {
    jobs.push_back({.rows = count, .up_parts = 32, .down_parts = 64, .stage = 0});
  }
  return jobs;
}

double cost_of_task(const Task& task, const JobShape& job) {
  const double whole = cost_of(job.rows);
  const double parts = task.end - task.first;
  if (task.kind == TaskKind::kWhole) return whole;
  if (task.kind == TaskKind::kUp) {
    return whole * 2 / 3 * parts / static_cast<double>(job.up_parts);
  }
  return whole / 3 * parts / static_cast<double>(job.down_parts);
}

/// Every part of every job is in exactly one task, second halves after all first ones.
void expect_complete(const TaskCutter& cutter, const std::vector<JobShape>& jobs, int stages) {
  std::map<std::int32_t, std::vector<int>> ups;
  std::map<std::int32_t, std::vector<int>> downs;
  std::map<std::int32_t, int> wholes;
  int stage = 0;
  for (std::size_t i = 0; i < cutter.tasks().size(); ++i) {
    const Task& task = cutter.tasks()[i];
    const JobShape& job = jobs[static_cast<std::size_t>(task.job)];
    while (static_cast<std::int64_t>(i) >=
           cutter.stage_offsets()[static_cast<std::size_t>(stage) + 1]) {
      ++stage;
    }
    EXPECT_EQ(job.stage, stage);
    if (task.kind == TaskKind::kWhole) ++wholes[task.job];
    auto& seen = task.kind == TaskKind::kUp ? ups[task.job] : downs[task.job];
    seen.resize(
        static_cast<std::size_t>(task.kind == TaskKind::kUp ? job.up_parts : job.down_parts));
    for (std::int32_t part = task.first; part < task.end; ++part) {
      ++seen[static_cast<std::size_t>(part)];
    }
    if (task.kind == TaskKind::kDown) {
      EXPECT_THAT(ups[task.job], ::testing::Each(1)) << "a second half before a first one";
    }
  }
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    const auto job = static_cast<std::int32_t>(j);
    if (wholes[job] == 1) {
      EXPECT_EQ(cutter.up_tasks()[j], 0);
      continue;
    }
    EXPECT_EQ(wholes[job], 0);
    EXPECT_GT(cutter.up_tasks()[j], 0);
    EXPECT_THAT(downs[job], ::testing::Each(1));
    EXPECT_EQ(downs[job].size(), static_cast<std::size_t>(jobs[j].down_parts));
  }
  EXPECT_EQ(cutter.stage_offsets().size(), static_cast<std::size_t>(stages) + 1);
}

TEST(Tasks, OfOneThreadAreWholeJobsInTheOrderOfExperts) {
  TaskCutter cutter;
  cutter.cut(jobs_of({1, 500, 3}), 1, 1);
  ASSERT_EQ(cutter.tasks().size(), 3U);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(cutter.tasks()[static_cast<std::size_t>(i)].job, i);
    EXPECT_EQ(cutter.tasks()[static_cast<std::size_t>(i)].kind, TaskKind::kWhole);
  }
}

TEST(Tasks, OfSharersAreEveryPartOnce) {
  std::mt19937 dice(7);
  TaskCutter cutter;
  for (int round = 0; round < 300; ++round) {
    std::vector<JobShape> jobs(dice() % 40);
    const int stages = 1 + static_cast<int>(dice() % 5);
    for (JobShape& job : jobs) {
      job = {.rows = 1 + static_cast<std::int64_t>(dice() % 192),
             .up_parts = 1 + static_cast<std::int64_t>(dice() % 90),
             .down_parts = 1 + static_cast<std::int64_t>(dice() % 90),
             .stage = static_cast<int>(dice()) & 1 ? 0 : stages - 1};
    }
    cutter.cut(jobs, 2, stages);
    expect_complete(cutter, jobs, stages);
  }
}

TEST(Tasks, OfOneLoneJobCanBeShared) {
  TaskCutter cutter;
  const auto jobs = jobs_of({1});
  cutter.cut(jobs, 2, 1);
  EXPECT_GT(cutter.tasks().size(), 4U);
  expect_complete(cutter, jobs, 1);
}

TEST(Tasks, AtTheEndAreSmall) {
  TaskCutter cutter;
  const std::vector<std::vector<JobShape>> works{
      jobs_of({1, 1, 1, 1, 1, 1, 1}), jobs_of({192, 192, 60, 4, 1}),
      jobs_of({64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64})};
  for (const auto& jobs : works) {
    cutter.cut(jobs, 2, 1);
    double total = 0;
    for (const JobShape& job : jobs) total += cost_of(job.rows);
    const Task& last = cutter.tasks().back();
    EXPECT_LE(cost_of_task(last, jobs[static_cast<std::size_t>(last.job)]), 0.03 * total);
  }
}

TEST(TakingOrder, BeginsWithMatesWhoseMemoryIsNear) {
  using ::testing::ElementsAre;
  const unsigned two_sockets[] = {0, 0, 1, 1, 0, 1};
  EXPECT_THAT(taking_order(0, two_sockets), ElementsAre(1, 4, 2, 3, 5));
  EXPECT_THAT(taking_order(3, two_sockets), ElementsAre(5, 2, 4, 0, 1));
  EXPECT_THAT(taking_order(5, two_sockets), ElementsAre(2, 3, 0, 1, 4));
  const unsigned one_node[] = {7, 7, 7};
  EXPECT_THAT(taking_order(1, one_node), ElementsAre(2, 0));
  EXPECT_TRUE(taking_order(0, std::span(one_node).first(1)).empty());
}

TEST(Tasks, OfNothingAreNone) {
  TaskCutter cutter;
  cutter.cut({}, 4, 3);
  EXPECT_TRUE(cutter.tasks().empty());
  EXPECT_THAT(cutter.stage_offsets(), ::testing::ElementsAre(0, 0, 0, 0));
}
}  // namespace
}  // namespace switchyard::runtime
