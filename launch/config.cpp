// SPDX-License-Identifier: Apache-2.0
#include "launch/config.hpp"

#include <algorithm>
#include <charconv>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <stdexcept>

#include "launch/config.pb.h"
#include "launch/nearest.hpp"
#include "runtime/text_proto.hpp"

namespace switchyard::launch {
namespace {
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string flag_name(std::string field) {
  std::ranges::replace(field, '_', '-');
  return field;
}

std::string spelled(double value) {
  std::string text(64, '\0');
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) throw std::logic_error("config: a number of more than 64 letters");
  text.resize(static_cast<std::size_t>(end - text.data()));
  return text;
}

std::string value_of(const Message& message, const FieldDescriptor& field) {
  const google::protobuf::Reflection& read = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(read.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return spelled(read.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return read.GetBool(message, &field) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_STRING:
      return read.GetString(message, &field);
    default:
      throw std::logic_error("config.proto: " + field.name() +
                             " is none of int64, double, bool, string");
  }
}

std::vector<std::string> field_names() {
  const auto& descriptor = *config::v1::Config::descriptor();
  std::vector<std::string> names(static_cast<std::size_t>(descriptor.field_count()));
  for (int i = 0; i < descriptor.field_count(); ++i) {
    names[static_cast<std::size_t>(i)] = descriptor.field(i)->name();
  }
  return names;
}

/// Protobuf says that a field is unknown; we say which one was meant.
std::string with_nearest(const std::string& words) {
  const std::string before = "has no field named \"";
  const std::size_t found = words.find(before);
  const std::size_t type = words.find("Message type");
  if (found == std::string::npos || type == std::string::npos) return words;
  const std::size_t begin = found + before.size();
  const std::string field = words.substr(begin, words.find('"', begin) - begin);
  return words.substr(0, type) + "no field " + field + nearest_hint(field, field_names());
}
}  // namespace

std::vector<ConfigEntry> read_config_file(const std::filesystem::path& file) {
  config::v1::Config config;
  try {
    const std::string text = runtime::read_text(file);
    if (text.empty()) throw std::invalid_argument(file.string() + ": empty, want a setting");
    runtime::parse_text(text, file.string(), config);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(with_nearest(error.what()));
  }
  std::vector<const FieldDescriptor*> set;
  config.GetReflection()->ListFields(config, &set);
  std::vector<ConfigEntry> entries;
  for (const FieldDescriptor* field : set) {
    ConfigEntry entry{.field = field->name(), .name = flag_name(field->name()), .values = {}};
    if (field->is_repeated()) {
      const google::protobuf::Reflection& read = *config.GetReflection();
      for (int i = 0; i < read.FieldSize(config, field); ++i) {
        entry.values.push_back(read.GetRepeatedString(config, field, i));
      }
    } else {
      entry.values.push_back(value_of(config, *field));
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::vector<std::string> config_options() {
  std::vector<std::string> names = field_names();
  for (std::string& name : names) name = flag_name(std::move(name));
  return names;
}
}  // namespace switchyard::launch
