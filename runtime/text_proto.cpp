// SPDX-License-Identifier: Apache-2.0
#include "runtime/text_proto.hpp"

#include <array>
#include <cerrno>
#include <fstream>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>
#include <stdexcept>
#include <system_error>

namespace switchyard::runtime {
namespace {
/// Keeps the first error, as "WHERE:LINE:COLUMN: WHAT", counted from 1.
class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  explicit FirstError(std::string where) : where_(std::move(where)) {}
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (!text_.empty()) return;
    text_ = where_;
    if (line >= 0) text_ += ":" + std::to_string(line + 1) + ":" + std::to_string(column + 1);
    text_ += ": " + message;
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string where_;
  std::string text_;
};
}  // namespace

std::string read_text(const std::filesystem::path& file) {
  if (std::filesystem::is_directory(file)) {
    throw std::system_error(EISDIR, std::generic_category(), file.string());
  }
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::system_error(errno, std::generic_category(), file.string());
  std::string text;
  std::array<char, 4096> piece{};
  while (stream.read(piece.data(), piece.size()) || stream.gcount() > 0) {
    text.append(piece.data(), static_cast<std::size_t>(stream.gcount()));
  }
  if (stream.bad()) throw std::system_error(EIO, std::generic_category(), file.string());
  return text;
}

void parse_text(std::string_view text, const std::string& where,
                google::protobuf::Message& message) {
  google::protobuf::TextFormat::Parser parser;
  FirstError errors(where);
  parser.RecordErrorsTo(&errors);
  parser.SetRecursionLimit(64);
  if (!parser.ParseFromString(std::string(text), &message)) {
    throw std::invalid_argument(errors.text().empty() ? where + ": not protobuf text format"
                                                      : errors.text());
  }
}
}  // namespace switchyard::runtime
