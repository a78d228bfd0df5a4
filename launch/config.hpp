// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Config files: protobuf text, one field an option (config.proto).
#include <filesystem>
#include <string>
#include <vector>

namespace switchyard::launch {

/// One field of a config file that is set.
struct ConfigEntry {
  std::string field;                ///< as in the file: "capacity_factor"
  std::string name;                 ///< as a flag: "capacity-factor"
  std::vector<std::string> values;  ///< one, or the entries of a repeated field
};

/// @throws std::invalid_argument  "run.textproto:3:7: no field tokns, nearest is tokens"; an empty
/// file
/// @throws std::system_error      the file cannot be read; names it
[[nodiscard]] std::vector<ConfigEntry> read_config_file(const std::filesystem::path& file);

/// The flags that a config file can set.
[[nodiscard]] std::vector<std::string> config_options();
}  // namespace switchyard::launch
