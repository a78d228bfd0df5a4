// SPDX-License-Identifier: Apache-2.0
/// @file
/// F3: replays what a run of saves did to its folder up to every point, as a crash there could have
/// left it, and loads. In every state each saved step must be whole, the newest must be at least
/// the last one that was acknowledged, and as many good ones must be there as were promised. Then
/// the same for protocols that are broken, each of which must be caught.
#include <algorithm>
#include <set>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "runtime/checkpoint/opening.hpp"
#include "tests/faults/crash_log.hpp"
#include "tests/runtime/store_state.hpp"

namespace {
using namespace switchyard;
using namespace switchyard::faults;
using store_tests::State;

constexpr std::int64_t kSteps = 5;
constexpr int kKeep = 2;
const std::string kFolder = "/ckpt";

/// Two ranks save some steps, the last of them twice.
std::vector<Change> logged_run() {
  MemoryFiles files;
  files.most_bytes_a_write(5000);
  comm::run_local(2, [&](comm::Group& group) {
    runtime::CheckpointStore store(group, files, kFolder, {.run_id = "r", .keep = kKeep});
    for (std::int64_t i = 1; i <= kSteps + 1; ++i) {
      const State state(std::min(i, kSteps), 24);
      const auto result = store.save(state.info(), state.pieces(group));
      if (!result.saved) throw std::runtime_error(result.problem);
      files.mark(result.step);
      comm::barrier(group);
    }
  });
  return files.log();
}

struct Promise {
  std::int64_t newest = 0;  ///< acknowledged; 0: none
  std::int64_t steps = 0;   ///< acknowledged, different ones
};

Promise promised(const std::vector<Change>& log, std::size_t end) {
  std::set<std::int64_t> steps;
  for (std::size_t i = 0; i < end; ++i) {
    if (log[i].kind == Change::Kind::kMark) steps.insert(log[i].size);
  }
  return {.newest = steps.empty() ? 0 : *steps.rbegin(),
          .steps = static_cast<std::int64_t>(steps.size())};
}

/// What of a step is wrong; empty: it is whole. "other" if it loads and is another state.
std::string flaw(MemoryFiles& files, std::int64_t step) {
  try {
    runtime::StoredCheckpoint stored(files, kFolder, step);
    const std::string differences = State(step, 24).differences(stored);
    return differences.empty() ? "" : "other: " + differences;
  } catch (const std::exception& error) {
    return error.what();
  }
}

/// What is wrong with a state of the disk; empty: all that was promised is there.
std::string broken(MemoryFiles& files, const Promise& promise) {
  std::int64_t newest = 0;
  std::int64_t good = 0;
  for (const std::int64_t step : runtime::saved_steps(files, kFolder)) {
    const std::string words = flaw(files, step);
    if (!words.empty()) return "step " + std::to_string(step) + " is there and not whole: " + words;
    newest = std::max(newest, step);
    ++good;
  }
  if (newest < promise.newest) {
    return "step " + std::to_string(promise.newest) + " was acknowledged, " +
           std::to_string(newest) + " is the newest";
  }
  const std::int64_t want = std::min<std::int64_t>(kKeep, promise.steps);
  if (good >= want) return {};
  return std::to_string(good) + " good steps, want " + std::to_string(want);
}

/// A reader that checks no block: what the manifest says is there.
bool naive_reads_other_bytes(MemoryFiles& files, std::int64_t step) {
  try {
    const runtime::Manifest manifest = runtime::read_manifest(files, kFolder, step);
    const State state(step, 24);
    for (const runtime::ShardInfo& shard : manifest.shards) {
      const auto* bytes =
          files.bytes_of(kFolder + "/" + runtime::step_name(step) + "/" + shard.file);
      if (bytes == nullptr || static_cast<std::int64_t>(bytes->size()) != shard.size) return false;
      for (const auto& piece : shard.pieces) {
        const std::string& name = manifest.tensors[piece.tensor].name;
        const auto held = std::ranges::find(
            state.tensors(), name, [](const store_tests::Held& h) { return h.tensor.name; });
        std::int64_t first = 0;
        for (std::size_t d = 0; d < piece.where.offset.size(); ++d) {
          first = first * held->tensor.shape[d] + piece.where.offset[d];
        }
        first *= bytes_of(held->tensor.type);
        if (!std::equal(held->bytes.begin() + first, held->bytes.begin() + first + piece.bytes,
                        bytes->begin() + piece.file_offset)) {
          return true;
        }
      }
    }
  } catch (const std::exception&) {
    return false;
  }
  return false;
}

/// The disk loses a sector of a saved step that was flushed.
void rot(MemoryFiles& files, std::int64_t step, Random& random) {
  const std::string path = kFolder + "/" + runtime::step_name(step) + "/" +
                           runtime::shard_name(static_cast<int>(draw(random, 0, 1)), 2);
  auto* bytes = files.bytes_of(path);
  if (bytes == nullptr || bytes->empty()) return;
  constexpr std::int64_t kSector = 512;
  const auto size = static_cast<std::int64_t>(bytes->size());
  const std::int64_t at = draw(random, 0, (size - 1) / kSector) * kSector;
  std::fill_n(bytes->begin() + at, std::min(kSector, size - at), std::byte{0});
}

struct Tally {
  std::int64_t states = 0;
  std::int64_t bad = 0;
  std::string example;
};

/// States of all crash points in turns, each once.
Tally replay(const std::vector<Change>& log, std::int64_t states, std::uint64_t seed) {
  Tally tally;
  std::set<std::pair<std::size_t, std::uint64_t>> seen;
  Random random(seed);
  for (std::int64_t tried = 0; tally.states < states && tried < 50 * states; ++tried) {
    const std::size_t end = 1 + static_cast<std::size_t>(tried) % log.size();
    CrashState state = crash(log, end, random);
    if (!seen.emplace(end, state.decisions).second) continue;
    MemoryFiles files(std::move(state.nodes));
    const std::string words = broken(files, promised(log, end));
    ++tally.states;
    if (words.empty()) continue;
    if (tally.bad++ == 0) tally.example = "after change " + std::to_string(end) + ": " + words;
  }
  return tally;
}

/// Sectors lost of steps that were whole: never loaded as if they were good.
Tally replay_rot(const std::vector<Change>& log, std::int64_t states, std::uint64_t seed,
                 bool checksums) {
  Tally tally;
  Random random(seed);
  for (; tally.states < states; ++tally.states) {
    CrashState state = crash(log, log.size(), random);
    MemoryFiles files(std::move(state.nodes));
    const std::int64_t step = kSteps - draw(random, 0, 1);
    rot(files, step, random);
    const bool fooled =
        checksums ? flaw(files, step).starts_with("other") : naive_reads_other_bytes(files, step);
    if (fooled) ++tally.bad;
    if (checksums && !flaw(files, 2 * kSteps - 1 - step).empty()) ++tally.bad;
  }
  return tally;
}
}  // namespace

