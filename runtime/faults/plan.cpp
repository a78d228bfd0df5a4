// SPDX-License-Identifier: Apache-2.0
#include "runtime/faults/plan.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include "runtime/model/nearest.hpp"

namespace switchyard::runtime {
namespace {
struct Named {
  std::string_view name;
  FaultAction action;
};
constexpr std::array<Named, 15> actions() {
  return {{{"kill", FaultAction::kKill},
           {"stop", FaultAction::kStop},
           {"spin", FaultAction::kSpin},
           {"sleep", FaultAction::kSleep},
           {"slow", FaultAction::kSlow},
           {"segv", FaultAction::kSegv},
           {"abort", FaultAction::kAbort},
           {"throw", FaultAction::kThrow},
           {"bad_alloc", FaultAction::kBadAlloc},
           {"exit0", FaultAction::kExit0},
           {"exit1", FaultAction::kExit1},
           {"skip", FaultAction::kSkip},
           {"mismatch", FaultAction::kMismatch},
           {"corrupt", FaultAction::kCorrupt},
           {"errno", FaultAction::kErrno}}};
}

struct Error {
  std::string_view name;
  int number;
};
constexpr std::array<Error, 8> errors() {
  return {{{"ENOSPC", ENOSPC},
           {"EIO", EIO},
           {"EDQUOT", EDQUOT},
           {"EROFS", EROFS},
           {"EMFILE", EMFILE},
           {"EINTR", EINTR},
           {"EFBIG", EFBIG},
           {"EACCES", EACCES}}};
}

const std::vector<std::string> phases() {
  return {"init",   "load",     "start",     "route",     "plan",     "dispatch",
          "expert", "experts",  "always-on", "combine",   "snapshot", "shard-write",
          "vote",   "manifest", "commit",    "retention", "finalize", "end of step"};
}
const std::vector<std::string> meetings() {
  return {"dispatch", "collect", "allgather", "gather", "broadcast", "barrier"};
}
const std::vector<std::string> calls() {
  return {"open",   "pwrite",   "pread",          "allocate",         "fsync",  "close", "lock",
          "rename", "exchange", "make_directory", "remove_directory", "unlink", "list",  "status"};
}

[[noreturn]] void refuse(const std::string& what, std::string_view got,
                         const std::vector<std::string>& want) {
  const std::string near = nearest(got, want);
  throw std::invalid_argument("--inject: got " + what + " '" + std::string(got) + "', want " +
                              one_of(want) + (near.empty() ? "" : "; nearest is " + near));
}

std::string one_among(const std::string& what, std::string_view got,
                      const std::vector<std::string>& want) {
  if (std::ranges::find(want, got) == want.end()) refuse(what, got, want);
  return std::string(got);
}

std::vector<std::string> action_names() {
  std::vector<std::string> names;
  for (const Named& one : actions()) names.emplace_back(one.name);
  names.emplace_back("disk-full");
  return names;
}

template <class Number>
std::optional<Number> number_from(std::string_view text) {
  Number value{};
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end) return std::nullopt;
  return value;
}

/// Numbers from a seed, the same everywhere (splitmix64).
std::uint64_t draw(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

std::int64_t whole(const std::string& key, std::string_view text, std::uint64_t& state) {
  const std::size_t dots = text.find("..");
  const auto first = number_from<std::int64_t>(text.substr(0, dots));
  const auto last =
      dots == std::string_view::npos ? first : number_from<std::int64_t>(text.substr(dots + 2));
  if (!first || !last || *first < 0 || *last < *first) {
    throw std::invalid_argument("--inject: got " + key + " '" + std::string(text) +
                                "', want a whole number from 0, or a range as 2..9");
  }
  if (dots == std::string_view::npos) return *first;
  return *first +
         static_cast<std::int64_t>(draw(state) % static_cast<std::uint64_t>(*last - *first + 1));
}

double value_of(FaultAction action, std::string_view name, std::string_view text) {
  if (action == FaultAction::kErrno) {
    for (const Error& error : errors()) {
      if (error.name == text) return error.number;
    }
    if (const auto number = number_from<int>(text); number && *number > 0) return *number;
    std::vector<std::string> names;
    for (const Error& error : errors()) names.emplace_back(error.name);
    refuse("errno", text, names);
  }
  const auto seconds = number_from<double>(text);
  if ((action == FaultAction::kSleep || action == FaultAction::kSlow) && seconds && *seconds >= 0) {
    return *seconds;
  }
  throw std::invalid_argument("--inject: got " + std::string(name) + "='" + std::string(text) +
                              "', want seconds for sleep and slow, a name for errno, and no value "
                              "for the others");
}

void put_action(Fault& fault, std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  if (name == "disk-full" && equals == std::string_view::npos) {
    fault.action = FaultAction::kErrno;
    fault.value = ENOSPC;
    return;
  }
  const auto known = actions();
  const auto found = std::ranges::find(known, name, &Named::name);
  if (found == known.end()) refuse("action", name, action_names());
  fault.action = found->action;
  if (equals != std::string_view::npos) {
    fault.value = value_of(fault.action, name, text.substr(equals + 1));
  } else if (fault.action == FaultAction::kErrno) {
    fault.value = EIO;
  } else if (fault.action == FaultAction::kSleep) {
    fault.value = 3600;
  } else if (fault.action == FaultAction::kSlow) {
    fault.value = 0.1;
  }
}

void put_key(Fault& fault, const std::string& key, std::string_view value, std::uint64_t& state) {
  if (key == "rank") {
    fault.rank = static_cast<int>(std::min<std::int64_t>(whole(key, value, state), 1 << 30));
  } else if (key == "step") {
    fault.step = whole(key, value, state);
  } else if (key == "layer") {
    fault.layer = whole(key, value, state);
  } else if (key == "nth") {
    fault.nth = std::max<std::int64_t>(1, whole(key, value, state));
  } else if (key == "incarnation") {
    fault.incarnation.reset();
    if (value != "any") fault.incarnation = whole(key, value, state);
  } else if (key == "phase") {
    fault.phase = one_among("phase", value, phases());
    if (fault.phase == "expert") fault.phase = "experts";
  } else if (key == "meeting") {
    fault.meeting = one_among("meeting", value, meetings());
  } else if (key == "call") {
    fault.call = one_among("call", value, calls());
  } else if (key == "seed") {
    static_cast<void>(whole(key, value, state));
  } else {
    refuse("key", key,
           {"rank", "step", "layer", "phase", "nth", "meeting", "call", "incarnation", "seed"});
  }
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}
}  // namespace

std::uint64_t seed_of_faults(std::string_view text) {
  const std::size_t at = text.find("seed=");
  if (at == std::string_view::npos) return 0;
  std::uint64_t seed = 0;
  std::from_chars(text.data() + at + 5, text.data() + text.size(), seed);
  return seed;
}

std::vector<Fault> faults_from(std::string_view text) {
  std::vector<Fault> faults;
  std::uint64_t state = seed_of_faults(text);
  for (const std::string_view one : split(text, ';')) {
    Fault fault;
    const std::size_t at = one.find('@');
    put_action(fault, one.substr(0, at));
    if (at != std::string_view::npos) {
      for (const std::string_view pair : split(one.substr(at + 1), ',')) {
        const std::size_t equals = pair.find('=');
        const std::string key(pair.substr(0, equals));
        put_key(fault, key,
                equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1),
                state);
      }
    }
    faults.push_back(std::move(fault));
  }
  return faults;
}

