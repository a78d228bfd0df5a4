// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/grouped_ffn.hpp"

#include <chrono>
#include <ctime>
#include <span>
#include <thread>

namespace switchyard::runtime {
namespace {
using Clock = std::chrono::steady_clock;

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}
}  // namespace

GroupedFfn::GroupedFfn(comm::Group& group, int threads, Timeline* timeline)
    : group_(group),
      timeline_(timeline),
      workers_(threads),
      scratch_(static_cast<std::size_t>(threads)),
      seconds_(static_cast<std::size_t>(threads) * kApart, 0.0),
      rooms_(static_cast<std::size_t>(threads)),
      packed_(static_cast<std::size_t>(threads)) {}

void GroupedFfn::make_room(const experts::ExpertSpec& spec) {
  constexpr std::int64_t kSlack = 2;  // what a kernel keeps beside its rows
  const std::int64_t row = (spec.hidden + spec.width) * static_cast<std::int64_t>(sizeof(float));
  for (auto& buffer : scratch_) buffer.ensure(static_cast<std::size_t>(kSlack * kJobRows * row));
}

void GroupedFfn::run(comm::Exchange& exchange, const Shard& shard, WorkBoard& board, int stages) {
  make_room(shard.spec());
  Round round{.exchange = exchange, .shard = shard, .board = board, .stages = stages};
  if (workers_.threads() == 1) return lead(round);
  const auto part = [this, &round](std::int64_t, int thread) {
    if (thread != 0) return follow(round, thread);
    try {
      lead(round);
    } catch (...) {
      round.over = true;  // or the others would look for tasks for ever
      throw;
    }
    round.over = true;
  };
  workers_.run_each(part);
}

void GroupedFfn::lead(Round& round) {
  WorkBoard& board = round.board;
  for (int stage = 0; stage < round.stages; ++stage) {
    round.exchange.await_stage(stage);
    board.open(stage);
    while (take_one(round, board.local(), 0)) {
      round.exchange.progress();
      release(round);
    }
  }
  const auto drained = [&board] {
    for (int owner = 0; owner < board.mates(); ++owner) {
      if (!board.drained(owner)) return false;
    }
    return true;
  };
  while (true) {
    while (take_any(round, 0)) {
      round.exchange.progress();
      release(round);
    }
    if (drained()) break;
    group_.deadline().wait(
        [&] {
          round.exchange.progress();
          release(round);
          group_.require_everyone();
          return board.anything() || drained();
        },
        [] { return std::string("a rank of this node that has not come to its experts"); },
        {.what = "tasks"});
  }
  group_.deadline().wait(
      [&] {
        round.exchange.progress();
        release(round);
        group_.require_everyone();
        return round.released == round.stages;
      },
      [] { return std::string("a rank of this node that took a task"); }, {.what = "taken tasks"});
}

void GroupedFfn::follow(Round& round, int thread) {
  try {
    while (!round.over.load(std::memory_order_acquire)) {
      if (!take_one(round, round.board.local(), thread) && !take_any(round, thread)) {
        std::this_thread::yield();
      }
    }
  } catch (...) {  // for thread 0, which would wait for this task
    if (round.failing.exchange(true)) return;
    round.problem = std::current_exception();
    round.failed.store(true, std::memory_order_release);
  }
}

bool GroupedFfn::take_one(Round& round, int owner, int thread) {
  TakenTask taken;
  if (!round.board.take(owner, taken)) return false;
  run_task(round.shard, taken, thread);
  round.board.finish(taken);
  return true;
}

bool GroupedFfn::take_any(Round& round, int thread) {
  for (const int owner : round.board.others()) {
    if (take_one(round, owner, thread)) return true;
  }
  return take_one(round, round.board.local(), thread);
}

void GroupedFfn::release(Round& round) {
  if (round.failed.load(std::memory_order_acquire)) std::rethrow_exception(round.problem);
  while (round.released < round.stages && round.board.done(round.released)) {
    round.exchange.release_stage(round.released++);
  }
}

void GroupedFfn::run_task(const Shard& shard, const TakenTask& taken, int thread) {
  const Job& job = *taken.job;
  const Task& task = taken.task;
  const auto count = static_cast<std::size_t>(job.num_rows);
  const std::span rows(job.rows, count);
  const std::span results(job.results, count);
  const auto gates =
      job.gates == nullptr ? std::span<const float>{} : std::span<const float>(job.gates, count);
  experts::AlignedBuffer& scratch = scratch_[static_cast<std::size_t>(thread)];
  const experts::PackedExpert& expert = expert_of(shard, taken, thread);

  if (task.kind == TaskKind::kDown) await_ups(job, thread);
  const Clock::time_point begin = Clock::now();
  const double start = thread_seconds();
  switch (task.kind) {
    case TaskKind::kWhole:
      expert.run(rows, gates, results, scratch);
      break;
    case TaskKind::kUp:
      expert.run_up(rows, gates, task.first, task.end, job.middle, scratch);
      break;
    case TaskKind::kDown:
      expert.run_down(job.num_rows, job.middle, task.first, task.end, results, scratch);
      break;
  }
  seconds_[static_cast<std::size_t>(thread) * kApart] += thread_seconds() - start;
  if (timeline_ == nullptr) return;
  constexpr std::string_view kNames[] = {"expert", "expert, first half", "expert, second half"};
  timeline_->task(thread, kNames[static_cast<std::size_t>(task.kind)], job.logical, job.num_rows,
                  begin, Clock::now());
}

const experts::PackedExpert& GroupedFfn::expert_of(const Shard& shard, const TakenTask& taken,
                                                   int thread) {
  const experts::PackedExpert& ready = shard.expert(taken.owner, taken.job->expert);
  if (ready.bytes() > 0) return ready;
  const auto mine = static_cast<std::size_t>(thread);
  const Clock::time_point begin = Clock::now();
  packed_[mine] = shard.pack(taken.job->expert, rooms_[mine]);
  const Clock::time_point end = Clock::now();
  seconds_[mine * kApart + 1] += std::chrono::duration<double>(end - begin).count();
  if (timeline_ != nullptr) {
    timeline_->task(thread, "packing", taken.job->logical, taken.job->num_rows, begin, end);
  }
  return packed_[mine];
}

void GroupedFfn::await_ups(const Job& job, int thread) {
  const auto done = [&job] { return job.ups_done.load(std::memory_order_acquire) == job.up_tasks; };
  if (done()) return;
  const auto whom = [] { return std::string("a rank of this node that took half an expert"); };
  if (thread == 0) return group_.deadline().wait(done, whom, {.what = "first halves"});
  comm::Deadline own(group_.deadline().limit());  // the group's belongs to thread 0
  own.observe_as(group_.deadline());
  own.wait(done, whom);
}

double GroupedFfn::task_seconds() const {
  double sum = 0;
  for (std::size_t i = 0; i < seconds_.size(); i += kApart) sum += seconds_[i];
  return sum;
}

double GroupedFfn::pack_seconds() const {
  double sum = 0;
  for (std::size_t i = 1; i < seconds_.size(); i += kApart) sum += seconds_[i];
  return sum / static_cast<double>(workers_.threads());
}

void GroupedFfn::reset() {
  std::fill(seconds_.begin(), seconds_.end(), 0.0);
}
}  // namespace switchyard::runtime
