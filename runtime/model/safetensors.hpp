// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The safetensors container: one mapped file, or several behind one set of names. Nothing in a file
/// is believed: every length, offset, shape and type is checked before it is used.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace switchyard::runtime {

/// A tensor where it lies in its mapped file.
struct Tensor {
  std::string dtype;  ///< as in the file: F32, BF16, F16, I64, U8, ...
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
  std::string file;   ///< for messages
  [[nodiscard]] std::int64_t elements() const;
};

/// One mapped file, read-only.
class SafetensorsFile {
 public:
  /// Maps the file and checks its whole header.
  /// @throws std::invalid_argument  "FILE: header says 9 bytes past the end, ..." ; system_error: I/O
  explicit SafetensorsFile(const std::filesystem::path& file);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  [[nodiscard]] const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::span<const std::byte> bytes_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Tensors of one or several files by name.
class TensorSet {
 public:
  explicit TensorSet(std::shared_ptr<const SafetensorsFile> file);
  /// model.safetensors, or the shards of model.safetensors.index.json.
  [[nodiscard]] static std::shared_ptr<const TensorSet> open_directory(
      const std::filesystem::path& directory);

  [[nodiscard]] const Tensor* find(const std::string& name) const;
  /// @throws std::invalid_argument  "tensor NAME: missing in WHERE"
  [[nodiscard]] const Tensor& at(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  TensorSet() = default;
  std::string where_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::map<std::string, const Tensor*> tensors_;
};
}  // namespace switchyard::runtime