std::vector<Fault> placed(std::vector<Fault> faults, std::uint64_t seed, int ranks) {
  std::uint64_t state = ~seed;
  for (Fault& fault : faults) {
    if (!fault.rank) {
      fault.rank = static_cast<int>(draw(state) % static_cast<std::uint64_t>(ranks));
    }
    if (*fault.rank < ranks) continue;
    throw std::invalid_argument("--inject: got rank " + std::to_string(*fault.rank) +
                                ", want 0 to " + std::to_string(ranks - 1));
  }
  return faults;
}

std::string Fault::words() const {
  std::string text;
  for (const Named& one : actions()) {
    if (one.action == action) text = one.name;
  }
  if (action == FaultAction::kErrno) {
    text += "=" + std::to_string(static_cast<int>(value));
  } else if (action == FaultAction::kSleep || action == FaultAction::kSlow) {
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "=%g", value);
    text += seconds;
  }
  text += "@nth=" + std::to_string(nth);
  if (rank) text += ",rank=" + std::to_string(*rank);
  if (step) text += ",step=" + std::to_string(*step);
  if (layer) text += ",layer=" + std::to_string(*layer);
  if (!phase.empty()) text += ",phase=" + phase;
  if (!meeting.empty()) text += ",meeting=" + meeting;
  if (!call.empty()) text += ",call=" + call;
  text += ",incarnation=" + (incarnation ? std::to_string(*incarnation) : "any");
  return text;
}

std::string describe_faults() {
  return "goes wrong on purpose, for tests: ACTION[=VALUE]@KEY=VALUE,... and more after a ';'. "
         "Actions: " +
         one_of(action_names()) +
         ". Keys: rank (none: drawn), step, layer, phase, meeting (of skip, mismatch), call (of "
         "errno), nth of the places that match (1), incarnation (0, or any), seed; numbers may be "
         "ranges, 2..9, from which seed draws";
}
}  // namespace switchyard::runtime
