// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/memory_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace switchyard::faults {

int MemoryFiles::find(const std::string& path) const {
  int node = kRoot;
  std::size_t at = 1;
  while (node != 0 && at < path.size()) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, end - at);
    at = end + 1;
    if (name.empty() || name == ".") continue;
    const auto found = nodes_.find(node);
    if (found == nodes_.end() || !found->second.folder) return 0;
    const auto entry = found->second.names.find(name);
    node = entry == found->second.names.end() ? 0 : entry->second;
  }
  return node;
}

int MemoryFiles::parent_of(const std::string& path, std::string& name) const {
  const auto slash = path.find_last_of('/');
  name = path.substr(slash + 1);
  return slash == 0 ? kRoot : find(path.substr(0, slash));
}

void MemoryFiles::change_names(int folder, std::map<std::string, int> names) {
  for (const auto& [name, node] : names) {
    if (node == 0)
      nodes_[folder].names.erase(name);
    else
      nodes_[folder].names[name] = node;
  }
  log_.push_back({.kind = Change::Kind::kNames, .node = folder, .names = std::move(names)});
}

int MemoryFiles::asked(const char* call, const std::string& path) const {
  return trouble_ ? trouble_(call, path) : 0;
}

int MemoryFiles::open(const std::string& path, Open how) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("open", path); error != 0) return -error;
  int node = find(path);
  if (how == Open::kCreate && node != 0) return -EEXIST;
  if (how == Open::kCreate || (how == Open::kLock && node == 0)) {
    std::string name;
    const int folder = parent_of(path, name);
    if (folder == 0) return -ENOENT;
    node = next_node_++;
    nodes_[node] = {};
    change_names(folder, {{name, node}});
  }
  if (node == 0) return -ENOENT;
  if (nodes_[node].folder != (how == Open::kDirectory)) {
    return how == Open::kDirectory ? -ENOTDIR : -EISDIR;
  }
  handles_[next_handle_] = {.node = node, .path = path};
  return next_handle_++;
}

std::int64_t MemoryFiles::pwrite(int file, std::span<const std::byte> bytes, std::int64_t at) {
  const std::lock_guard lock(mutex_);
  const int asked_for = asked("pwrite", path_of(file));
  if (asked_for > 0 && asked_for < kShort) return -asked_for;
  std::size_t count = std::min(bytes.size(), most_bytes_);
  if (asked_for >= kShort) count = std::min(count, static_cast<std::size_t>(asked_for - kShort));
  const int node = handles_.at(file).node;
  std::vector<std::byte>& data = nodes_[node].bytes;
  const auto first = static_cast<std::size_t>(at);
  if (handles_.at(file).direct) {
    const auto memory = reinterpret_cast<std::uintptr_t>(bytes.data());
    if ((memory | first | bytes.size()) % runtime::kDirectAlignment != 0) return -EINVAL;
    direct_bytes_ += static_cast<std::int64_t>(count);
  }
  if (data.size() < first + count) data.resize(first + count);
  std::copy_n(bytes.begin(), count, data.begin() + at);
  log_.push_back({.kind = Change::Kind::kWrite,
                  .node = node,
                  .at = at,
                  .size = static_cast<std::int64_t>(count),
                  .bytes = {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count)}});
  return static_cast<std::int64_t>(count);
}

std::int64_t MemoryFiles::pread(int file, std::span<std::byte> bytes, std::int64_t at) {
  const std::lock_guard lock(mutex_);
  const int asked_for = asked("pread", path_of(file));
  if (asked_for > 0 && asked_for < kShort) return -asked_for;
  const std::vector<std::byte>& data = nodes_[handles_.at(file).node].bytes;
  const auto first = static_cast<std::size_t>(at);
  if (first >= data.size()) return 0;
  std::size_t count = std::min(bytes.size(), data.size() - first);
  if (asked_for >= kShort) count = std::min(count, static_cast<std::size_t>(asked_for - kShort));
  std::memcpy(bytes.data(), data.data() + first, count);
  return static_cast<std::int64_t>(count);
}

int MemoryFiles::allocate(int file, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("allocate", path_of(file)); error != 0) return -error;
  const int node = handles_.at(file).node;
  std::vector<std::byte>& data = nodes_[node].bytes;
  data.resize(std::max(data.size(), static_cast<std::size_t>(bytes)));
  log_.push_back({.kind = Change::Kind::kSize, .node = node, .size = bytes});
  return 0;
}

