// SPDX-License-Identifier: Apache-2.0
// The way home: results go from the rank that computed them straight to their home.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "comm/exchange/two_level.hpp"

namespace switchyard::comm {
std::byte* TwoLevelExchange::own_slots(std::int64_t /*bytes*/) {
  return board_.line(rank(), rank(), rank()).slots;
}

void TwoLevelExchange::open_slots() {
  if (result_bytes() != result_bytes_offered_) {
    throw std::invalid_argument("open_returns: row_bytes is " + std::to_string(result_bytes()) +
                                ", want " + std::to_string(result_bytes_offered_) +
                                " as the offer said");
  }
  if (wire_ != WireType::kFloat32 && result_bytes() % 4 != 0) {
    throw std::invalid_argument("open_returns: row_bytes is " + std::to_string(result_bytes()) +
                                ", want a multiple of 4 for a wire of " +
                                std::string(name_of(wire_)));
  }
  for (const int mate : board_.mates()) {
    if (mate == rank()) continue;
    slots()[static_cast<std::size_t>(mate)] = board_.line(mate, mate, rank()).slots;
    results()[static_cast<std::size_t>(mate)] = board_.line(rank(), rank(), mate).slots;
  }
  const std::int64_t wire_row_bytes = wire_row(result_bytes());
  const bool narrow = wire_ != WireType::kFloat32;
  const auto on_wire = [&](std::byte* wide, Buffer& thin, std::int64_t count) {
    if (narrow) thin.resize(static_cast<std::size_t>(count * wire_row_bytes));
    return narrow ? thin.data() : wide;
  };
  for (Home& home : homes_) {
    home.narrowed = home.widened = 0;
    const std::int32_t* const to_send = line_of(home.rank).stage_results;
    const std::int64_t* const to_come =
        stage_results_.data() + static_cast<std::ptrdiff_t>(home.rank) * stages_;
    for (int s = 0; s < stages_; ++s) {
      cuts_[static_cast<std::size_t>(s)] = to_come[s] * wire_row_bytes;
    }
    const std::int64_t expected = results_from(home.rank);
    home.in.resize(static_cast<std::size_t>(expected * result_bytes()));
    home.received.begin(on_wire(home.in.data(), home.narrow_in, expected), cuts_);
    for (int s = 0; s < stages_; ++s) {
      cuts_[static_cast<std::size_t>(s)] = to_send[s] * wire_row_bytes;
    }
    const std::int64_t owed = results_for(home.rank);
    home.out = board_.take(owed * result_bytes());
    home.sent.begin(on_wire(home.out, home.narrow_out, owed), cuts_);
    slots()[static_cast<std::size_t>(home.rank)] = home.out;
    results()[static_cast<std::size_t>(home.rank)] = home.in.data();
  }
  progress();  // receives are posted before anybody sends
}

void TwoLevelExchange::release_stage(int stage) {
  const std::int64_t wire_row_bytes = wire_row(result_bytes());
  for (Home& home : homes_) {
    const std::int64_t written = line_of(home.rank).stage_results[stage];
    if (wire_ != WireType::kFloat32) {
      narrow_rows(wire_, home.out, home.narrow_out.data(), result_bytes() / 4, home.narrowed,
                  written);
      home.narrowed = written;
    }
    home.sent.allow(written * wire_row_bytes);
  }
  released_ = stage + 1;
  progress();
}

void TwoLevelExchange::advance(Home& home) {
  home.sent.progress();
  if (home.received.finished()) return;
  home.received.progress();
  if (wire_ == WireType::kFloat32) return;
  const std::int64_t here = home.received.done() / wire_row(result_bytes());
  widen_rows(wire_, home.narrow_in.data(), home.in.data(), result_bytes() / 4, home.widened, here);
  home.widened = here;
}

void TwoLevelExchange::carry_results() {
  if (released_ < stages_) release_stage(stages_ - 1);
  board_.set(Mark::kFinished, round());
  wait([this] { return all_through(); });
  for (const int mate : board_.mates()) {
    if (mate != rank()) traffic_.wire_bytes += results_for(mate) * result_bytes();
  }
  for (const Home& home : homes_) {
    traffic_.wire_bytes += home.sent.length();
    traffic_.between_nodes_bytes += home.sent.length();
  }
  for (const Outgoing& out : outgoing_) {
    traffic_.wire_bytes += out.stream.length();
    traffic_.between_nodes_bytes += out.stream.length();
  }
}

bool TwoLevelExchange::all_through() {
  progress();
  const auto sent = [](const Outgoing& out) {
    return out.head_out.empty() && out.manifest_out.empty() && out.stream.finished();
  };
  const auto through = [](const Home& home) {
    return home.sent.finished() && home.received.finished();
  };
  return marked_ == stages_ && std::ranges::all_of(outgoing_, sent) &&
         std::ranges::all_of(homes_, through) && board_.all_have(Mark::kFinished, round());
}

Traffic TwoLevelExchange::carried() const {
  Traffic all = traffic_;
  for (const Outgoing& out : outgoing_) all.messages += out.stream.messages();
  for (const Home& home : homes_) all.messages += home.sent.messages();
  return all;
}
}  // namespace switchyard::comm
