// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/tools/rewrite.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <tuple>
#include <utility>

#include "runtime/checkpoint/ballot.hpp"
#include "runtime/checkpoint/commit.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/opening.hpp"
#include "runtime/checkpoint/stored.hpp"

namespace switchyard::runtime {
namespace {
std::int64_t bytes_of_source(const ShardSource& source) {
  return source.where.elements() * bytes_of(source.tensor.type);
}

/// The file of each expert.
std::vector<std::size_t> files_of_experts(const std::vector<ShardSource>& sources,
                                          const Spread& spread) {
  std::int64_t experts = 0;
  for (const ShardSource& source : sources) {
    experts = std::max(experts, source.tensor.expert + 1);
  }
  if (experts == 0) return {};
  const Placement placement = spread.experts_of.empty()
                                  ? Placement::linear(experts, spread.files)
                                  : Placement::from_lists(spread.experts_of, experts);
  std::vector<std::size_t> files;
  for (std::int64_t e = 0; e < experts; ++e) {
    files.push_back(static_cast<std::size_t>(placement.hosts_of(static_cast<std::int32_t>(e))[0]));
  }
  return files;
}

void require_room(FileSystem& files, const std::string& directory, std::int64_t bytes) {
  const std::int64_t room = files.free_bytes(directory);
  if (room < 0 || room >= bytes) return;  // unknown, or enough
  throw std::system_error(ENOSPC, std::generic_category(),
                          "checkpoint: " + directory + ": " + std::to_string(bytes) +
                              " bytes wanted, " + std::to_string(room) + " free");
}

/// A good step of other weights stays: tools write many models and runs under the same numbers.
void require_replaceable(FileSystem& files, const std::string& directory,
                         const Manifest& manifest) {
  const std::string path = directory + "/" + step_name(manifest.info.step);
  if (!exists(files, path)) return;
  try {
    const Manifest there = read_step(files, directory, manifest.info.step);
    if (there.content_sha256 == manifest.content_sha256) return;
  } catch (const DamagedCheckpoint&) {
    return;
  }
  throw std::invalid_argument("checkpoint: " + path +
                              " exists, is good, and has other content; --overwrite replaces it");
}

/// Sources that also say how much has been asked of all of them.
void count_bytes(std::vector<ShardSource>& sources, const ByteProgress& progress) {
  if (!progress) return;
  std::int64_t all = 0;
  for (const ShardSource& source : sources) all += bytes_of_source(source);
  const auto done = std::make_shared<std::int64_t>(0);
  for (ShardSource& source : sources) {
    source.read = [read = std::move(source.read), done, all, progress](std::int64_t at,
                                                                       std::span<std::byte> to) {
      read(at, to);
      *done += static_cast<std::int64_t>(to.size());
      progress(*done, all);
    };
  }
}
}  // namespace

std::int64_t resolve(FileSystem& files, const StepPath& path) {
  FileStatus status;
  const int code = files.status(path.directory + "/.", status);
  if (code < 0) fail_file(-code, "read", path.directory);
  const auto steps = saved_steps(files, path.directory);
  if (steps.empty()) {
    throw std::invalid_argument("checkpoint: " + path.directory + ": no saved step");
  }
  if (path.step < 0) return steps.front();
  if (std::ranges::find(steps, path.step) != steps.end()) return path.step;
  std::string known;
  for (const std::int64_t step : steps) known += (known.empty() ? "" : ", ") + std::to_string(step);
  throw std::invalid_argument("checkpoint: " + path.directory + ": step, got " +
                              std::to_string(path.step) + ", want one of " + known);
}

std::vector<std::vector<ShardSource>> spread_over(std::vector<ShardSource> sources,
                                                  const Spread& spread) {
  if (!spread.experts_of.empty() && std::cmp_not_equal(spread.experts_of.size(), spread.files)) {
    throw std::invalid_argument("placement for " + std::to_string(spread.experts_of.size()) +
                                " ranks, want as many as files, " + std::to_string(spread.files));
  }
  const auto of_expert = files_of_experts(sources, spread);
  std::ranges::stable_sort(sources, [](const ShardSource& a, const ShardSource& b) {
    return std::tie(a.tensor.name, a.where.offset) < std::tie(b.tensor.name, b.where.offset);
  });
  std::vector<std::vector<ShardSource>> files(static_cast<std::size_t>(spread.files));
  std::vector<std::int64_t> bytes(files.size(), 0);
  for (const bool experts : {true, false}) {  // what may lie anywhere levels what may not
    for (ShardSource& source : sources) {
      if ((source.tensor.expert >= 0) != experts) continue;
      const auto file =
          experts ? of_expert[static_cast<std::size_t>(source.tensor.expert)]
                  : static_cast<std::size_t>(std::ranges::min_element(bytes) - bytes.begin());
      bytes[file] += bytes_of_source(source);
      files[file].push_back(std::move(source));
    }
  }
  return files;
}

Manifest write_step(FileSystem& files, const std::string& directory, const Manifest& like,
                    std::vector<ShardSource> sources, const Spread& spread,
                    const ByteProgress& progress) {
  count_bytes(sources, progress);
  const auto shards = spread_over(std::move(sources), spread);
  LockedFolder lock(files, directory, like.info.run_id, like.info.incarnation);
  sweep(files, directory);
  std::int64_t wanted = 0;
  for (const auto& shard : shards) wanted += shard_bytes(shard);
  require_room(files, directory, wanted + wanted / 20);

  CheckpointInfo info = like.info;
  info.incarnation = lock.incarnation();
  if (!spread.experts_of.empty()) {
    info.experts_of = spread.experts_of;
    info.experts_in.clear();
  }
  const std::string stage = stage_name(info.step, info.incarnation);
  const int code = files.make_directory(directory + "/" + stage);
  if (code < 0) fail_file(-code, "make", directory + "/" + stage);
  std::vector<Vote> votes;
  try {
    for (int s = 0; s < spread.files; ++s) {
      const ShardLabel label{info.step, info.run_id, info.incarnation, s, spread.files};
      votes.push_back({.problem = {},
                       .written = write_shard(
                           files, directory + "/" + stage + "/" + shard_name(s, spread.files),
                           label, shards[static_cast<std::size_t>(s)], false, nullptr)});
    }
    for (const TensorInfo& tensor : like.tensors) {  // no piece tells of those without elements
      if (tensor.elements() == 0) votes[0].written.tensors.push_back(tensor);
    }
    Manifest manifest = merge(info, std::move(votes));
    manifest.carried = like.carried;
    manifest.carried_of = like.carried_of;
    if (!spread.overwrite) require_replaceable(files, directory, manifest);
    write_manifest(files, directory, stage, manifest);
    commit_stage(files, directory, stage, manifest, spread.overwrite, lock);
    return manifest;
  } catch (...) {
    sweep(files, directory);
    throw;
  }
}

std::vector<Rectangle> windows(const TensorInfo& tensor, std::int64_t most) {
  if (tensor.elements() == 0) return {};
  // Dimensions from `cut` on are whole but for the first of them.
  std::size_t cut = tensor.shape.size();
  std::int64_t inner = 1;
  while (cut > 0 && tensor.shape[cut - 1] <= most / inner) inner *= tensor.shape[--cut];
  if (cut == 0) return {Rectangle::whole(tensor)};
  const std::size_t along = cut - 1;
  const std::int64_t step = std::max<std::int64_t>(most / inner, 1);
  std::vector<Rectangle> all;
  Rectangle window = Rectangle::whole(tensor);
  for (std::size_t d = 0; d < along; ++d) window.extent[d] = 1;
  for (;;) {
    for (std::int64_t at = 0; at < tensor.shape[along]; at += step) {
      window.offset[along] = at;
      window.extent[along] = std::min(step, tensor.shape[along] - at);
      all.push_back(window);
    }
    std::size_t d = along;  // counts up the dimensions before it
    while (d > 0 && ++window.offset[d - 1] == tensor.shape[d - 1]) window.offset[--d] = 0;
    if (d == 0) return all;
  }
}
}  // namespace switchyard::runtime
