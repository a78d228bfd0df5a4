// SPDX-License-Identifier: Apache-2.0
#include "comm/group/group.hpp"

#include <limits>
#include <sched.h>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/words.hpp"
#include "comm/group/collective.hpp"

namespace switchyard::comm {

void Group::wait(Pending& pending) {
  wait_all({&pending, 1});
}

void Group::wait_all(std::span<Pending> pendings) {
  Awaited awaited{.what = "messages"};
  const auto done = [pendings, &awaited] {
    bool all = true;
    for (Pending& pending : pendings) {
      if (pending.test()) continue;  // each test moves its message
      awaited.peer = pending.peer();
      all = false;
    }
    return all;
  };
  const auto whom = [pendings] {
    std::vector<int> ranks;
    for (Pending& pending : pendings) {
      if (!pending.test()) ranks.push_back(pending.peer());
    }
    return rank_names(ranks);
  };
  deadline_.wait(done, whom, awaited);
}

const NodeMap& Group::nodes() {
  if (!nodes_) {
    const int leader =
        ranks_per_node_ > 0 ? rank() / ranks_per_node_ * ranks_per_node_ : find_leader();
    std::vector<int> leaders;
    for (const auto& one : allgather_values<int>(*this, std::span(&leader, 1))) {
      leaders.push_back(one[0]);
    }
    nodes_ = NodeMap::from_leaders(leaders);
  }
  return *nodes_;
}

int Group::processors() {
  if (processors_ > 0) return processors_;
  // A rank may be bound to some: what all of a node may use is what any of them may.
  cpu_set_t mine;
  CPU_ZERO(&mine);
  if (sched_getaffinity(0, sizeof mine, &mine) != 0) CPU_SET(0, &mine);
  const auto all = allgather_values<cpu_set_t>(*this, std::span(&mine, 1));
  cpu_set_t any;
  CPU_ZERO(&any);
  for (const int mate : nodes().mates_of(rank())) {
    CPU_OR(&any, &any, &all[static_cast<std::size_t>(mate)][0]);
  }
  processors_ = CPU_COUNT(&any);
  return processors_;
}

Channel Group::new_channel() {
  if (next_channel_ == std::numeric_limits<int>::max()) {
    throw std::invalid_argument("group: no channel left");
  }
  return Channel{next_channel_++};
}

void Group::begin_anew(NodeMap nodes) {
  nodes_ = std::move(nodes);
  processors_ = 0;
  next_channel_ = static_cast<int>(kFirstExchange);
}

void require_message(const char* where, const Group& group, int peer, const Extent& extent) {
  constexpr std::int64_t kMax = std::numeric_limits<int>::max();
  if (peer < 0 || peer >= group.size()) {
    throw std::invalid_argument(std::string(where) + ": rank is " + std::to_string(peer) +
                                ", want 0 to " + std::to_string(group.size() - 1));
  }
  if (extent.rows < 0 || extent.rows > kMax || extent.row_bytes < 1 || extent.row_bytes > kMax) {
    throw std::invalid_argument(std::string(where) + ": got " + std::to_string(extent.rows) +
                                " rows of " + std::to_string(extent.row_bytes) +
                                " bytes for rank " + std::to_string(peer) +
                                ", want 0 to 2147483647 rows of 1 to 2147483647 bytes");
  }
}
}  // namespace switchyard::comm
