// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Who is to blame for a hang, from what the ranks of a node wrote about themselves. Pure: views
/// in, words out. Names a rank only where the views leave no other.
#include <string>
#include <vector>

#include "comm/watch/watch_board.hpp"

namespace switchyard::comm {

/// What a set of views says.
struct Verdict {
  bool sure = false;       ///< `ranks` are guilty; else they are all that is left to choose from
  std::vector<int> ranks;  ///< sorted; empty: nothing to go by
  std::string words;       ///< "rank 2 was stopped by a signal in combine, step 3, layer 0"
};

/// Rules, the first that fits: its process is gone or stopped; its heart does not beat; it waits
/// for nobody while others wait; it entered another meeting than most; it broke the order of an
/// exchange; it is behind or ahead of most. Else nobody is sure.
/// @param before  the same ranks a little earlier: who has moved since is not stuck
/// @param limit_s  of a wait, to tell who has been at work for long
[[nodiscard]] Verdict judge(const std::vector<RankView>& before, const std::vector<RankView>& now,
                            double limit_s);

/// Only by what they have entered; no ranks: all the same.
[[nodiscard]] Verdict judge_meetings(const std::vector<RankView>& now);

/// Who waits for whom, a line a rank that is known:
/// "rank 0  combine, step 3, layer 0   2.0 s  waits for rank 2   (17 meetings, last collect 5 ...)"
[[nodiscard]] std::vector<std::string> wait_matrix(const std::vector<RankView>& views);
}  // namespace switchyard::comm
