// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The JSON header of a safetensors file, as it says it is. Reads word by word and refuses at the
/// first that does not belong, so a hostile header costs no more memory than its own text.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

/// One tensor as declared; whether the data are there is the caller's to check.
struct TensorEntry {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;  ///< none negative
  std::int64_t begin = 0;           ///< first byte, counted from the end of the header
  std::int64_t end = 0;             ///< one past the last byte
};

struct SafetensorsHeader {
  std::vector<TensorEntry> entries;             ///< in the order of the text; names are unique
  std::map<std::string, std::string> metadata;  ///< the object __metadata__
};

/// @param text  the header's bytes, padding included
/// @param file  begins every message
/// @throws std::invalid_argument  "FILE: tensor a: shape, got a string, want whole numbers from 0"
[[nodiscard]] SafetensorsHeader parse_safetensors_header(std::string_view text,
                                                         const std::string& file);
}  // namespace switchyard::runtime