int main(int argc, char** argv) {
  Campaign campaign(argc, argv, 2000);
  const std::vector<Change> log = logged_run();
  const std::int64_t states = campaign.cases();
  const Tally right = replay(log, states - states / 10, campaign.seed());
  const Tally rotten = replay_rot(log, states / 10, campaign.seed(), true);
  std::printf(
      "the protocol: %zu changes, %lld crash states, %lld bad; %lld with a lost sector, %lld "
      "bad\n",
      log.size(), static_cast<long long>(right.states), static_cast<long long>(right.bad),
      static_cast<long long>(rotten.states), static_cast<long long>(rotten.bad));
  if (right.bad > 0) campaign.fail(0, right.example);
  if (rotten.bad > 0) campaign.fail(1, "a lost sector was loaded as if it were good");
  if (right.states + rotten.states < states) campaign.fail(2, "too few different states");
  int caught = 0;
  for (int m = 1; m <= static_cast<int>(Mutant::kRenameBeforeFlush); ++m) {
    const auto mutant = static_cast<Mutant>(m);
    const Tally tally =
        replay(mutated(log, mutant), std::max<std::int64_t>(states / 5, 400), campaign.seed());
    std::printf("%s: %lld of %lld states bad, as %s\n", name_of(mutant).c_str(),
                static_cast<long long>(tally.bad), static_cast<long long>(tally.states),
                tally.example.c_str());
    if (tally.bad > 0)
      ++caught;
    else
      campaign.fail(10 + m, name_of(mutant) + " was not caught");
  }
  const Tally naive =
      replay_rot(log, std::max<std::int64_t>(states / 10, 100), campaign.seed(), false);
  std::printf("no-CRC: %lld of %lld states bad\n", static_cast<long long>(naive.bad),
              static_cast<long long>(naive.states));
  if (naive.bad > 0)
    ++caught;
  else
    campaign.fail(20, "no-CRC was not caught");
  return campaign.end(std::to_string(right.states + rotten.states) + " crash states, " +
                      std::to_string(caught) + " of 7 broken protocols caught");
}
