// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/tasks.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace switchyard::runtime {
namespace {
/// No task is more than this share of the work that is left: early ones may be large, late ones
/// have to be small, for whoever ends last ends at most a task after the first.
constexpr double kShare = 1.0 / 8;
/// But none shorter than this (of a one-row job): taking a task and packing its rows are not free.
constexpr double kShortest = 1.0 / 16;
/// How much longer than wanted a job may be before it is cut.
constexpr double kSlack = 1.5;

std::int32_t narrow(std::int64_t i) {
  return static_cast<std::int32_t>(i);
}
}  // namespace

void TaskCutter::cut(std::span<const JobShape> jobs, int sharers, int stages) {
  tasks_.clear();
  later_.clear();
  stage_offsets_.assign(1, 0);
  up_tasks_.assign(jobs.size(), 0);
  order_.resize(jobs.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto shape = [&](std::int32_t job) -> const JobShape& {
    return jobs[static_cast<std::size_t>(job)];
  };
  double total = 0;
  for (const JobShape& job : jobs) total += cost_of(job.rows);
  if (sharers > 1) {
    std::sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
      if (shape(a).stage != shape(b).stage) return shape(a).stage < shape(b).stage;
      if (shape(a).rows != shape(b).rows) return shape(a).rows > shape(b).rows;
      return a < b;
    });
  }
  std::size_t next = 0;
  for (int stage = 0; stage < stages; ++stage) {
    for (; next < order_.size() && shape(order_[next]).stage == stage; ++next) {
      const std::int32_t job = order_[next];
      const double limit = std::max(total * kShare, kShortest);
      total -= cost_of(shape(job).rows);
      if (sharers == 1 || cost_of(shape(job).rows) <= kSlack * limit) {
        tasks_.push_back({.job = job, .kind = TaskKind::kWhole, .first = 0, .end = 0});
      } else {
        cut_job(job, shape(job), limit);
      }
    }
    tasks_.insert(tasks_.end(), later_.begin(), later_.end());
    later_.clear();
    stage_offsets_.push_back(static_cast<std::int64_t>(tasks_.size()));
  }
}

void TaskCutter::cut_job(std::int32_t job, const JobShape& shape, double limit) {
  // Two thirds of the products are in the first half.
  const auto pieces = static_cast<std::int64_t>(std::ceil(cost_of(shape.rows) / limit));
  const std::int64_t ups = std::clamp<std::int64_t>((2 * pieces + 1) / 3, 1, shape.up_parts);
  const std::int64_t downs = std::clamp<std::int64_t>(pieces - ups, 1, shape.down_parts);
  up_tasks_[static_cast<std::size_t>(job)] = narrow(ups);
  for (std::int64_t i = 0; i < ups; ++i) {
    tasks_.push_back({.job = job,
                      .kind = TaskKind::kUp,
                      .first = narrow(i * shape.up_parts / ups),
                      .end = narrow((i + 1) * shape.up_parts / ups)});
  }
  tasks_.insert(tasks_.end(), later_.begin(), later_.end());
  later_.clear();
  for (std::int64_t i = 0; i < downs; ++i) {
    later_.push_back({.job = job,
                      .kind = TaskKind::kDown,
                      .first = narrow(i * shape.down_parts / downs),
                      .end = narrow((i + 1) * shape.down_parts / downs)});
  }
}

std::vector<int> taking_order(int local, std::span<const unsigned> memory_of) {
  const auto mates = static_cast<int>(memory_of.size());
  std::vector<int> order;
  for (int step = 1; step < mates; ++step) order.push_back((local + step) % mates);
  const auto far = [&](int mate) {
    return memory_of[static_cast<std::size_t>(mate)] != memory_of[static_cast<std::size_t>(local)];
  };
  std::ranges::stable_sort(order, {}, far);
  return order;
}
}  // namespace switchyard::runtime
