// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/store.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "comm/base/cache_line.hpp"
#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "experts/kernels/aligned.hpp"
#include "runtime/checkpoint/phase.hpp"
#include "runtime/checkpoint/preflight.hpp"
#include "runtime/checkpoint/save_job.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin, Clock::time_point end = Clock::now()) {
  return std::chrono::duration<double>(end - begin).count();
}
}  // namespace

class CheckpointStore::State {
 public:
  State(comm::Group& group, FileSystem& files, std::string directory, StoreOptions options)
      : group_(group),
        files_(files),
        directory_(std::move(directory)),
        options_(std::move(options)),
        votes_(group.new_channel()),
        verdicts_(group.new_channel()) {
    open();
  }
  ~State() {
    if (!reported_) return;
    while (!job_->settled()) {  // nothing but the thread is left
      job_->nap(std::chrono::microseconds(500));
      job_->advance();
    }
    reap();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void begin(const CheckpointInfo& info, std::span<const SavedPiece> pieces, bool copy) {
    if (saving()) throw std::logic_error("checkpoint: a save while another is under way");
    tidy();
    begun_ = Clock::now();
    const PhaseMark mark(group_.deadline(), "snapshot");
    info_ = info;
    info_.incarnation = incarnation_;
    info_.writer_world = group_.size();
    retention_.run_id = info_.run_id;
    std::vector<ShardSource> sources;
    for (const SavedPiece& piece : pieces) {
      sources.push_back({piece.tensor, piece.where, piece.bytes, false});
    }
    const Preflight preflight =
        prepare_save(group_, files_, directory_, stage_name(info_.step, incarnation_), sources);
    expected_bytes_ = preflight.bytes;
    if (preflight.problem) {
      if (preflight.problem->status != kIo) {
        throw comm::CollectiveError(0, preflight.problem->status, preflight.problem->message);
      }
      pause_s_ = seconds_since(begun_);
      ended_ = result_of(Verdict{.problem = preflight.problem, .bytes = 0}, Clock::now());
      return;
    }
    if (copy) take_snapshot(sources);
    job_.emplace(SaveContext{.group = group_,
                             .files = files_,
                             .directory = directory_,
                             .votes = votes_,
                             .verdicts = verdicts_,
                             .lock = lock_ ? &*lock_ : nullptr,
                             .retention = &retention_,
                             .overwrite = options_.overwrite,
                             .read_back = options_.read_back},
                 info_, std::move(sources));
    pause_s_ = seconds_since(begun_);
  }

  void reserve(std::int64_t bytes) {
    if (saving()) throw std::logic_error("checkpoint: memory reserved while a save is under way");
    constexpr std::int64_t kFilling = 1 << 20;  // of some thousand pieces
    snapshot_.ensure(static_cast<std::size_t>(bytes + kFilling));
    std::memset(snapshot_.as<std::byte>(), 0, snapshot_.size());
  }
  [[nodiscard]] bool saving() const {
    return (job_.has_value() && !reported_) || ended_.has_value();
  }

  std::optional<SaveResult> poll() {
    if (job_) {
      const PhaseMark mark(group_.deadline(), group_.deadline().position().phase);
      job_->advance();
    }
    return settle();
  }

  std::optional<SaveResult> finish() {
    wait_until([this] { return reported_ || job_->decided(); });
    return settle();
  }

  void tidy() {
    if (!reported_) return;
    wait_until([this] { return job_->settled(); });
    reap();
  }

  void pin(std::int64_t step) {
    tidy();
    retention_.pinned.insert(step);
  }
  [[nodiscard]] std::uint64_t incarnation() const { return incarnation_; }
  [[nodiscard]] const std::string& directory() const { return directory_; }

 private:
  void open() {
    const PhaseMark mark(group_.deadline(), "init");
    together(group_, [&] {
      if (options_.keep < 2) {
        throw std::invalid_argument("--keep: got " + std::to_string(options_.keep) +
                                    ", want 2 or more");
      }
      if (group_.rank() > 0) return;
      lock_.emplace(files_, directory_, options_.run_id, options_.incarnation);
      sweep(files_, directory_);
    });
    const std::uint64_t mine = lock_ ? lock_->incarnation() : 0;
    const auto bytes = comm::broadcast(group_, std::as_bytes(std::span(&mine, 1)));
    std::memcpy(&incarnation_, bytes.data(), sizeof incarnation_);
    retention_.keep = options_.keep;
    retention_.only_own = options_.fresh;
  }

  /// All pieces one behind the other, as they will be in the file.
  void take_snapshot(std::vector<ShardSource>& sources) {
    std::size_t total = 0;
    for (const ShardSource& source : sources) {
      total +=
          static_cast<std::size_t>(filled_bytes(static_cast<std::int64_t>(source.bytes.size())));
    }
    snapshot_.ensure(total);
    std::byte* to = snapshot_.as<std::byte>();
    for (ShardSource& source : sources) {
      const std::size_t count = source.bytes.size();
      const auto filled = static_cast<std::size_t>(filled_bytes(static_cast<std::int64_t>(count)));
      // Read next by the disk, if at all: the caches are the steps'.
      comm::copy_past_caches(to, source.bytes.data(), static_cast<std::int64_t>(count));
      std::memset(to + count, 0, filled - count);
      source.bytes = {to, count};
      source.filled = true;
      to += filled;
    }
  }

  void wait_until(const std::function<bool()>& done) {
    if (!job_) return;
    const PhaseMark mark(group_.deadline(), group_.deadline().position().phase);
    job_->advance();
    while (!done()) wait_a_while(done);
  }

  /// Until something has moved. A disk that writes is waited for; the others' disks, which nobody
  /// here can see, as long as the slowest bearable one would take.
  void wait_a_while(const std::function<bool()>& done) {
    constexpr double kBytesPerSecond = 8 << 20;
    comm::Deadline& deadline = group_.deadline();
    const Clock::time_point since = Clock::now();
    const double patience = static_cast<double>(expected_bytes_) / kBytesPerSecond;
    const std::int64_t before = job_->progress();
    comm::Awaited what{.what = "checkpoint", .peer = job_->awaited_rank()};
    deadline.wait(
        [&] {
          job_->advance();
          what.peer = job_->awaited_rank();
          if (done() || job_->progress() != before) return true;
          job_->nap(std::chrono::microseconds(500));
          return Clock::now() - since > deadline.limit() / 2 && seconds_since(begun_) < patience;
        },
        [&] { return job_->awaited(); }, what);
  }

  SaveResult result_of(const Verdict& verdict, Clock::time_point end) const {
    SaveResult result;
    result.saved = !verdict.problem;
    result.step = info_.step;
    if (verdict.problem) {
      result.problem = verdict.problem->message;
      status_ = verdict.problem->status;
    }
    result.bytes = verdict.bytes;
    result.pause_s = pause_s_;
    result.seconds = seconds_since(begun_, end);
    return result;
  }

  /// The end of a save, once; counts failures.
  std::optional<SaveResult> settle() {
    std::optional<SaveResult> result = std::exchange(ended_, std::nullopt);
    if (job_ && !reported_ && job_->decided()) {
      result = result_of(job_->verdict(), job_->ended());
      reported_ = true;
    }
    if (reported_ && job_->settled()) reap();
    if (!result) return result;
    if (result->saved) {
      failures_ = 0;
      return result;
    }
    const std::string words =
        "step " + std::to_string(result->step) + " could not be saved: " + result->problem;
    if (status_ != kIo) throw comm::CollectiveError(0, status_, words);
    if (++failures_ >= options_.most_failures) {
      throw comm::CollectiveError(0, kIo,
                                  std::to_string(failures_) + " saves in a row failed: " + words);
    }
    note(words + "; the run goes on");
    return result;
  }

  /// The end of a save whose end has been told. @pre settled
  void reap() {
    if (!job_->leftovers().empty()) {
      note("step " + std::to_string(info_.step) +
           (job_->verdict().problem ? " is not saved" : " is saved") +
           ", but what is old could not be removed: " + job_->leftovers());
    }
    if (!job_->verdict().problem) retention_.only_own = false;  // the thread has read it
    job_.reset();
    reported_ = false;
  }

  void note(const std::string& words) const {
    if (options_.note && group_.rank() == 0) options_.note(words);
  }

  comm::Group& group_;
  FileSystem& files_;
  std::string directory_;
  StoreOptions options_;
  comm::Channel votes_;
  comm::Channel verdicts_;
  std::optional<LockedFolder> lock_;  ///< rank 0's
  std::uint64_t incarnation_ = 0;
  Retention retention_;
  CheckpointInfo info_;
  Clock::time_point begun_;
  double pause_s_ = 0;
  std::int64_t expected_bytes_ = 0;
  mutable int status_ = 0;           ///< of the last problem
  int failures_ = 0;                 ///< in a row
  std::optional<SaveResult> ended_;  ///< before it began
  experts::AlignedBuffer snapshot_;
  bool reported_ = false;       ///< how job_ ended was told; its thread may still tidy
  std::optional<SaveJob> job_;  ///< last: its thread reads the snapshot
};

CheckpointStore::CheckpointStore(comm::Group& group, FileSystem& files, std::string directory,
                                 StoreOptions options)
    : state_(std::make_unique<State>(group, files, std::move(directory), std::move(options))) {}
CheckpointStore::~CheckpointStore() = default;

void CheckpointStore::begin(const CheckpointInfo& info, std::span<const SavedPiece> pieces) {
  state_->begin(info, pieces, true);
}
void CheckpointStore::reserve(std::int64_t bytes) {
  state_->reserve(bytes);
}
bool CheckpointStore::saving() const {
  return state_->saving();
}
std::optional<SaveResult> CheckpointStore::poll() {
  return state_->poll();
}
std::optional<SaveResult> CheckpointStore::finish() {
  return state_->finish();
}
SaveResult CheckpointStore::save(const CheckpointInfo& info, std::span<const SavedPiece> pieces) {
  state_->begin(info, pieces, false);
  return *state_->finish();
}
void CheckpointStore::tidy() {
  state_->tidy();
}
void CheckpointStore::pin(std::int64_t step) {
  state_->pin(step);
}
std::uint64_t CheckpointStore::incarnation() const {
  return state_->incarnation();
}
const std::string& CheckpointStore::directory() const {
  return state_->directory();
}
}  // namespace switchyard::runtime
