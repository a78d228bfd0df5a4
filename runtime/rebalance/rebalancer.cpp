// SPDX-License-Identifier: Apache-2.0
#include "runtime/rebalance/rebalancer.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <stdexcept>
#include <utility>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "experts/index.hpp"
#include "runtime/placement/policies/draft.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
/// What follows in a rank's words.
enum class Said : std::int64_t { kNothing, kWindow, kStays, kMoves };

/// Between two steps a rank gives copies under way this share of the time since it did so last, but
/// no less than so long, if there is something to do for them.
constexpr double kPieceShare = 0.02;
constexpr double kPieceSeconds = 5e-4;

/// Consecutive ranks of a node, if all nodes have as many; else all ranks are one.
MachineShape shape_of(comm::Group& group, std::int64_t slots) {
  const comm::NodeMap& nodes = group.nodes();
  const auto mates = static_cast<int>(nodes.mates_of(0).size());
  MachineShape shape{.ranks = group.size(), .ranks_per_node = mates, .slots = slots};
  for (int rank = 0; rank < group.size(); ++rank) {
    const auto& of = nodes.mates_of(rank);
    if (of.front() == rank / mates * mates &&
        (std::ssize(of) == mates || of.back() == group.size() - 1)) {
      continue;
    }
    shape.ranks_per_node = group.size();
  }
  return shape;
}

std::int64_t fullest(const std::vector<Placement>& placements) {
  std::int64_t most = 1;
  for (const Placement& placement : placements) {
    for (int rank = 0; rank < placement.ranks(); ++rank) {
      most = std::max(most, static_cast<std::int64_t>(placement.experts_of(rank).size()));
    }
  }
  return most;
}

void require_movable(const RebalanceSettings& settings, const Coordinator& layers,
                     const std::vector<Placement>& now, const MachineShape& shape) {
  const std::string got = "--rebalance: got " + settings.policy;
  for (std::size_t i = 0; i < layers.layers(); ++i) {
    if (layers.layer(i).shares_work()) {
      throw std::invalid_argument(got +
                                  " with a node queue, whose ranks share their experts and take "
                                  "each other's rows as it is, want --node-queue off");
    }
    if (layers.layer(i).packing().as_needed > 0) {
      throw std::invalid_argument(got +
                                  " with experts that are packed as needed, want all packed "
                                  "ahead: --pack eager and memory for them");
    }
  }
  if (const std::int64_t most = fullest(now); most > shape.slots) {
    throw std::invalid_argument("--rebalance-slots: got " + std::to_string(shape.slots) +
                                ", want at least " + std::to_string(most) +
                                ", the copies of the fullest rank");
  }
  check({.rows = std::vector<double>(at(now.front().experts()), 0.0), .tokens = {}}, shape);
}

std::vector<std::int64_t> words_in(std::span<const std::byte> bytes) {
  std::vector<std::int64_t> words(bytes.size() / sizeof(std::int64_t));
  if (!words.empty()) std::memcpy(words.data(), bytes.data(), words.size() * sizeof words[0]);
  return words;
}
}  // namespace

Rebalancer::Rebalancer(comm::Group& group, const RebalanceSettings& settings, MovingLayers moving,
                       std::uint64_t epoch, std::function<void(std::string)> note)
    : group_(group),
      settings_(settings),
      moving_(moving),
      note_(std::move(note)),
      counter_(*moving.layers, settings.window, moving.threads),
      mover_(group) {
  for (std::size_t i = 0; i < moving_.layers->layers(); ++i) {
    now_.push_back(moving_.layers->layer(i).placement());
  }
  shape_ = shape_of(group, settings.slots > 0 ? settings.slots : fullest(now_));
  together(group, [&] { require_movable(settings, *moving_.layers, now_, shape_); });
  report_.policy = settings.policy;
  report_.slots = shape_.slots;
  report_.epoch = epoch;
  tell_edition();
}

void Rebalancer::tell_edition() {
  for (std::size_t i = 0; i < moving_.layers->layers(); ++i) {
    moving_.layers->layer(i).engine().exchange->edition(static_cast<std::uint32_t>(report_.epoch));
  }
}

