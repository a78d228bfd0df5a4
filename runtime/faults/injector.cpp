// SPDX-License-Identifier: Apache-2.0
#include "runtime/faults/injector.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <thread>
#include <unistd.h>
#include <utility>

namespace switchyard::runtime {
namespace {
using comm::Attendance;
using comm::Meeting;
using comm::Position;

bool matches(const Fault& fault, const Position& at) {
  return (!fault.step || *fault.step == at.step) && (!fault.layer || *fault.layer == at.layer) &&
         (fault.phase.empty() || fault.phase == at.phase);
}

bool of_a_place(FaultAction action) {
  return action != FaultAction::kSkip && action != FaultAction::kMismatch &&
         action != FaultAction::kCorrupt && action != FaultAction::kErrno;
}

void sleep_s(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

void signal_itself(int signal) {
  ::kill(::getpid(), signal);
}

void carry_out(const Fault& fault) {
  switch (fault.action) {
    case FaultAction::kKill:
      signal_itself(SIGKILL);
      break;
    case FaultAction::kStop:
      signal_itself(SIGSTOP);
      break;
    case FaultAction::kSpin:
      for (std::atomic<std::uint64_t> turns = 0;; turns.fetch_add(1)) {
      }
    case FaultAction::kSleep:
    case FaultAction::kSlow:
      sleep_s(fault.value);
      break;
    case FaultAction::kSegv:
      std::raise(SIGSEGV);
      break;
    case FaultAction::kAbort:
      std::abort();
    case FaultAction::kThrow:
      throw std::runtime_error("inject: thrown on purpose");
    case FaultAction::kBadAlloc:
      throw std::bad_alloc();
    case FaultAction::kExit0:
      std::_Exit(0);
    case FaultAction::kExit1:
      std::_Exit(1);
    default:
      break;
  }
}
}  // namespace

FaultInjector::FaultInjector(const std::vector<Fault>& faults, int rank, std::int64_t incarnation,
                             std::function<void(std::string_view)> say)
    : say_(std::move(say)) {
  for (const Fault& fault : faults) {
    if (fault.rank != rank || fault.incarnation.value_or(incarnation) != incarnation) continue;
    armed_.emplace_back(fault);
  }
}

bool FaultInjector::due(Armed& armed, const Position& at) {
  if (!matches(armed.fault, at)) return false;
  const std::int64_t seen = ++armed.seen;
  return seen == armed.fault.nth ||
         (armed.fault.action == FaultAction::kSlow && seen > armed.fault.nth);
}

void FaultInjector::say(const Armed& armed, const Position& at) const {
  if (armed.seen > armed.fault.nth) return;  // of a rank that is slow again and again, once
  std::string words = "inject: " + armed.fault.words() + " fires in " + std::string(at.phase);
  if (at.step >= 0) words += ", step " + std::to_string(at.step);
  if (at.layer >= 0) words += ", layer " + std::to_string(at.layer);
  say_(words);
}

void FaultInjector::moved(const Position& to) {
  for (Armed& armed : armed_) {
    if (!of_a_place(armed.fault.action) || !due(armed, to)) continue;
    say(armed, to);
    carry_out(armed.fault);
  }
}

Attendance FaultInjector::meets(const Position& at, const Meeting& meeting) {
  for (Armed& armed : armed_) {
    const Fault& fault = armed.fault;
    if (fault.action != FaultAction::kSkip && fault.action != FaultAction::kMismatch) continue;
    if (!fault.meeting.empty() && fault.meeting != meeting.what) continue;
    if (!due(armed, at)) continue;
    say(armed, at);
    return fault.action == FaultAction::kSkip ? Attendance::kSkip : Attendance::kElsewhere;
  }
  return Attendance::kEnter;
}

void FaultInjector::sends(const Position& at, std::span<std::byte> frame) {
  for (Armed& armed : armed_) {
    if (armed.fault.action != FaultAction::kCorrupt || frame.empty() || !due(armed, at)) continue;
    say(armed, at);
    frame[frame.size() / 2] ^= std::byte{0x10};
  }
}

int FaultInjector::fails(std::string_view call) {
  for (Armed& armed : armed_) {
    const Fault& fault = armed.fault;
    if (fault.action != FaultAction::kErrno) continue;
    if (!fault.call.empty() && fault.call != call) continue;
    const Position nowhere{.step = -1, .layer = -1, .phase = call};
    if (++armed.seen != fault.nth) continue;
    say(armed, nowhere);
    return static_cast<int>(fault.value);
  }
  return 0;
}
}  // namespace switchyard::runtime
