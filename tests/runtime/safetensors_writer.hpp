// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Safetensors files for tests, right and wrong ones, and a folder that goes when the test ends.
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

namespace switchyard::tests {

/// A fresh folder under the system's temporary one.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "switchyard-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp: " + pattern);
    path_ = pattern;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const {
    return path_ / name;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path write_file(const std::filesystem::path& file,
                                        const std::string& bytes) {
  std::ofstream stream(file, std::ios::binary);
  stream << bytes;
  if (!stream.flush()) throw std::runtime_error("cannot write " + file.string());
  return file;
}

inline std::string read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream bytes;
  bytes << stream.rdbuf();
  return bytes.str();
}

/// A header length as the format wants it: eight bytes, lowest first.
inline std::string length_bytes(std::uint64_t length) {
  std::string bytes;
  for (unsigned i = 0; i < 8; ++i) bytes += static_cast<char>((length >> (8 * i)) & 0xffU);
  return bytes;
}

/// A file with this header, right or wrong, and these data.
inline std::string file_of(const std::string& header, const std::string& data) {
  return length_bytes(header.size()) + header + data;
}

/// Collects tensors and writes them as one sound file.
class SafetensorsWriter {
 public:
  void add(const std::string& name, const std::string& dtype,
           const std::vector<std::int64_t>& shape, const std::string& bytes) {
    std::string extents;
    for (const std::int64_t extent : shape) {
      extents += (extents.empty() ? "" : ",") + std::to_string(extent);
    }
    entries_ += (entries_.empty() ? "" : ",");
    entries_ += "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + extents +
                "],\"data_offsets\":[" + std::to_string(data_.size()) + "," +
                std::to_string(data_.size() + bytes.size()) + "]}";
    data_ += bytes;
  }
  template <class T>
  void add(const std::string& name, const std::string& dtype,
           const std::vector<std::int64_t>& shape, const std::vector<T>& values) {
    std::string bytes(values.size() * sizeof(T), '\0');
    if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    add(name, dtype, shape, bytes);
  }
  /// @param padding  blanks after the header; the data are aligned only if it makes them so
  [[nodiscard]] std::string bytes(std::size_t padding = 0) const {
    return file_of("{" + entries_ + "}" + std::string(padding, ' '), data_);
  }
  /// Written with its data on a multiple of eight.
  std::filesystem::path write(const std::filesystem::path& file) const {
    return write_file(file, bytes((8 - (entries_.size() + 2) % 8) % 8));
  }

 private:
  std::string entries_;
  std::string data_;
};
}  // namespace switchyard::tests
