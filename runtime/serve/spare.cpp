// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/spare.hpp"

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace switchyard::runtime {
namespace {
constexpr std::chrono::microseconds kNap{300};
/// For a process to end, once it has nothing left to do; big memory takes a while to give back.
constexpr std::chrono::seconds kLongestEnd{5};

/// The status of who had the last word, if the job is over.
std::optional<int> over(comm::Membership& membership) {
  membership.tick();
  membership.look();
  const std::vector<int> members = membership.members(membership.word());
  if (members.empty()) return std::nullopt;
  return membership.departed(members.front());
}

/// A rank that was lost and whose place this one takes; -1: none.
int take_place(comm::Membership& membership) {
  const comm::MemberWord word = membership.word();
  for (int r = 0; r < membership.workers(); ++r) {
    if (word.lost(r) && membership.claim(r)) return r;
  }
  return -1;
}
}  // namespace

SpareCall wait_as_spare(comm::Membership& membership, const Placement& plan, Keeper& keeper) {
  using Clock = std::chrono::steady_clock;
  SpareCall call;
  while (true) {
    call.status = over(membership);
    if (call.status) return call;
    if (call.place < 0) {
      call.place = take_place(membership);
      if (call.place >= 0) {
        call.needed = Clock::now();
        const auto had = plan.experts_of(call.place);
        keeper.load({had.begin(), had.end()});
      }
    }
    if (call.place >= 0 && keeper.loading() != 1) {
      call.load_s = std::chrono::duration<double>(Clock::now() - call.needed).count();
      return call;
    }
    std::this_thread::sleep_for(kNap);
  }
}

int leave_together(comm::Membership& membership, comm::EnduringGroup& group,
                   const std::function<int()>& show) {
  if (group.rank() == 0) {
    const int status = show();
    membership.depart(status);
    membership.see_off(kLongestEnd);
    return status;
  }
  const int first = group.name_of(0);
  std::optional<int> status;
  group.deadline().wait(
      [&] {
        status = membership.departed(first);
        if (status) return true;
        membership.tick();
        membership.look();
        group.check();
        return false;
      },
      [first] { return "rank " + std::to_string(first); }, {.what = "the end"});
  membership.depart(*status);
  return *status;
}
}  // namespace switchyard::runtime
