// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where --json goes: a file that is whole or absent, or stdout.
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "runtime/report/whole_file.hpp"

namespace switchyard::launch {

/// Nothing, a file or a stream. Keys that write() is given carry their units. Move-only.
class JsonOutput {
 public:
  JsonOutput() = default;  ///< nobody asked
  /// Finds out now whether the file can be written (runtime::WholeFile).
  /// @param file    "-" is `stdout_stream`
  /// @param header  keys that come before those of every result
  /// @throws std::system_error  "--json: cannot write /nowhere/a.json: No such file or directory"
  JsonOutput(const std::string& file, std::ostream& stdout_stream, nlohmann::ordered_json header);

  /// Whether anybody will see what write() is given.
  [[nodiscard]] bool wanted() const { return file_ != nullptr || stdout_ != nullptr; }
  /// Writes one object: the header's keys, then the result's. Once.
  /// @throws std::system_error  naming the file
  void write(const nlohmann::ordered_json& result);

 private:
  std::unique_ptr<runtime::WholeFile> file_;
  std::ostream* stdout_ = nullptr;
  nlohmann::ordered_json header_;
};
}  // namespace switchyard::launch
