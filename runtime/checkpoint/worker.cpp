// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/worker.hpp"

#include <csignal>
#include <pthread.h>
#include <system_error>
#include <utility>

namespace switchyard::runtime {
namespace {
/// Threads started meanwhile get no signals: those are the main thread's. A write beyond the limit
/// of a file then says so instead of ending the program.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};
}  // namespace

void Worker::start(std::function<void()> job) {
  if (thread_.joinable()) thread_.join();
  done_ = false;
  const auto run = [this, work = std::move(job)] {
    work();
    const std::lock_guard lock(mutex_);
    done_ = true;
    ended_.notify_all();
  };
  const SignalsBlocked blocked;
  try {
    thread_ = std::jthread(run);
  } catch (const std::system_error&) {
    run();
  }
}

bool Worker::done() const {
  const std::lock_guard lock(mutex_);
  return done_;
}

void Worker::nap(std::chrono::microseconds longest) const {
  std::unique_lock lock(mutex_);
  if (done_) {
    lock.unlock();
    std::this_thread::sleep_for(longest);
    return;
  }
  ended_.wait_for(lock, longest, [this] { return done_; });
}
}  // namespace switchyard::runtime
