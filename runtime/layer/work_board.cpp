// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/work_board.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <sched.h>
#include <stdexcept>
#include <string>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "experts/index.hpp"
#include "runtime/layer/stages.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::int64_t kCapacity = std::int64_t{16} << 30;  // addresses, not memory
constexpr std::int64_t kLine = 64;
constexpr unsigned kRoundShift = 32;

std::uint64_t ticket(std::uint64_t round, std::int64_t number) {
  return round << kRoundShift | static_cast<std::uint64_t>(number);
}
std::int64_t number_of(std::uint64_t ticket) {
  return static_cast<std::int64_t>(ticket & 0xffffffffU);
}
template <class T>
T* place(std::byte* at) {
  return reinterpret_cast<T*>(at);
}
}  // namespace

WorkBoard::WorkBoard(comm::Group& group, bool shared) {
  if (shared) {
    const comm::NodeMap& nodes = group.nodes();
    shared_ =
        std::ranges::any_of(nodes.ranks_of, [](const auto& mates) { return mates.size() > 1; });
    mates_ = static_cast<int>(nodes.mates_of(group.rank()).size());
    local_ = nodes.local_of[static_cast<std::size_t>(group.rank())];
    memory_ = group.share(kCapacity);
  } else {
    memory_ = comm::solo_group()->share(kCapacity);
  }
  memory_->ensure(static_cast<std::int64_t>(sizeof(Header)));
  auto* const mine = new (memory_->mine()) Header();
  unsigned processor = 0;
  if (getcpu(&processor, &mine->memory) != 0) mine->memory = 0;
  if (!shared) return;
  comm::barrier(group);
  std::vector<unsigned> memory_of;
  for (int mate = 0; mate < mates_; ++mate) memory_of.push_back(header(mate).memory);
  others_ = taking_order(local_, memory_of);
}

WorkBoard::Header& WorkBoard::header(int owner) const {
  return *place<Header>(memory_->of(owner));
}

std::byte* WorkBoard::reserve(std::int64_t bytes) {
  const std::int64_t begin = (used_ + kLine - 1) / kLine * kLine;
  memory_->ensure(begin + bytes);
  used_ = begin + bytes;
  return memory_->mine() + begin;
}

Arrivals WorkBoard::make_room(std::int64_t experts, std::int64_t rows, bool gates) {
  used_ = static_cast<std::int64_t>(sizeof(Header));
  const auto pointers = rows * static_cast<std::int64_t>(sizeof(float*));
  Arrivals arrivals;
  arrivals.offsets = {
      place<std::int64_t>(reserve((experts + 1) * static_cast<std::int64_t>(sizeof(std::int64_t)))),
      at(experts + 1)};
  arrivals.rows = {place<const float*>(reserve(pointers)), at(rows)};
  arrivals.results = {place<float*>(reserve(pointers)), at(rows)};
  if (gates) {
    arrivals.gates = {place<float>(reserve(rows * static_cast<std::int64_t>(sizeof(float)))),
                      at(rows)};
  }
  return arrivals;
}

