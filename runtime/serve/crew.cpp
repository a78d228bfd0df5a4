// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/crew.hpp"

#include <span>
#include <stdexcept>
#include <utility>

#include "comm/base/words.hpp"
#include "comm/group/collective.hpp"
#include "runtime/serve/spare.hpp"

namespace switchyard::runtime {
namespace {
std::string listed(const std::vector<std::int32_t>& ids) {
  std::string words = ids.size() == 1 ? "it: expert" : "them: experts";
  const char* before = " ";
  for (const std::int32_t id : ids) {
    words += before + std::to_string(id);
    before = ", ";
  }
  return words;
}

/// What one rank adds to the report.
struct Share {
  double reloaded = 0;
  double dropped = 0;
  double place = -1;  ///< that it took; -1: it was there from the start
  double needed_s = 0;
  double load_s = 0;
};
}  // namespace

void require_servable(const LayerOptions& options) {
  if (options.presum) {
    throw std::invalid_argument("--combine: got presum with --serve, want exact");
  }
  if (options.transport != "auto" && options.transport != "p2p") {
    throw std::invalid_argument("--transport: got " + options.transport +
                                " with --serve, want auto or p2p");
  }
  if (options.wire != comm::WireType::kFloat32 || options.stages > 0) {
    throw std::invalid_argument("--wire, --stages: got one with --serve, want none");
  }
  if (options.rank_local_rule) {
    throw std::invalid_argument("--routing-group: got rank with --serve, want a count of tokens");
  }
}

void serve_layers(LayerOptions& options) {
  options.transport = "p2p";
  options.node_queue = false;
}

Placement spare_placement(std::int64_t experts) {
  return Placement::from_lists({{}}, experts, Hosts::kAny);
}

void load_apart(comm::Group& base, const std::function<void()>& load) {
  std::optional<comm::Problem> problem;
  try {
    load();
  } catch (const comm::CollectiveError& error) {
    problem = {.status = error.status(), .message = error.what()};
  }
  comm::agree(base, problem);
}

Crew::Crew(comm::Membership& membership, comm::EnduringGroup& group, KeptLayers kept,
           std::vector<std::int32_t> held, bool reload, std::function<void(std::string)> note)
    : membership_(membership),
      group_(group),
      note_(std::move(note)),
      keeper_(group, std::move(kept), std::move(held), reload) {}

void Crew::note(const std::string& words) const {
  if (note_ && group_.rank() == 0) note_(words);
}

std::optional<int> Crew::wait(const Placement& plan) {
  const SpareCall call = wait_as_spare(membership_, plan, keeper_);
  if (call.status) return call.status;
  if (const std::string problem = keeper_.load_problem(); !problem.empty()) {
    throw comm::TakenForLost("spare: cannot load what rank " + std::to_string(call.place) +
                             " had: " + problem);
  }
  joined_ = ServeJoin{.rank = membership_.rank(), .place = call.place, .load_s = call.load_s};
  needed_ = call.needed;
  membership_.join();
  group_.regroup();
  return std::nullopt;
}

std::int64_t Crew::settle(std::int64_t step) {
  const Agreed agreed = keeper_.settle(step);
  account_.go_on(agreed.step);
  if (joined_ && joined_->after_s == 0) {
    joined_->after_s = std::chrono::duration<double>(Clock::now() - needed_).count();
  }
  const std::string where = "step " + std::to_string(agreed.step) + ": ";
  if (const std::string problem = keeper_.load_problem(); !problem.empty()) {
    note(where + "cannot load lost experts: " + problem);
  }
  if (agreed.lost != masked_) {
    masked_ = agreed.lost;
    note(where + (masked_.empty() ? "every expert has a host"
                                  : "masked, for nobody has " + listed(masked_)));
  }
  return agreed.step;
}

void Crew::change(std::int64_t step) {
  const comm::MemberWord before = group_.word();
  group_.regroup();
  const comm::MemberWord now = group_.word();
  ServeEvent event{.step = step, .lost = {}, .joined = {}};
  for (int r = 0; r < membership_.size(); ++r) {
    if (now.lost(r) && !before.lost(r)) event.lost.push_back(r);
    const int spare = r - membership_.workers();
    if (spare >= 0 && now.joined(spare) && !before.joined(spare)) event.joined.push_back(r);
  }
  account_.again();
  std::string words = "step " + std::to_string(step) + ": ";
  if (!event.lost.empty()) words += comm::rank_names(event.lost) + " lost, ";
  if (!event.joined.empty()) words += comm::rank_names(event.joined) + " joined, ";
  note(words + comm::counted(group_.size(), "rank") + " go on");
  account_.interrupted(std::move(event));
}

ServeReport Crew::report() {
  ServeReport report = account_.report();
  report.ranks = membership_.workers();
  report.spares = membership_.spares();
  for (int r = 0; r < group_.size(); ++r) report.members.push_back(group_.name_of(r));
  report.fenced = membership_.fenced();
  Share mine{.reloaded = static_cast<double>(keeper_.reloaded()),
             .dropped = static_cast<double>(group_.dropped())};
  if (joined_) {
    mine.place = joined_->place;
    mine.needed_s = joined_->after_s;
    mine.load_s = joined_->load_s;
  }
  int rank = 0;
  for (const auto& shares : comm::allgather_values<Share>(group_, std::span(&mine, 1))) {
    const Share& of_rank = shares.at(0);
    report.reloaded += static_cast<std::int64_t>(of_rank.reloaded);
    report.dropped_messages += static_cast<std::int64_t>(of_rank.dropped);
    const int name = group_.name_of(rank++);
    if (of_rank.place < 0) continue;
    report.joins.push_back({.rank = name,
                            .place = static_cast<int>(of_rank.place),
                            .after_s = of_rank.needed_s,
                            .load_s = of_rank.load_s});
  }
  return report;
}
}  // namespace switchyard::runtime
