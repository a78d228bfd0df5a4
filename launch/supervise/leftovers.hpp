// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a job leaves behind, files and processes, and how it goes away.
#include <filesystem>
#include <string>
#include <vector>

namespace switchyard::launch {

/// A folder in memory for all that mpirun and its ranks write beside results: session files and
/// shared segments. Removed with all that is in it. Its name has the process and its beginning, so
/// that the next supervisor knows one whose owner was killed.
class RunFolder {
 public:
  /// Sweeps those of dead supervisors first. @throws std::system_error
  RunFolder();
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Empties it, between two attempts.
  void clear() const;

 private:
  std::filesystem::path path_;
};

/// Removes folders whose supervisor is gone. @return  how many
int sweep_leftovers(const std::filesystem::path& base);

/// Descendants come to this process when their parent dies, so that none is lost.
void adopt_orphans();
/// Children of a process that have not ended, and all of them.
struct Children {
  int alive = 0;
  int all = 0;
};
[[nodiscard]] Children children_alive(int pid);
/// Whether no thread of a process runs or is about to.
[[nodiscard]] bool sleeps(int pid);

/// Kills what is left of this process's descendants and waits until all are gone. @return  how many
/// had to be killed
int end_descendants();
}  // namespace switchyard::launch
