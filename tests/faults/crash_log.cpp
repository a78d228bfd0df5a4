// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/crash_log.hpp"

#include <algorithm>
#include <set>

namespace switchyard::faults {
namespace {
using Kind = Change::Kind;
constexpr std::int64_t kSector = 512;

/// How a crash treats what was not flushed.
enum class Mood { kAllLost, kAllKept, kNamesOnly, kBytesOnly, kMixed, kTorn };

std::set<int> folders_of(const std::vector<Change>& log) {
  std::set<int> folders = {MemoryFiles::kRoot};
  for (const Change& change : log) {
    if (change.kind == Kind::kNames) folders.insert(change.node);
  }
  return folders;
}

/// Applies a write: all of it, sectors of it, or zeros.
void apply_bytes(const Change& change, std::int64_t count, bool zeros, Node& node) {
  const auto end = static_cast<std::size_t>(change.at + count);
  if (node.bytes.size() < end) node.bytes.resize(end);
  if (zeros)
    std::fill_n(node.bytes.begin() + change.at, count, std::byte{0});
  else
    std::copy_n(change.bytes.begin(), count, node.bytes.begin() + change.at);
}

void apply_names(const Change& change, Node& node) {
  for (const auto& [name, number] : change.names) {
    if (number == 0)
      node.names.erase(name);
    else
      node.names[name] = number;
  }
}

/// Adds a decision to the hash and returns it.
std::int64_t decide(CrashState& state, std::int64_t decision) {
  state.decisions = (state.decisions ^ static_cast<std::uint64_t>(decision)) * 0x100000001B3U + 1;
  return decision;
}

void apply_unflushed(const Change& change, Mood mood, Random& random, CrashState& state) {
  const bool names = change.kind == Kind::kNames;
  bool kept = mood == Mood::kAllKept || (mood == Mood::kNamesOnly && names) ||
              (mood == Mood::kBytesOnly && !names);
  if (mood == Mood::kMixed || mood == Mood::kTorn) kept = draw(random, 0, 1) == 1;
  Node& node = state.nodes[change.node];
  if (decide(state, kept ? 1 : 0) == 0) return;
  if (names) return apply_names(change, node);
  if (change.kind == Kind::kSize) {
    const auto size = static_cast<std::size_t>(change.size);
    if (node.bytes.size() < size) node.bytes.resize(size);
    return;
  }
  std::int64_t count = change.size;
  bool zeros = false;
  if (mood == Mood::kTorn) {
    zeros = decide(state, draw(random, 0, 3)) == 0;
    if (!zeros) count = decide(state, draw(random, 0, count / kSector)) * kSector;
  }
  apply_bytes(change, count, zeros, node);
}

// ---- protocols that are broken

/// What one save did, by places in the log; [begin, end).
struct Save {
  std::size_t begin = 0;
  std::size_t manifest = 0;  ///< its name appears
  std::size_t commit = 0;    ///< the step's name appears
  std::size_t synced = 0;    ///< behind the flush of the folder
  std::size_t end = 0;
};

bool names_begin_with(const Change& change, const std::string& prefix, bool appears) {
  return change.kind == Kind::kNames && std::ranges::any_of(change.names, [&](const auto& entry) {
           return entry.first.starts_with(prefix) && (entry.second != 0) == appears;
         });
}

/// The saves of a log, of steps that did not exist before.
std::vector<Save> saves_of(const std::vector<Change>& log) {
  std::vector<Save> saves;
  for (std::size_t i = 0; i < log.size(); ++i) {
    const bool stage = names_begin_with(log[i], ".stage-", true);
    if (stage && log[i].names.size() == 1) {
      if (!saves.empty()) saves.back().end = i;
      saves.push_back({.begin = i, .end = log.size()});
    }
    if (saves.empty()) continue;
    Save& save = saves.back();
    if (names_begin_with(log[i], "MANIFEST", true)) save.manifest = i;
    if (save.commit == 0 && names_begin_with(log[i], "step-", true)) save.commit = i;
    if (save.commit != 0 && save.synced == 0 && log[i].kind == Kind::kFlush) save.synced = i + 1;
  }
  return saves;
}

using Part = std::vector<Change>;

Part part(const std::vector<Change>& log, std::size_t begin, std::size_t end) {
  return {log.begin() + static_cast<std::ptrdiff_t>(begin),
          log.begin() + static_cast<std::ptrdiff_t>(end)};
}

void append(Part& to, const Part& changes) {
  to.insert(to.end(), changes.begin(), changes.end());
}

/// Takes what `wanted` says out of `changes`.
template <class Wanted>
Part take(Part& changes, Wanted&& wanted) {
  Part taken;
  std::ranges::copy_if(changes, std::back_inserter(taken), wanted);
  std::erase_if(changes, wanted);
  return taken;
}

Part reordered(const std::vector<Change>& log, const Save& save, Mutant mutant) {
  Part made = part(log, save.begin, save.begin + 1);
  Part shards = part(log, save.begin + 1, save.manifest);
  Part manifest = part(log, save.manifest, save.commit);
  Part commit = part(log, save.commit, save.synced);
  Part rest = part(log, save.synced, save.end);  // telling, and retention
  const auto is_mark = [](const Change& change) { return change.kind == Kind::kMark; };
  const auto is_flush = [](const Change& change) { return change.kind == Kind::kFlush; };
  Part result = made;
  if (mutant == Mutant::kManifestFirst) {
    for (const Part& next : {manifest, commit, shards, rest}) append(result, next);
  } else if (mutant == Mutant::kToldBeforeCommit) {
    const Part marks = take(rest, is_mark);
    for (const Part& next : {shards, manifest, marks, commit, rest}) append(result, next);
  } else if (mutant == Mutant::kPruneBeforeCommit) {
    const Part marks = take(rest, is_mark);
    for (const Part& next : {rest, shards, manifest, commit, marks}) append(result, next);
  } else {  // kRenameBeforeFlush
    Part late = take(shards, is_flush);
    append(late, take(manifest, is_flush));
    for (const Part& next : {shards, manifest, commit, late, rest}) append(result, next);
  }
  return result;
}
}  // namespace

CrashState crash(const std::vector<Change>& log, std::size_t end, Random& random) {
  constexpr std::int64_t kMoods = 6;
  const auto mood = static_cast<Mood>(draw(random, 0, kMoods - 1));
  CrashState state;
  for (const int folder : folders_of(log)) state.nodes[folder].folder = true;
  std::map<int, std::size_t> flushed;  // of each node: changes before this one are on the device
  for (std::size_t i = 0; i < end; ++i) {
    if (log[i].kind == Kind::kFlush) flushed[log[i].node] = i;
  }
  for (std::size_t i = 0; i < end; ++i) {
    const Change& change = log[i];
    if (change.kind == Kind::kFlush || change.kind == Kind::kMark) continue;
    const auto found = flushed.find(change.node);
    const bool durable = found != flushed.end() && i < found->second;
    if (!durable) {
      apply_unflushed(change, mood, random, state);
    } else if (change.kind == Kind::kNames) {
      apply_names(change, state.nodes[change.node]);
    } else if (change.kind == Kind::kSize) {
      Node& node = state.nodes[change.node];
      node.bytes.resize(std::max(node.bytes.size(), static_cast<std::size_t>(change.size)));
    } else {
      apply_bytes(change, change.size, false, state.nodes[change.node]);
    }
  }
  // A name may be kept of what was lost entirely: an empty file, an empty folder.
  for (auto& [number, node] : std::map(state.nodes)) {
    for (const auto& [name, child] : node.names) state.nodes[child];
  }
  for (const Change& change : log) {
    for (const auto& [name, child] : change.names) {
      const bool folder = name.starts_with(".") || name.starts_with("step-") || name == "ckpt";
      if (folder && state.nodes.contains(child)) state.nodes[child].folder = true;
    }
  }
  return state;
}

std::string name_of(Mutant mutant) {
  constexpr const char* kNames[] = {"the protocol",       "no-fsync",
                                    "no-dirsync",         "manifest-before-shards",
                                    "ack-before-commit",  "prune-before-commit",
                                    "rename-before-fsync"};
  return kNames[static_cast<int>(mutant)];
}

std::vector<Change> mutated(const std::vector<Change>& log, Mutant mutant) {
  if (mutant == Mutant::kNone) return log;
  std::vector<Change> result;
  if (mutant == Mutant::kNoFileFlush || mutant == Mutant::kNoFolderFlush) {
    const std::set<int> folders = folders_of(log);
    std::ranges::copy_if(log, std::back_inserter(result), [&](const Change& change) {
      return change.kind != Kind::kFlush ||
             folders.contains(change.node) == (mutant == Mutant::kNoFileFlush);
    });
    return result;
  }
  const std::vector<Save> saves = saves_of(log);
  append(result, part(log, 0, saves.front().begin));
  for (const Save& save : saves) append(result, reordered(log, save, mutant));
  return result;
}
}  // namespace switchyard::faults
