// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The threads of one rank that compute (never: that talk to MPI). Tasks are taken from a counter,
/// so which thread does what is left to chance; no bit of a result depends on it.
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace switchyard::runtime {

class Workers {
 public:
  /// @param threads  at least 1; the caller of run() is one of them
  /// @throws std::system_error  the system gives no more threads
  explicit Workers(int threads);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  [[nodiscard]] int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  /// Calls task(i, thread) once for every i in [0, count) and returns when all are done. The first
  /// exception of a task is thrown here, after the others have finished.
  void run(std::int64_t count, const std::function<void(std::int64_t, int)>& task);
  /// The same with every thread getting one task, its own: task(thread, thread).
  void run_each(const std::function<void(std::int64_t, int)>& task);

 private:
  void stop();
  void help(int thread);
  void work(int thread);
  void start(std::int64_t count, const std::function<void(std::int64_t, int)>& task, bool each);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  const std::function<void(std::int64_t, int)>* task_ = nullptr;
  std::int64_t next_ = 0;
  std::int64_t count_ = 0;
  std::uint64_t round_ = 0;
  int busy_ = 0;
  bool stop_ = false;
  bool each_ = false;  ///< task i is thread i's
  std::exception_ptr failure_;
  std::vector<std::thread> helpers_;
};
}  // namespace switchyard::runtime
