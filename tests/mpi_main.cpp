// SPDX-License-Identifier: Apache-2.0
/// @file
/// main() of tests under mpirun. Rank 0 reports; another rank speaks only when it fails, with its
/// number; a fatal failure (ASSERT, exception) aborts the job so that no rank waits for one that
/// has left; the verdict is the maximum over ranks. harness_test proves these four sentences.
#include <cstdio>
#include <gtest/gtest.h>
#include <mpi.h>
#include <string>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

namespace {

void say(const std::string& words) {
  std::fflush(stdout);
  // One write a line: the ranks share stderr.
  if (::write(STDERR_FILENO, words.data(), words.size()) < 0) return;
}

class RankListener final : public testing::EmptyTestEventListener {
 public:
  RankListener(int rank, int size)
      : rank_(rank), prefix_("[rank " + std::to_string(rank) + "/" + std::to_string(size) + "] ") {}

 private:
  // Kept here, for GoogleTest holds its own lock while it reports a failure.
  void OnTestStart(const testing::TestInfo& test) override {
    test_ = std::string(test.test_suite_name()) + "." + test.name() + ": ";
  }
  void OnTestEnd(const testing::TestInfo& /*test*/) override { test_.clear(); }

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    if (rank_ != 0 || result.fatally_failed()) say(describe(result));
    if (result.fatally_failed()) MPI_Abort(MPI_COMM_WORLD, 1);
  }

  [[nodiscard]] std::string describe(const testing::TestPartResult& result) const {
    std::string words = prefix_ + test_;
    if (result.file_name() != nullptr) {
      words += std::string(result.file_name()) + ":" + std::to_string(result.line_number()) + ": ";
    }
    return words + result.message() + "\n";
  }

  int rank_;
  std::string prefix_;
  std::string test_;
};

/// Leaks of ours, looked for while MPI's plugins are loaded and a suppression can still name them.
int leaks() {
#if defined(__SANITIZE_ADDRESS__)
  return __lsan_do_recoverable_leak_check() != 0 ? 1 : 0;
#else
  return 0;
#endif
}
}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  int rank = 0;
  int size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  testing::InitGoogleTest(&argc, argv);
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank != 0) delete listeners.Release(listeners.default_result_printer());
  if (rank != 0) delete listeners.Release(listeners.default_xml_generator());
  listeners.Append(new RankListener(rank, size));  // GoogleTest frees it
  int mine = RUN_ALL_TESTS();
  mine = mine != 0 || leaks() != 0 ? 1 : 0;
  int verdict = 1;
  MPI_Allreduce(&mine, &verdict, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  if (rank == 0 && verdict != mine) say("[rank 0] FAILED on another rank\n");
  MPI_Finalize();
  return verdict;
}
