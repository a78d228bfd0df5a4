// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "runtime/checkpoint/phase.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
/// Rank 0's list on every rank. Collective.
std::vector<std::int64_t> agreed_steps(comm::Group& group, FileSystem& files,
                                       const std::string& directory) {
  std::vector<std::int64_t> steps;
  together(group, [&] {
    if (group.rank() == 0) steps = saved_steps(files, directory);
  });
  const auto bytes = comm::broadcast(group, std::as_bytes(std::span(steps)));
  steps.resize(bytes.size() / sizeof(std::int64_t));
  if (!bytes.empty()) std::memcpy(steps.data(), bytes.data(), bytes.size());
  return steps;
}

/// The words of the lowest rank for which the step is damaged; none if it is good for all.
/// Collective.
/// @throws comm::CollectiveError  a rank met something else
std::optional<std::string> try_step(comm::Group& group, const std::function<void()>& body) {
  std::optional<comm::Problem> problem;
  std::string damage;
  try {
    body();
  } catch (const DamagedCheckpoint& error) {
    damage = error.what();
  } catch (const std::exception& error) {
    problem = problem_of(error);
  }
  comm::agree(group, problem);
  for (const auto& words : comm::allgather(group, std::as_bytes(std::span(damage)))) {
    if (words.empty()) continue;
    return std::string(reinterpret_cast<const char*>(words.data()), words.size());
  }
  return std::nullopt;
}
}  // namespace

std::optional<StoredCheckpoint> load_newest(comm::Group& group, FileSystem& files,
                                            const std::string& directory,
                                            const std::function<void(const std::string&)>& note,
                                            const std::function<void(StoredCheckpoint&)>& load) {
  const PhaseMark mark(group.deadline(), "load");
  const std::vector<std::int64_t> steps = agreed_steps(group, files, directory);
  for (const std::int64_t step : steps) {
    std::optional<StoredCheckpoint> stored;
    // Each rank looks at some of the files, and none reads of any before all were looked at.
    auto damage = try_step(
        group, [&] { stored.emplace(files, directory, step, group.rank(), group.size()); });
    if (!damage) damage = try_step(group, [&] { load(*stored); });
    if (!damage) return stored;
    if (note && group.rank() == 0) note("skip " + *damage);
  }
  if (steps.empty()) return std::nullopt;
  comm::barrier(group);  // rank 0 has said what it skipped before anybody leaves
  throw comm::CollectiveError(0, kUsage,
                              "checkpoint: " + directory + ": " + std::to_string(steps.size()) +
                                  (steps.size() == 1 ? " saved step" : " saved steps") +
                                  ", none of them good; another folder, or --fresh, starts anew");
}
}  // namespace switchyard::runtime
