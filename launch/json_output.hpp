// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where --json goes: a file that is whole or absent, or stdout.
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

namespace switchyard::launch {

/// Nothing, a file or a stream. Keys that write() is given carry their units. Move-only.
class JsonOutput {
 public:
  // NOLINTNEXTLINE(bugprone-exception-escape): the destructor of json may run out of memory
  JsonOutput() = default;  ///< nobody asked
  /// Finds out now whether the file can be written: FILE.tmp is created beside it, and becomes FILE
  /// in write(). Devices and pipes are written in place.
  /// @param file    "-" is `stdout_stream`
  /// @param header  keys that come before those of every result
  /// @throws std::system_error  "--json: cannot write /nowhere/a.json: No such file or directory"
  JsonOutput(std::string file, std::ostream& stdout_stream, nlohmann::ordered_json header);
  ~JsonOutput();
  JsonOutput(JsonOutput&& other) noexcept;
  JsonOutput& operator=(JsonOutput&& other) noexcept;
  JsonOutput(const JsonOutput&) = delete;
  JsonOutput& operator=(const JsonOutput&) = delete;

  /// Whether anybody will see what write() is given.
  [[nodiscard]] bool wanted() const { return !file_.empty(); }
  /// Writes one object: the header's keys, then the result's. Once.
  /// @throws std::system_error  naming the file
  void write(const nlohmann::ordered_json& result);

 private:
  void give_up() noexcept;

  std::string file_;
  std::string temporary_;  ///< empty: written in place, or stdout
  int descriptor_ = -1;    ///< -1: stdout, or nobody asked
  std::ostream* stdout_ = nullptr;
  nlohmann::ordered_json header_;
};
}  // namespace switchyard::launch