int MemoryFiles::direct(int file, bool on) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("direct", path_of(file)); error != 0) return -error;
  handles_.at(file).direct = on;
  return 0;
}

int MemoryFiles::fsync(int file) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("fsync", path_of(file)); error != 0) return -error;
  log_.push_back({.kind = Change::Kind::kFlush, .node = handles_.at(file).node});
  return 0;
}

int MemoryFiles::close(int file) {
  const std::lock_guard lock(mutex_);
  const int error = asked("close", path_of(file));
  std::erase_if(locks_, [file](const auto& lock_of) { return lock_of.second == file; });
  handles_.erase(file);  // whatever it says, it is closed
  return -error;
}

int MemoryFiles::lock(int file) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("lock", path_of(file)); error != 0) return -error;
  return locks_.try_emplace(handles_.at(file).node, file).second ? 0 : -EWOULDBLOCK;
}

int MemoryFiles::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("rename", from); error != 0) return -error;
  std::string old_name;
  std::string new_name;
  const int folder = parent_of(from, old_name);
  const int node = find(from);
  if (node == 0 || folder == 0) return -ENOENT;
  if (folder != parent_of(to, new_name)) return -EXDEV;  // more than a checkpoint needs
  const int there = find(to);
  if (there != 0 && !nodes_[there].names.empty()) return -ENOTEMPTY;
  change_names(folder, {{old_name, 0}, {new_name, node}});
  return 0;
}

int MemoryFiles::exchange(const std::string& one, const std::string& other) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("exchange", one); error != 0) return -error;
  std::string first;
  std::string second;
  const int folder = parent_of(one, first);
  if (folder != parent_of(other, second)) return -EXDEV;
  const int a = find(one);
  const int b = find(other);
  if (a == 0 || b == 0) return -ENOENT;
  change_names(folder, {{first, b}, {second, a}});
  return 0;
}

int MemoryFiles::make_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("make_directory", path); error != 0) return -error;
  std::string name;
  const int folder = parent_of(path, name);
  if (folder == 0) return -ENOENT;
  if (find(path) != 0) return -EEXIST;
  const int node = next_node_++;
  nodes_[node].folder = true;
  change_names(folder, {{name, node}});
  return 0;
}

int MemoryFiles::remove_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("remove_directory", path); error != 0) return -error;
  std::string name;
  const int folder = parent_of(path, name);
  const int node = find(path);
  if (folder == 0 || node == 0) return -ENOENT;
  if (!nodes_[node].folder) return -ENOTDIR;
  if (!nodes_[node].names.empty()) return -ENOTEMPTY;
  change_names(folder, {{name, 0}});
  return 0;
}

int MemoryFiles::unlink(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("unlink", path); error != 0) return -error;
  std::string name;
  const int folder = parent_of(path, name);
  const int node = find(path);
  if (folder == 0 || node == 0) return -ENOENT;
  if (nodes_[node].folder) return -EISDIR;
  change_names(folder, {{name, 0}});
  return 0;
}

int MemoryFiles::list(const std::string& path, std::vector<std::string>& names) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("list", path); error != 0) return -error;
  const int node = find(path);
  if (node == 0) return -ENOENT;
  if (!nodes_[node].folder) return -ENOTDIR;
  names.clear();
  for (const auto& [name, number] : nodes_[node].names) names.push_back(name);
  return 0;
}

int MemoryFiles::status(const std::string& path, runtime::FileStatus& status) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("status", path); error != 0) return -error;
  const int node = find(path);
  if (node == 0) return -ENOENT;
  status.kind = nodes_[node].folder ? runtime::FileStatus::Kind::kDirectory
                                    : runtime::FileStatus::Kind::kFile;
  status.size = static_cast<std::int64_t>(nodes_[node].bytes.size());
  return 0;
}

std::int64_t MemoryFiles::free_bytes(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const int error = asked("free_bytes", path); error != 0) return -error;
  return std::int64_t{1} << 40;
}

void MemoryFiles::mark(std::int64_t step) {
  const std::lock_guard lock(mutex_);
  log_.push_back({.kind = Change::Kind::kMark, .size = step});
}

std::vector<std::byte>* MemoryFiles::bytes_of(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const int node = find(path);
  return node == 0 || nodes_[node].folder ? nullptr : &nodes_[node].bytes;
}
}  // namespace switchyard::faults