void Rebalancer::say(std::vector<std::byte>& note) const {
  std::vector<std::int64_t> words{done_here() ? 1 : 0};
  const auto says = [&](Said said) { words.push_back(static_cast<std::int64_t>(said)); };
  if (looks_now()) {
    says(Said::kWindow);
    words.push_back(static_cast<std::int64_t>(stall_s_ * 1e9));
    words.push_back(mover_.bytes() - bytes_before_);
    counter_.write(words);
  } else if (phase_ == Phase::kDeciding && group_.rank() == 0) {
    says(proposed_.empty() ? Said::kStays : Said::kMoves);
    words.push_back(kept_ ? 1 : 0);
    for (const Placement& layer : proposed_) {
      for (int rank = 0; rank < layer.ranks(); ++rank) {
        const auto experts = layer.experts_of(rank);
        words.push_back(std::ssize(experts));
        words.insert(words.end(), experts.begin(), experts.end());
      }
    }
  } else {
    says(Said::kNothing);
  }
  const auto bytes = std::as_bytes(std::span(words));
  note.insert(note.end(), bytes.begin(), bytes.end());
}

bool Rebalancer::turn(const std::vector<std::vector<std::byte>>& notes, std::size_t skip,
                      std::int64_t step) {
  const auto start = Clock::now();
  Words said;
  bool all_done = true;
  for (const auto& note : notes) {
    said.push_back(words_in(std::span(note).subspan(std::min(skip, note.size()))));
    if (said.back().size() < 2) throw comm::ProtocolError("rebalance: a note of too few words");
    all_done = all_done && said.back()[0] != 0;
  }
  bool switched = false;
  if (phase_ == Phase::kMoving && all_done) {
    change_over(step);
    switched = true;
  } else if (phase_ == Phase::kDeciding) {
    hear_verdict(said[0]);
  } else if (looks_now()) {
    look(said, step);
  }
  ++turns_;
  if (phase_ == Phase::kMoving) {
    if (!settings_.beside) mover_.finish();
    const double most = std::max(
        kPieceSeconds, kPieceShare * std::chrono::duration<double>(start - last_turn_).count());
    while (mover_.pump() && seconds_since(start) < most) {
    }
    catch_up(!settings_.beside);
  }
  last_turn_ = start;
  mover_.allow_looks();
  stood_still(seconds_since(start));
  return switched;
}

void Rebalancer::look(const Words& said, std::int64_t step) {
  Words windows;
  std::int64_t stall_ns = 0;
  std::int64_t bytes = 0;
  for (const auto& words : said) {
    if (words.size() < 4 || words[1] != static_cast<std::int64_t>(Said::kWindow)) {
      throw comm::ProtocolError("rebalance: a rank has not told its load");
    }
    stall_ns = std::max(stall_ns, words[2]);
    bytes = std::max(bytes, words[3]);
    windows.emplace_back(words.begin() + 4, words.end());
  }
  const Window window = counter_.read(windows);
  if (!changed_over_) {
    report_.balancedness_before = window.balancedness();
    report_.busiest_rows_before = window.busiest_rows();
  }
  ++report_.looks;
  turns_ = 0;
  phase_ = Phase::kDeciding;
  if (group_.rank() != 0) return;
  const auto start = Clock::now();
  const double bandwidth = bytes > 0 && stall_ns > 0
                               ? static_cast<double>(bytes) / static_cast<double>(stall_ns) * 1e9
                               : settings_.bandwidth;
  RebalanceEvent event = verdict_on(window, bandwidth);
  event.step = step;
  report_.plan_s += seconds_since(start);
  kept_ = event.words.empty();
  if (kept_) return;
  event.words.replace(0, std::string("rebalance:").size(),
                      "rebalance " + settings_.policy + ", step " + std::to_string(step) + ":");
  if (note_) note_(event.words);
  report_.events.push_back(std::move(event));
}