void WorkBoard::publish(const Arrivals& arrivals, std::span<const std::int32_t> logical,
                        const Shape& shape, int sharers, int stages) {
  if (stages < 1 || stages > kMaxStages) {
    throw std::invalid_argument("work board: " + std::to_string(stages) + " stages, want 1 to " +
                                std::to_string(kMaxStages));
  }
  const auto experts = static_cast<std::int64_t>(logical.size());
  shapes_.clear();
  std::int64_t num_jobs = 0;
  const auto jobs_of = [&](std::int64_t e) {
    const std::int64_t rows = arrivals.offsets[at(e + 1)] - arrivals.offsets[at(e)];
    return sharers == 1 ? std::min<std::int64_t>(rows, 1) : (rows + kJobRows - 1) / kJobRows;
  };
  for (std::int64_t e = 0; e < experts; ++e) num_jobs += jobs_of(e);
  Job* const jobs = place<Job>(reserve(num_jobs * static_cast<std::int64_t>(sizeof(Job))));
  Job* job = jobs;
  for (std::int64_t e = 0; e < experts; ++e) {
    const std::int64_t begin = arrivals.offsets[at(e)];
    const std::int64_t rows = arrivals.offsets[at(e + 1)] - begin;
    const std::int64_t count = jobs_of(e);
    for (std::int64_t i = 0; i < count; ++i, ++job) {
      const std::int64_t first = begin + i * rows / count;
      new (job) Job();
      job->expert = e;
      job->logical = logical[at(e)];
      job->num_rows = begin + (i + 1) * rows / count - first;
      job->rows = arrivals.rows.data() + first;
      job->results = arrivals.results.data() + first;
      job->gates = arrivals.gates.empty() ? nullptr : arrivals.gates.data() + first;
      job->stage = stage_of(e, experts, stages);
      shapes_.push_back({.rows = job->num_rows,
                         .up_parts = shape.up_parts,
                         .down_parts = shape.down_parts,
                         .stage = job->stage});
    }
  }
  cutter_.cut(shapes_, sharers, stages);
  for (std::int64_t j = 0; j < num_jobs; ++j) {
    jobs[j].up_tasks = cutter_.up_tasks()[at(j)];
    if (jobs[j].up_tasks == 0) continue;
    jobs[j].middle = reserve(shape.middle_bytes(shape.context, jobs[j].num_rows));
  }
  const auto tasks = cutter_.tasks();
  Task* const list = place<Task>(reserve(static_cast<std::int64_t>(tasks.size_bytes())));
  std::ranges::copy(tasks, list);

  Header& mine = header(local_);
  mine.jobs = jobs;
  mine.tasks = list;
  mine.num_tasks = static_cast<std::int64_t>(tasks.size());
  mine.stages = stages;
  std::ranges::copy(cutter_.stage_offsets(), mine.stage_offsets);
  for (int s = 0; s < stages; ++s) mine.done[s].store(0, std::memory_order_relaxed);
  ++round_;
  mine.open.store(ticket(round_, 0), std::memory_order_relaxed);
  mine.next.store(ticket(round_, 0), std::memory_order_release);
}

void WorkBoard::open(int stage) {
  Header& mine = header(local_);
  mine.open.store(ticket(round_, mine.stage_offsets[stage + 1]), std::memory_order_release);
}

bool WorkBoard::done(int stage) const {
  const Header& mine = header(local_);
  return mine.done[stage].load(std::memory_order_acquire) ==
         mine.stage_offsets[stage + 1] - mine.stage_offsets[stage];
}

bool WorkBoard::may_take(const Header& header, std::uint64_t next) const {
  return next >> kRoundShift == round_ && next < header.open.load(std::memory_order_acquire);
}

bool WorkBoard::take(int owner, TakenTask& taken) const {
  Header& from = header(owner);
  std::uint64_t next = from.next.load(std::memory_order_acquire);
  do {
    if (!may_take(from, next)) return false;
  } while (!from.next.compare_exchange_weak(next, next + 1, std::memory_order_acq_rel));
  taken.task = from.tasks[number_of(next)];
  taken.job = from.jobs + taken.task.job;
  taken.owner = owner;
  return true;
}

bool WorkBoard::drained(int owner) const {
  const Header& from = header(owner);
  const std::uint64_t next = from.next.load(std::memory_order_acquire);
  return next >> kRoundShift == round_ && number_of(next) >= from.num_tasks;
}

bool WorkBoard::anything() const {
  for (int owner = 0; owner < mates_; ++owner) {
    const Header& from = header(owner);
    if (may_take(from, from.next.load(std::memory_order_acquire))) return true;
  }
  return false;
}

void WorkBoard::finish(const TakenTask& taken) const {
  if (taken.task.kind == TaskKind::kUp) {
    taken.job->ups_done.fetch_add(1, std::memory_order_release);
  }
  header(taken.owner).done[taken.job->stage].fetch_add(1, std::memory_order_release);
}
}  // namespace switchyard::runtime
