// SPDX-License-Identifier: Apache-2.0
/// @file
/// F1: kills a process at a random byte or call of its saves, again and again in one folder. Each
/// time every saved step must be whole, the newest at least the last one that it was told of, and
/// the next process goes on from there.
#include <array>
#include <atomic>
#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "tests/faults/campaign.hpp"
#include "tests/runtime/store_state.hpp"

namespace {
using namespace switchyard;
using namespace switchyard::faults;
using store_tests::State;

/// The machine's files, until a call or a byte too many.
class KillingFiles final : public runtime::FileSystem {
 public:
  /// @param calls, bytes  that are still done; below 0: any number
  KillingFiles(std::int64_t calls, std::int64_t bytes) : calls_(calls), bytes_(bytes) {}

  int open(const std::string& path, Open how) override {
    return how == Open::kRead ? files_->open(path, how) : (call(), files_->open(path, how));
  }
  std::int64_t pwrite(int file, std::span<const std::byte> bytes, std::int64_t at) override {
    call();
    const auto size = static_cast<std::int64_t>(bytes.size());
    const std::int64_t left = bytes_limited_ ? bytes_.fetch_sub(size) : size;
    if (left < size) {
      if (left > 0) {
        static_cast<void>(files_->pwrite(file, bytes.first(static_cast<std::size_t>(left)), at));
      }
      die();
    }
    return files_->pwrite(file, bytes, at);
  }
  std::int64_t pread(int file, std::span<std::byte> bytes, std::int64_t at) override {
    return files_->pread(file, bytes, at);
  }
  int allocate(int file, std::int64_t bytes) override {
    call();
    return files_->allocate(file, bytes);
  }
  int direct(int file, bool on) override { return files_->direct(file, on); }
  int fsync(int file) override {
    call();
    return files_->fsync(file);
  }
  int close(int file) override { return files_->close(file); }
  int lock(int file) override { return files_->lock(file); }
  int rename(const std::string& from, const std::string& to) override {
    call();
    return files_->rename(from, to);
  }
  int exchange(const std::string& one, const std::string& other) override {
    call();
    return files_->exchange(one, other);
  }
  int make_directory(const std::string& path) override {
    call();
    return files_->make_directory(path);
  }
  int remove_directory(const std::string& path) override {
    call();
    return files_->remove_directory(path);
  }
  int unlink(const std::string& path) override {
    call();
    return files_->unlink(path);
  }
  int list(const std::string& path, std::vector<std::string>& names) override {
    return files_->list(path, names);
  }
  int status(const std::string& path, runtime::FileStatus& status) override {
    return files_->status(path, status);
  }
  std::int64_t free_bytes(const std::string& path) override { return files_->free_bytes(path); }

 private:
  [[noreturn]] static void die() {
    ::kill(::getpid(), SIGKILL);
    ::pause();
    std::abort();
  }
  void call() {
    if (calls_limited_ && calls_.fetch_sub(1) <= 0) die();
  }

  std::unique_ptr<runtime::FileSystem> files_ = runtime::posix_file_system();
  std::atomic<std::int64_t> calls_;
  std::atomic<std::int64_t> bytes_;
  bool calls_limited_ = calls_ >= 0;
  bool bytes_limited_ = bytes_ >= 0;
};

/// Goes on from the newest step for three more, and says each that it was told of.
void run_and_die(const std::string& folder, KillingFiles& files, int say) {
  comm::run_local(2, [&](comm::Group& group) {
    runtime::CheckpointStore store(group, files, folder, {.run_id = "r", .keep = 2});
    const auto loaded = runtime::load_newest(group, files, folder, {}, [](auto&) {});
    std::int64_t step = loaded ? loaded->info().step : 0;
    if (loaded) store.pin(step);
    for (int i = 0; i < 3; ++i) {
      const State state(++step);
      if (i == 1) {
        store.begin(state.info(), state.pieces(group));
        while (!store.poll()) std::this_thread::yield();
      } else {
        static_cast<void>(store.save(state.info(), state.pieces(group)));
      }
      if (group.rank() == 1 && ::write(say, &step, sizeof step) != sizeof step) std::abort();
    }
  });
}

struct Outcome {
  bool killed = false;
  std::int64_t told = 0;  ///< 0: of none
};

Outcome run_child(const std::string& folder, std::int64_t calls, std::int64_t bytes) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) throw std::runtime_error("pipe failed");
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    KillingFiles files(calls, bytes);
    try {
      run_and_die(folder, files, ends[1]);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(9);
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  Outcome outcome;
  std::int64_t step = 0;
  while (::read(ends[0], &step, sizeof step) == sizeof step) outcome.told = step;
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  outcome.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  if (!outcome.killed && status != 0) throw std::runtime_error("the child failed by itself");
  return outcome;
}

/// What is wrong with the folder; empty: nothing.
std::string broken(runtime::FileSystem& files, const std::string& folder, std::int64_t told) {
  const auto steps = runtime::saved_steps(files, folder);
  if ((steps.empty() ? 0 : steps.front()) < told) {
    return "step " + std::to_string(told) + " was acknowledged and is gone";
  }
  for (const std::int64_t step : steps) {
    try {
      runtime::StoredCheckpoint stored(files, folder, step);
      const std::string words = State(step).differences(stored);
      if (!words.empty()) return "step " + std::to_string(step) + ": " + words;
    } catch (const std::exception& error) {
      return error.what();
    }
  }
  return {};
}
}  // namespace

int main(int argc, char** argv) {
  Campaign campaign(argc, argv, 200);
  const tests::TempFolder temporary;
  const std::string folder = (temporary.path() / "ckpt").string();
  const auto files = runtime::posix_file_system();
  std::int64_t killed = 0;
  std::int64_t told = 0;
  for (std::int64_t i = 0; killed < campaign.cases() && campaign.failures() == 0; ++i) {
    Random random = campaign.random(i);
    // Half of them anywhere in the bytes, half at a call: most of those are of names and flushes.
    constexpr std::int64_t kBytes = 150'000;
    constexpr std::int64_t kCalls = 70;
    const bool by_byte = draw(random, 0, 1) == 1;
    std::string words;
    try {
      const Outcome outcome = run_child(folder, by_byte ? -1 : draw(random, 0, kCalls),
                                        by_byte ? draw(random, 0, kBytes) : -1);
      if (outcome.killed) ++killed;
      told = std::max(told, outcome.told);
      words = broken(*files, folder, told);
    } catch (const std::exception& error) {
      words = error.what();
    }
    if (!words.empty()) campaign.fail(i, words);
  }
  return campaign.end(std::to_string(killed) + " runs killed, up to step " + std::to_string(told));
}
