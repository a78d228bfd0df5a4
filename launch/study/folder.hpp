// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A study's folder: one study at a time, one line a finished start, each whole or absent.
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace switchyard::launch {

/// One start of one point that is over.
struct FinishedStart {
  std::string point;                   ///< its key
  int repetition = 0;                  ///< from 0
  int status = 0;                      ///< of the program's own
  std::string message;                 ///< what went wrong; "" if nothing did
  double wall_s = 0;                   ///< from start to end
  nlohmann::ordered_json result = {};  ///< as --json has it; null of a start that failed
};

/// points.jsonl in the folder, and the lock on it. The first line says which study this is.
class StudyFolder {
 public:
  /// Makes the folder if it is not there, takes the lock, and reads what has been finished. What a
  /// killed process left of a line is cut off.
  /// @param identity  of the study, "NAME: VALUE" lines: equal for the same study
  /// @throws std::invalid_argument  "study: DIR has another study: there ..., here ..., want ...";
  /// a
  ///         line that is not one
  /// @throws comm::TemporaryError   another process has the lock
  /// @throws std::system_error      it cannot be written
  StudyFolder(const std::filesystem::path& folder, const std::string& identity);
  ~StudyFolder();
  StudyFolder(const StudyFolder&) = delete;
  StudyFolder& operator=(const StudyFolder&) = delete;

  [[nodiscard]] const std::vector<FinishedStart>& finished() const { return finished_; }
  /// Adds a line and waits until the disk has it. @throws std::system_error
  void add(FinishedStart start);
  /// Writes DIR/NAME, whole or not at all. @throws std::system_error
  void write(const std::string& name, const std::string& text) const;
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ / name; }

 private:
  void read(const std::string& identity);
  void append(const nlohmann::ordered_json& line);

  std::filesystem::path folder_;
  int lock_ = -1;
  int file_ = -1;
  std::vector<FinishedStart> finished_;
};
}  // namespace switchyard::launch
