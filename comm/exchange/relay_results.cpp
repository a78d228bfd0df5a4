// SPDX-License-Identifier: Apache-2.0
// The way back of a relay: no frame needs a header here, for both ends know how many results there
// are from the manifests of the way out.
#include <cstring>
#include <numeric>

#include "comm/base/hollow.hpp"
#include "comm/exchange/relay.hpp"

namespace switchyard::comm {
namespace {
std::int64_t sum_of(const std::vector<std::int32_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}
}  // namespace

std::int64_t RelayExchange::coming_results(std::size_t far, std::size_t mate) const {
  std::int64_t results = 0;
  for (const Coming& coming : coming_[far]) results += coming.manifest.shares[mate].results;
  return results;
}

void RelayExchange::open_slots() {
  const std::int64_t bytes = result_bytes();
  const auto place = [&](int for_rank, std::byte*& at) {
    slots()[static_cast<std::size_t>(for_rank)] = at;
    if (!hollow_) at += results_for(for_rank) * bytes;
  };
  for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
    std::int64_t through = 0;  // this mate, to far ranks
    for (const int node : trades_[mate]) {
      for (const int far : ranks_of(node)) through += results_for(far);
    }
    std::byte* at = nullptr;
    if (mate == local_) {
      if (hollow_) {
        own_back_ = hollow_buffer(static_cast<std::size_t>(through * bytes));
      } else {
        own_back_.resize(static_cast<std::size_t>(through * bytes));
      }
      at = own_back_.data();
    } else {
      const std::size_t leg = (mate + mates_.size() - local_) % mates_.size() - 1;
      size_body(back_.out[leg].parcel, through, bytes);
      at = back_.out[leg].parcel.body.data();
      // What this rank computed for the mate itself stands in front of what it passes on to it.
      std::int64_t passed = results_for(mates_[mate]);
      for (const auto& of_node : passing_) passed += sum_of(of_node[mate].results);
      size_body(home_.out[leg].parcel, passed, bytes);
      slots()[static_cast<std::size_t>(mates_[mate])] = home_.out[leg].parcel.body.data();
    }
    for (const int node : trades_[mate]) {
      for (const int far : ranks_of(node)) place(far, at);
    }
  }
}

void RelayExchange::carry_results() {
  const std::int64_t bytes = result_bytes();
  for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
    if (mate == local_) continue;
    std::int64_t rows = 0;
    for (std::size_t far = 0; far < coming_.size(); ++far) rows += coming_results(far, mate);
    FrameHeader& header = back_.in[leg_of(mate)].parcel.header;
    header.rows = rows;
    header.row_bytes = static_cast<std::int32_t>(bytes);
  }
  trade_.bodies(back_.out, back_.in, hollow_);
  pass_results_across();
  hand_results_home();
}

void RelayExchange::pass_results_across() {
  const std::int64_t bytes = result_bytes();
  std::vector<const std::byte*> from(mates_.size());  // what is next of each mate's results
  for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
    from[mate] = mate == local_ ? own_back_.data() : back_.in[leg_of(mate)].parcel.body.data();
  }
  for (std::size_t far = 0; far < coming_.size(); ++far) {
    std::int64_t rows = 0;
    for (std::size_t mate = 0; mate < mates_.size(); ++mate) rows += coming_results(far, mate);
    Parcel& out = recross_.out[far_out_[far]].parcel;
    size_body(out, rows, bytes);
    std::byte* to = out.body.data();
    for (std::size_t mate = 0; mate < mates_.size() && !hollow_; ++mate) {
      const std::int64_t length = coming_results(far, mate) * bytes;
      copy(to, from[mate], length);
      to += length;
      from[mate] += length;
    }
    std::int64_t expected = 0;
    for (const Passing& passing : passing_[far]) expected += sum_of(passing.results);
    FrameHeader& in = recross_.in[far_in_[far]].parcel.header;
    in.rows = expected;
    in.row_bytes = static_cast<std::int32_t>(bytes);
  }
  trade_.bodies(recross_.out, recross_.in, hollow_);
}

void RelayExchange::hand_results_home() {
  const std::int64_t bytes = result_bytes();
  std::vector<std::byte*> to(mates_.size());  // where each mate's next results go
  for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
    if (mate == local_) continue;
    Parcel& out = home_.out[(mate + mates_.size() - local_) % mates_.size() - 1].parcel;
    to[mate] = out.body.data();
    if (!hollow_) to[mate] += results_for(mates_[mate]) * bytes;
    std::int64_t rows = results_from(mates_[mate]);
    for (const int node : trades_[mate]) {
      for (const int far : ranks_of(node)) rows += results_from(far);
    }
    FrameHeader& in = home_.in[leg_of(mate)].parcel.header;
    in.rows = rows;
    in.row_bytes = static_cast<std::int32_t>(bytes);
  }
  // From a far node: by the rank that computed, then by the mate that waits.
  for (std::size_t far = 0; far < passing_.size(); ++far) {
    const std::byte* from = recross_.in[far_in_[far]].parcel.body.data();
    const auto& there = ranks_of(trades_[local_][far]);
    for (std::size_t i = 0; i < there.size(); ++i) {
      for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
        const std::int64_t length = passing_[far][mate].results[i] * bytes;
        if (mate == local_) {
          results()[static_cast<std::size_t>(there[i])] = from;
        } else if (!hollow_) {
          copy(to[mate], from, length);
          to[mate] += length;
        }
        if (!hollow_) from += length;
      }
    }
  }
  trade_.bodies(home_.out, home_.in, hollow_);
  for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
    if (mate == local_) continue;
    const std::byte* at = home_.in[leg_of(mate)].parcel.body.data();
    const auto take = [&](int rank) {
      results()[static_cast<std::size_t>(rank)] = at;
      if (!hollow_) at += results_from(rank) * bytes;
    };
    take(mates_[mate]);
    for (const int node : trades_[mate]) {
      for (const int far : ranks_of(node)) take(far);
    }
  }
}
}  // namespace switchyard::comm
