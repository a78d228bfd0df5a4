// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/commit.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "runtime/checkpoint/opening.hpp"
#include "runtime/checkpoint/stored.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::string_view kStage = ".stage-";
constexpr std::string_view kTrash = ".trash-";
constexpr std::string_view kIncarnation = "incarnation ";
constexpr std::size_t kLockBytes = 192;

std::string path_of(const std::string& directory, const std::string& name) {
  return directory + "/" + name;
}

/// Made with its parents, each on the device before the next.
void make_folders(FileSystem& files, const std::string& directory) {
  FileStatus status;
  if (files.status(directory + "/.", status) == 0) {
    if (status.kind == FileStatus::Kind::kDirectory) return;
    throw std::invalid_argument("checkpoint: " + directory + ": not a folder");
  }
  if (files.status(directory, status) == 0) {
    throw std::invalid_argument("checkpoint: " + directory + ": not a folder");
  }
  const auto slash = directory.find_last_of('/');
  const std::string parent = slash == std::string::npos ? "."
                             : slash == 0               ? "/"
                                                        : directory.substr(0, slash);
  if (parent != directory) make_folders(files, parent);
  const int code = uninterrupted([&] { return files.make_directory(directory); });
  if (code < 0 && code != -EEXIST) fail_file(-code, "make", directory);
  flush_directory(files, parent);
}

std::string text_of(OpenFile& file) {
  std::array<char, 512> text{};
  const auto count = file.read(std::as_writable_bytes(std::span(text)), 0);
  return {text.data(), static_cast<std::size_t>(count)};
}

/// "run X, pid 12", as a LOCK says it.
std::string holder_of(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c > '~'; }, ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text.empty() ? "another job" : text;
}

std::uint64_t incarnation_of(const std::string& text) {
  const auto at = text.find(kIncarnation);
  std::uint64_t value = 0;
  if (at == std::string::npos) return 0;
  const char* const first = text.data() + at + kIncarnation.size();
  std::from_chars(first, text.data() + text.size(), value);
  return value;
}

/// Out of sight first, then off the device.
void discard(FileSystem& files, const std::string& directory, const std::string& trash) {
  flush_directory(files, directory);
  remove_folder(files, path_of(directory, trash));
}

std::string trash_name(std::int64_t step) {
  return std::string(kTrash) + step_name(step).substr(5);
}

bool is_good(FileSystem& files, const std::string& directory, std::int64_t step,
             Manifest* manifest) {
  try {
    Manifest found = read_step(files, directory, step);
    if (manifest != nullptr) *manifest = std::move(found);
    return true;
  } catch (const DamagedCheckpoint&) {
    return false;
  } catch (const std::invalid_argument&) {
    return true;  // of a later version: not ours to judge
  }
}

FileSystem& prepared(FileSystem& files, const std::string& directory) {
  if (directory.empty()) throw std::invalid_argument("checkpoint: no folder, want one to save to");
  make_folders(files, directory);
  return files;
}
}  // namespace

std::string stage_name(std::int64_t step, std::uint64_t incarnation) {
  return std::string(kStage) + step_name(step).substr(5) + "-" + std::to_string(incarnation);
}

LockedFolder::LockedFolder(FileSystem& files, std::string directory, const std::string& run_id,
                           std::uint64_t incarnation)
    : directory_(std::move(directory)),
      lock_(prepared(files, directory_), path_of(directory_, "LOCK"), FileSystem::Open::kLock),
      files_(files) {
  const std::string before = text_of(lock_);
  const int code = uninterrupted([&] { return files.lock(lock_.handle()); });
  if (code == -EWOULDBLOCK) {
    throw std::invalid_argument("checkpoint: " + directory_ + " is held by " + holder_of(before));
  }
  if (code < 0) fail_file(-code, "lock", lock_.path());
  incarnation_ = std::max(incarnation, incarnation_of(text_of(lock_)) + 1);
  words_ = "run " + (run_id.empty() ? "without a name" : run_id.substr(0, 64)) + ", pid " +
           std::to_string(::getpid()) + ", " + std::string(kIncarnation) +
           std::to_string(incarnation_);
  words_.resize(kLockBytes - 1,
                ' ');  // always as long, so that it is never cut before it is written
  words_ += '\n';
  lock_.write(std::as_bytes(std::span(words_)), 0);
  lock_.flush();
}

void LockedFolder::require_held() {
  OpenFile now(files_, lock_.path(), FileSystem::Open::kRead);
  const std::string text = text_of(now);
  if (text == words_) return;
  throw std::system_error(ESTALE, std::generic_category(),
                          "checkpoint: " + directory_ + " was taken by " + holder_of(text));
}

void sweep(FileSystem& files, const std::string& directory) {
  for (const std::string& name : list_folder(files, directory)) {
    if (!name.starts_with(kStage) && !name.starts_with(kTrash)) continue;
    try {
      remove_folder(files, path_of(directory, name));
    } catch (const std::system_error&) {
      continue;  // never read, and tried again before the next save
    }
  }
}

void write_manifest(FileSystem& files, const std::string& directory, const std::string& stage,
                    const Manifest& manifest) {
  const std::string folder = path_of(directory, stage);
  const std::string bytes = encode(manifest);
  OpenFile file(files, path_of(folder, "MANIFEST"), FileSystem::Open::kCreate);
  file.write(std::as_bytes(std::span(bytes)), 0);
  file.flush();
  file.close();
  flush_directory(files, folder);
}

void commit_stage(FileSystem& files, const std::string& directory, const std::string& stage,
                  const Manifest& manifest, bool overwrite, LockedFolder& lock) {
  const std::string from = path_of(directory, stage);
  const std::string to = path_of(directory, step_name(manifest.info.step));
  lock.require_held();
  if (!exists(files, to)) {
    rename_path(files, from, to);
    flush_directory(files, directory);
    return;
  }
  Manifest there;
  if (!overwrite && is_good(files, directory, manifest.info.step, &there) &&
      there.info.run_id != manifest.info.run_id &&
      there.content_sha256 != manifest.content_sha256) {
    throw std::invalid_argument("checkpoint: " + to + " exists, is good, and is of another run");
  }
  const std::string trash = trash_name(manifest.info.step);
  const int code = uninterrupted([&] { return files.exchange(from, to); });
  if (code == -EINVAL || code == -ENOSYS) {
    rename_path(files, to, path_of(directory, trash));
    rename_path(files, from, to);
    flush_directory(files, directory);
  } else if (code < 0) {
    fail_file(-code, "rename", from);
  } else {
    flush_directory(files, directory);  // committed; what was there is a stage now
  }
  sweep(files, directory);
}

void retain(FileSystem& files, const std::string& directory, Retention& retention) {
  std::vector<std::int64_t> away;
  int good = 0;
  for (const std::int64_t step : saved_steps(files, directory)) {
    Manifest manifest;
    bool counts = retention.known.contains(step);
    if (retention.only_own) {
      counts =
          is_good(files, directory, step, &manifest) && manifest.info.run_id == retention.run_id;
      if (!counts) {
        away.push_back(step);
        continue;
      }
    } else if (!counts && good < retention.keep) {
      counts = is_good(files, directory, step, nullptr);
    }
    if (counts) retention.known.insert(step);
    if (good >= retention.keep && !retention.pinned.contains(step)) away.push_back(step);
    if (counts) ++good;
  }
  for (const std::int64_t step : away) {
    const std::string trash = trash_name(step);
    retention.known.erase(step);
    rename_path(files, path_of(directory, step_name(step)), path_of(directory, trash));
    discard(files, directory, trash);
  }
}
}  // namespace switchyard::runtime
