// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One save on its way, from the bytes of this rank to the verdict of all.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/checkpoint/ballot.hpp"
#include "runtime/checkpoint/commit.hpp"
#include "runtime/checkpoint/letter.hpp"
#include "runtime/checkpoint/shard.hpp"
#include "runtime/checkpoint/worker.hpp"

namespace switchyard::runtime {

/// What a save works on; outlives it. The lock and the retention are rank 0's.
struct SaveContext {
  comm::Group& group;
  FileSystem& files;
  const std::string& directory;
  comm::Channel votes;
  comm::Channel verdicts;
  LockedFolder* lock = nullptr;
  Retention* retention = nullptr;
  bool overwrite = false;
  bool read_back = false;
};

/// Two phases: every rank writes its shard and votes; rank 0 commits or gives up, and tells all.
class SaveJob {
 public:
  /// Starts to write. The stage exists.
  /// @param sources  whose bytes stay until written() is true
  SaveJob(const SaveContext& context, CheckpointInfo info, std::vector<ShardSource> sources);
  /// Has the writing thread give up, and waits for it.
  ~SaveJob();
  SaveJob(const SaveJob&) = delete;
  SaveJob& operator=(const SaveJob&) = delete;

  /// Goes on as far as it can without waiting.
  void advance();
  /// The verdict is known and on its way to all. What is old may still be taken away.
  [[nodiscard]] bool decided() const { return settled() || (stage_ == Stage::kTelling && told()); }
  /// @pre decided()
  [[nodiscard]] const Verdict& verdict() const { return *verdict_; }
  /// Nothing is left to do.
  [[nodiscard]] bool settled() const { return stage_ == Stage::kSettled; }
  /// Of a step that is saved and settled: what went wrong when older ones were taken away; rank 0
  /// only.
  [[nodiscard]] const std::string& leftovers() const { return leftovers_; }
  [[nodiscard]] std::chrono::steady_clock::time_point ended() const { return ended_; }

  /// Grows with every byte and every stage, for whoever waits.
  [[nodiscard]] std::int64_t progress() const;
  /// Who is waited for: "rank 2", "its own disk".
  [[nodiscard]] std::string awaited() const;
  [[nodiscard]] int awaited_rank() const;
  void nap(std::chrono::microseconds longest) const { worker_.nap(longest); }

 private:
  enum class Stage { kWriting, kVoting, kManifest, kCommitting, kGivingUp, kTelling, kSettled };

  void enter(Stage stage, std::string_view phase);
  void write();
  void vote();
  void count_votes();
  void write_and_commit();
  void give_up(comm::Problem problem);
  void tell();
  [[nodiscard]] bool told() const { return told_all_; }
  /// Runs `body` in the thread; what it throws becomes problem_.
  void run(std::function<void()> body);

  SaveContext context_;
  CheckpointInfo info_;
  std::vector<ShardSource> sources_;
  std::string stage_folder_;
  Stage stage_ = Stage::kWriting;
  int stages_ = 0;  ///< passed so far
  WriteProgress progress_;
  std::optional<comm::Problem> problem_;  ///< of the thread's last job; read when it is done
  WrittenShard written_;
  std::vector<Vote> votes_;
  Manifest manifest_;
  std::optional<Verdict> verdict_;
  std::string leftovers_;
  std::chrono::steady_clock::time_point ended_;
  SentLetter my_vote_;
  std::vector<AwaitedLetter> awaited_;  ///< votes on rank 0, the verdict elsewhere
  std::vector<SentLetter> told_;
  bool told_all_ = false;
  Worker worker_;  ///< last: its thread is joined before the rest goes
};
}  // namespace switchyard::runtime
