// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/safetensors_header.hpp"

#include <limits>
#include <set>
#include <stdexcept>

#include "runtime/model/checked_json.hpp"

namespace switchyard::runtime {
namespace {

constexpr std::size_t kMaxDimensions = 32;

/// Receives the parser's events. `place_` is where in the fixed structure of a header we stand, so
/// nothing deeper or other than that structure is ever accepted.
class HeaderReader {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  [[nodiscard]] SafetensorsHeader take() { return std::move(header_); }

  bool null() { refuse("null"); }
  bool boolean(bool value) { refuse(value ? "true" : "false"); }
  bool number_float(double, const std::string& text) { refuse(shown(text)); }
  bool binary(const nlohmann::json::binary_t&) { refuse("binary data"); }

  bool number_integer(std::int64_t value) {
    if (value < 0) refuse(std::to_string(value));
    return number_unsigned(static_cast<std::uint64_t>(value));
  }

  bool number_unsigned(std::uint64_t value) {
    const bool fits = value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (!fits || (place_ != Place::kShape && place_ != Place::kOffsets)) {
      refuse(std::to_string(value));
    }
    if (numbers_.size() == kMaxDimensions) {
      refuse("more than " + std::to_string(kMaxDimensions) + " numbers");
    }
    numbers_.push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool string(const std::string& value) {
    if (place_ == Place::kMetadata) {
      header_.metadata[field_] = value;
    } else if (place_ == Place::kTensor && field_ == "dtype") {
      header_.entries.back().dtype = value;
    } else {
      refuse("a string");
    }
    return true;
  }

  bool key(const std::string& name) {
    field_ = name;
    if (place_ == Place::kTensor && name != "dtype" && name != "shape" && name != "data_offsets") {
      throw std::invalid_argument(where() + ": key '" + shown(name) +
                                  "', want dtype, shape and data_offsets");
    }
    auto& seen = place_ == Place::kHeader ? names_ : fields_;
    if (!seen.insert(name).second) {
      throw std::invalid_argument((place_ == Place::kHeader ? file_ : where()) + ": '" +
                                  shown(name) + "', got it twice, want it once");
    }
    return true;
  }

  bool start_object(std::size_t) {
    if (place_ == Place::kStart) {
      place_ = Place::kHeader;
    } else if (place_ == Place::kHeader) {
      fields_.clear();
      tensor_ = field_;
      place_ = field_ == "__metadata__" ? Place::kMetadata : Place::kTensor;
      if (place_ == Place::kTensor) header_.entries.emplace_back().name = field_;
    } else {
      refuse("an object");
    }
    return true;
  }

  bool end_object() {
    if (place_ == Place::kHeader) {
      place_ = Place::kStart;
      return true;
    }
    if (place_ == Place::kTensor) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (!fields_.contains(field)) {
          throw std::invalid_argument(where() + ": " + field + " is missing, want it");
        }
      }
    }
    place_ = Place::kHeader;
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ != Place::kTensor || field_ == "dtype") refuse("an array");
    numbers_.clear();
    place_ = field_ == "shape" ? Place::kShape : Place::kOffsets;
    return true;
  }

  bool end_array() {
    TensorEntry& entry = header_.entries.back();
    if (place_ == Place::kShape) {
      entry.shape = numbers_;
    } else {
      if (numbers_.size() != 2) refuse(std::to_string(numbers_.size()) + " numbers");
      entry.begin = numbers_[0];
      entry.end = numbers_[1];
    }
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& problem) {
    throw std::invalid_argument(file_ + ": header is not JSON: " + shown(problem.what()));
  }

 private:
  enum class Place { kStart, kHeader, kMetadata, kTensor, kShape, kOffsets };

  [[nodiscard]] std::string where() const {
    return file_ + (place_ == Place::kMetadata ? ": metadata" : ": tensor " + shown(tensor_));
  }

  /// Refuses what came where `place_` wants something else.
  [[noreturn]] void refuse(const std::string& got) const {
    switch (place_) {
      case Place::kStart:
        throw std::invalid_argument(file_ + ": header, got " + got + ", want an object");
      case Place::kHeader:
        throw std::invalid_argument(file_ + ": tensor " + shown(field_) + ": got " + got +
                                    ", want an object");
      case Place::kMetadata:
        throw std::invalid_argument(where() + " '" + shown(field_) + "', got " + got +
                                    ", want a string");
      case Place::kTensor:
      case Place::kShape:
      case Place::kOffsets:
        break;
    }
    std::string want = "a string";
    if (field_ == "shape") want = "at most 32 whole numbers from 0 to 2^63 - 1";
    if (field_ == "data_offsets") want = "two whole numbers from 0 to 2^63 - 1";
    throw std::invalid_argument(where() + ": " + field_ + ", got " + got + ", want " + want);
  }

  std::string file_;
  SafetensorsHeader header_;
  Place place_ = Place::kStart;
  std::set<std::string> names_;   ///< of all tensors so far, and __metadata__
  std::set<std::string> fields_;  ///< of the object that is open
  std::string tensor_;            ///< name of the object that is open
  std::string field_;             ///< latest key
  std::vector<std::int64_t> numbers_;
};
}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& file) {
  if (text.empty() || text.front() != '{') {
    throw std::invalid_argument(file + ": header begins with '" + shown(text.substr(0, 1)) +
                                "', want '{'");
  }
  // The parser takes a NUL for the end of the text and would not see what follows it.
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    throw std::invalid_argument(file + ": header is not JSON: NUL at byte " + std::to_string(nul));
  }
  HeaderReader reader(file);
  if (!nlohmann::json::sax_parse(text, &reader)) {
    throw std::invalid_argument(file + ": header is not JSON");
  }
  return reader.take();
}
}  // namespace switchyard::runtime
