// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A file that appears under its name only when it is complete.
#include <cstddef>
#include <span>
#include <string>

namespace switchyard::runtime {

/// Opens FILE.XXXXXX (a name of its own) beside it now, so that a place that cannot be written is
/// found before any work is done, and renames it in commit(). Devices and pipes are written in
/// place. Never committed: removed.
class WholeFile {
 public:
  /// @param what  for messages: "--output"
  /// @throws std::system_error  "--output: cannot write DIR/FILE: Permission denied"
  WholeFile(std::string what, std::string file);
  ~WholeFile();
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  /// @throws std::system_error
  void write(std::span<const std::byte> bytes);
  /// Flushes to the device, then renames. @throws std::system_error
  void commit();

 private:
  [[noreturn]] void fail(int error) const;

  std::string what_;
  std::string file_;
  std::string temporary_;  ///< empty: written in place
  int descriptor_ = -1;
};
}  // namespace switchyard::runtime
