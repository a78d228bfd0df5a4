// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/workers.hpp"

#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace switchyard::runtime {

Workers::Workers(int threads) {
  if (threads < 1) {
    throw std::invalid_argument("threads a rank: got " + std::to_string(threads) +
                                ", want at least 1");
  }
  try {
    for (int thread = 1; thread < threads; ++thread) {
      helpers_.emplace_back([this, thread] { help(thread); });
    }
  } catch (const std::system_error& error) {
    const auto started = helpers_.size() + 1;
    stop();
    throw std::system_error(error.code(), "threads a rank: only " + std::to_string(started) +
                                              " of " + std::to_string(threads) + " can be started");
  }
}

Workers::~Workers() {
  stop();
}

void Workers::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& helper : helpers_) helper.join();
  helpers_.clear();
}

void Workers::run(std::int64_t count, const std::function<void(std::int64_t, int)>& task) {
  if (helpers_.empty() || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) task(i, 0);
    return;
  }
  start(count, task, false);
}

void Workers::run_each(const std::function<void(std::int64_t, int)>& task) {
  start(threads(), task, true);
}

void Workers::start(std::int64_t count, const std::function<void(std::int64_t, int)>& task,
                    bool each) {
  std::unique_lock lock(mutex_);
  each_ = each;
  task_ = &task;
  next_ = 0;
  count_ = count;
  busy_ = static_cast<int>(helpers_.size());
  failure_ = nullptr;
  ++round_;
  lock.unlock();
  wake_.notify_all();
  work(0);
  lock.lock();
  idle_.wait(lock, [this] { return busy_ == 0; });
  task_ = nullptr;
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Workers::help(int thread) {
  std::uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stop_ || round_ != seen; });
    if (stop_) return;
    seen = round_;
    lock.unlock();
    work(thread);
    lock.lock();
    if (--busy_ == 0) idle_.notify_one();
  }
}

void Workers::work(int thread) {
  for (bool again = true; again; again = !each_) {
    std::int64_t mine = 0;
    {
      const std::scoped_lock lock(mutex_);
      if (!each_ && (next_ >= count_ || failure_)) return;
      mine = each_ ? thread : next_++;
    }
    try {
      (*task_)(mine, thread);
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }
}
}  // namespace switchyard::runtime
