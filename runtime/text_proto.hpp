// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Protobuf text files, with errors that a person can act on.
#include <filesystem>
#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace switchyard::runtime {

/// @throws std::system_error  the file cannot be read; names it
[[nodiscard]] std::string read_text(const std::filesystem::path& file);

/// Parses text into `message`. Nesting is limited to 64, since the format itself has no limit.
/// @param where  what to call the text in messages: a file's path
/// @throws std::invalid_argument  "FILE:3:7: no field 'topk', ..." for the first error
void parse_text(std::string_view text, const std::string& where,
                google::protobuf::Message& message);
}  // namespace switchyard::runtime
