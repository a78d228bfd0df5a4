// SPDX-License-Identifier: Apache-2.0
#include "runtime/rebalance/mover.hpp"

#include <span>
#include <string>

namespace switchyard::runtime {

void Mover::add(Cargo cargo) {
  const std::pair key(cargo.peer, cargo.way);
  auto lane = lanes_.find(key);
  if (lane == lanes_.end()) {
    lane = lanes_.emplace(key, Lane(comm::Stream(group_, channel_, cargo.peer, cargo.way))).first;
  }
  lane->second.cargos.push_back(std::move(cargo));
}

bool Mover::advance(Lane& lane) {
  if (lane.cargos.empty()) return false;
  Cargo& cargo = lane.cargos.front();
  bool moved = false;
  if (!lane.under_way) {
    lane.stream.begin(cargo.begin(), std::span(&cargo.bytes, 1));
    lane.stream.allow(cargo.bytes);
    lane.under_way = moved = true;
    lane.done = 0;
  }
  lane.stream.progress();
  moved = moved || lane.stream.done() > lane.done;
  bytes_ += lane.stream.done() - lane.done;
  lane.done = lane.stream.done();
  if (lane.stream.finished()) {
    lane.under_way = false;
    const Cargo over = std::move(cargo);
    lane.cargos.pop_front();
    if (over.end) over.end();
  }
  return moved;
}

bool Mover::pump() {
  bool moved = false;
  for (auto& [key, lane] : lanes_) moved = advance(lane) || moved;
  return moved;
}

bool Mover::idle() const {
  for (const auto& [key, lane] : lanes_) {
    if (!lane.cargos.empty()) return false;
  }
  return true;
}

void Mover::finish() {
  const auto whom = [this] {
    for (const auto& [key, lane] : lanes_) {
      if (!lane.cargos.empty()) return "rank " + std::to_string(key.first);
    }
    return std::string("nobody");
  };
  group_.deadline().wait(
      [this] {
        static_cast<void>(pump());
        return idle();
      },
      whom, {.what = "experts that move"});
}

void Mover::work() {
  if (!pump()) --looks_;
}
}  // namespace switchyard::runtime
