// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/save_job.hpp"

#include <exception>
#include <utility>

#include "comm/base/words.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {

SaveJob::SaveJob(const SaveContext& context, CheckpointInfo info, std::vector<ShardSource> sources)
    : context_(context),
      info_(std::move(info)),
      sources_(std::move(sources)),
      stage_folder_(stage_name(info_.step, info_.incarnation)) {
  comm::Group& group = context_.group;
  if (group.rank() == 0) {
    for (int rank = 1; rank < group.size(); ++rank) {
      awaited_.emplace_back(group, rank, context_.votes);
    }
  } else {
    awaited_.emplace_back(group, 0, context_.verdicts);
  }
  write();
}

SaveJob::~SaveJob() {
  progress_.stop = true;
}

void SaveJob::run(std::function<void()> body) {
  problem_.reset();
  worker_.start([this, work = std::move(body)] {
    try {
      work();
    } catch (const std::exception& error) {
      problem_ = problem_of(error);
    }
  });
}

void SaveJob::enter(Stage stage, std::string_view phase) {
  stage_ = stage;
  ++stages_;
  context_.group.deadline().phase(phase);
}

void SaveJob::write() {
  enter(Stage::kWriting, "shard-write");
  const int rank = context_.group.rank();
  const ShardLabel label{.step = info_.step,
                         .run_id = info_.run_id,
                         .incarnation = info_.incarnation,
                         .shard = rank,
                         .shards = context_.group.size()};
  const std::string path =
      context_.directory + "/" + stage_folder_ + "/" + shard_name(rank, context_.group.size());
  run([this, label, path] {
    written_ = write_shard(context_.files, path, label, sources_, context_.read_back, &progress_);
  });
}

void SaveJob::advance() {
  if (stage_ == Stage::kWriting && worker_.done()) vote();
  if (stage_ == Stage::kVoting) {
    bool all = my_vote_.test();
    for (AwaitedLetter& letter : awaited_) all = letter.test() && all;
    if (all) count_votes();
  }
  if (stage_ == Stage::kManifest && worker_.done()) {
    if (problem_)
      give_up(*problem_);
    else
      write_and_commit();
  }
  if (stage_ == Stage::kCommitting && worker_.done()) {
    if (problem_)
      give_up(*problem_);
    else
      tell();
  }
  if (stage_ == Stage::kGivingUp && worker_.done()) tell();
  if (stage_ != Stage::kTelling) return;
  told_all_ = true;
  for (SentLetter& letter : told_) told_all_ = letter.test() && told_all_;
  if (!told_all_ || !worker_.done()) return;
  if (problem_) leftovers_ = problem_->message;
  stage_ = Stage::kSettled;
}

void SaveJob::vote() {
  enter(Stage::kVoting, "vote");
  Vote mine{.problem = problem_, .written = std::move(written_)};
  if (context_.group.rank() == 0) {
    votes_.push_back(std::move(mine));
  } else {
    my_vote_ = SentLetter(context_.group, 0, context_.votes, encode(mine));
  }
}

void SaveJob::count_votes() {
  if (context_.group.rank() > 0) {
    verdict_ = decode_verdict(awaited_.front().text());
    ended_ = std::chrono::steady_clock::now();
    stage_ = Stage::kSettled;
    return;
  }
  std::optional<comm::Problem> problem;
  try {
    for (const AwaitedLetter& letter : awaited_) {
      votes_.push_back(decode_vote(letter.text(), letter.from()));
    }
    problem = problem_of(votes_);
    if (!problem) manifest_ = merge(info_, std::move(votes_));
  } catch (const std::exception& error) {
    problem = problem_of(error);
  }
  if (problem) return give_up(*std::move(problem));
  enter(Stage::kManifest, "manifest");
  run([this] { write_manifest(context_.files, context_.directory, stage_folder_, manifest_); });
}

void SaveJob::write_and_commit() {
  enter(Stage::kCommitting, "commit");
  run([this] {
    commit_stage(context_.files, context_.directory, stage_folder_, manifest_, context_.overwrite,
                 *context_.lock);
  });
}

void SaveJob::give_up(comm::Problem problem) {
  verdict_ = Verdict{.problem = std::move(problem), .bytes = 0};
  enter(Stage::kGivingUp, "commit");
  run([this] {
    const std::string stage = context_.directory + "/" + stage_folder_;
    if (exists(context_.files, stage)) remove_folder(context_.files, stage);
  });
}

void SaveJob::tell() {
  problem_.reset();
  if (!verdict_) {
    verdict_ = Verdict{};
    for (const ShardInfo& shard : manifest_.shards) verdict_->bytes += shard.size;
  }
  ended_ = std::chrono::steady_clock::now();
  const std::string text = encode(*verdict_);
  for (int rank = 1; rank < context_.group.size(); ++rank) {
    told_.emplace_back(context_.group, rank, context_.verdicts, text);
  }
  enter(Stage::kTelling, "retention");
  if (verdict_->problem) return;
  run([this] {
    context_.retention->known.insert(info_.step);
    retain(context_.files, context_.directory, *context_.retention);
  });
}

std::int64_t SaveJob::progress() const {
  return progress_.bytes.load(std::memory_order_relaxed) + stages_;
}

int SaveJob::awaited_rank() const {
  if (stage_ != Stage::kVoting) return -1;
  if (context_.group.rank() > 0) return 0;
  for (const AwaitedLetter& letter : awaited_) {
    if (!letter.here()) return letter.from();
  }
  return -1;
}

std::string SaveJob::awaited() const {
  if (stage_ != Stage::kVoting) return "its own disk";
  if (context_.group.rank() > 0) return comm::rank_names({0});
  std::vector<int> missing;
  for (const AwaitedLetter& letter : awaited_) {
    if (!letter.here()) missing.push_back(letter.from());
  }
  return missing.empty() ? "the others" : comm::rank_names(missing);
}
}  // namespace switchyard::runtime