RebalanceEvent Rebalancer::verdict_on(const Window& window, double bandwidth) {
  const Policy policy = policy_from(settings_.policy);
  const std::vector<LayerLoad> loads = window.loads();
  std::vector<Placement> asked;
  std::vector<Placement> gains = now_;  // layers that gain nothing stay as they are
  double then = 0;
  double mean = 0;
  for (std::size_t i = 0; i < now_.size(); ++i) {
    asked.push_back(keep_near(now_[i], place(policy, loads[i], shape_), shape_));
    const double worst = Draft(loads[i].rows, shape_, now_[i]).worst();
    if (Draft(loads[i].rows, shape_, asked[i]).worst() < worst) gains[i] = asked[i];
    then += worst;
    for (const double rows : loads[i].rows) mean += rows / shape_.ranks;
  }
  proposed_.clear();
  if (mean <= 0) return {};
  std::vector<Placement> plan = gains == now_ ? asked : gains;
  if (plan == now_) return {};
  const Links links{.node = bandwidth, .fabric = bandwidth};
  const RebalanceDecision decision = decide(loads, window.steps, now_, plan, shape_,
                                            {.row_s = window.row_s(),
                                             .expert_bytes = static_cast<double>(bytes_of_a_copy()),
                                             .links = links,
                                             .pays_within = settings_.pays_within});
  double after = 0;
  for (std::size_t i = 0; i < now_.size(); ++i) {
    after += Draft(loads[i].rows, shape_, plan[i]).worst();
  }
  if (decision.moves) proposed_ = std::move(plan);
  return {.moved = decision.moves,
          .words = decision.words,
          .copies = decision.migration.copies(),
          .balancedness_then = then > 0 ? mean / then : 1,
          .balancedness_plan = after > 0 ? mean / after : 1};
}

void Rebalancer::hear_verdict(const std::vector<std::int64_t>& words) {
  phase_ = Phase::kWatching;
  if (words.size() < 3) throw comm::ProtocolError("rebalance: rank 0 has not told its verdict");
  if (words[1] == static_cast<std::int64_t>(Said::kStays)) {
    ++(words[2] != 0 ? report_.kept : report_.refused);
    return;
  }
  plan_.clear();
  std::size_t next = 3;
  for (std::size_t layer = 0; layer < now_.size(); ++layer) {
    std::vector<std::vector<std::int32_t>> lists;
    for (int rank = 0; rank < group_.size(); ++rank) {
      const std::int64_t count = next < words.size() ? words[next++] : -1;
      if (count < 0 || count > std::ssize(words) - static_cast<std::int64_t>(next)) {
        throw comm::ProtocolError("rebalance: rank 0 told half a plan");
      }
      auto& list = lists.emplace_back();
      for (std::int64_t i = 0; i < count; ++i) {
        list.push_back(static_cast<std::int32_t>(words[next++]));
      }
    }
    plan_.push_back(Placement::from_lists(std::move(lists), now_[layer].experts()));
  }
  ++report_.moved;
  phase_ = Phase::kMoving;
  next_layer_ = 0;
  stall_s_ = 0;
  bytes_before_ = mover_.bytes();
  begin_batch();
}

double Rebalancer::seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void Rebalancer::stood_still(double seconds) {
  stall_s_ += seconds;
  report_.stall_s += seconds;
  report_.longest_stall_s = std::max(report_.longest_stall_s, seconds);
}

void Rebalancer::finish() {
  mover_.finish();
  if (phase_ != Phase::kDeciding || group_.rank() != 0) return;
  if (kept_) {
    ++report_.kept;
  } else if (proposed_.empty()) {
    ++report_.refused;
  } else {
    report_.events.back().moved = false;  // the run is over before anybody was told
  }
}

RebalanceReport Rebalancer::report() {
  std::vector<std::int64_t> words;
  counter_.write(words);
  const Window window =
      counter_.read(comm::allgather_values<std::int64_t>(group_, std::span(std::as_const(words))));
  report_.balancedness_after = window.balancedness();
  report_.busiest_rows_after = window.busiest_rows();
  if (!changed_over_) {
    report_.balancedness_before = report_.balancedness_after;
    report_.busiest_rows_before = report_.busiest_rows_after;
  }
  const std::array<double, 5> mine{report_.stall_s, report_.longest_stall_s,
                                   report_.longest_switch_s, static_cast<double>(report_.refused),
                                   static_cast<double>(report_.kept)};
  const auto all = comm::allgather_values<double>(group_, std::span(mine));
  for (const auto& rank : all) {
    report_.stall_s = std::max(report_.stall_s, rank[0]);
    report_.longest_stall_s = std::max(report_.longest_stall_s, rank[1]);
    report_.longest_switch_s = std::max(report_.longest_switch_s, rank[2]);
  }
  report_.refused = static_cast<std::int64_t>(all[0][3]);  // rank 0 may know of one more
  report_.kept = static_cast<std::int64_t>(all[0][4]);
  return report_;
}
}  // namespace switchyard::runtime
