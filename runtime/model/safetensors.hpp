// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The safetensors container: one mapped file, or several behind one set of names. Nothing in a
/// file is believed: every length, offset, shape and type is checked before it is used.
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
  std::string file;                     ///< for messages
  const std::string* origin = nullptr;  ///< SafetensorsFile::fingerprint() of its file
  [[nodiscard]] std::int64_t elements() const;
};

/// One mapped file, read-only.
class SafetensorsFile {
 public:
  /// Maps the file and checks its whole header: known types, sizes that agree with shapes, data
  /// that fill the file without overlap or gap. A file that shrinks afterwards ends the process
  /// (SIGBUS), as every mapped file does.
  /// @throws std::invalid_argument  "FILE: header in bytes, got 900, want 2 to 80"
  /// @throws std::system_error      it cannot be opened or mapped; names the file
  explicit SafetensorsFile(const std::filesystem::path& file);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }  ///< as it was opened
  /// SHA-256 of header, size and time of the last change: another file, another fingerprint. The
  /// data are not read for it, nor does its place count.
  [[nodiscard]] const std::string& fingerprint() const { return fingerprint_; }
  [[nodiscard]] const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  void read_header();

  std::string name_;
  std::string changed_;  ///< when, as text
  std::span<const std::byte> bytes_;
  std::string fingerprint_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Tensors of one or several files by name.
class TensorSet {
 public:
  explicit TensorSet(std::shared_ptr<const SafetensorsFile> file);
  /// model.safetensors, or the shards of model.safetensors.index.json. Every tensor of every shard
  /// must be where the index says, and nowhere else.
  /// @throws std::invalid_argument  neither is there, or an index that does not fit its shards
  /// @throws std::system_error      the folder, the index or a shard cannot be opened; names it
  [[nodiscard]] static std::shared_ptr<const TensorSet> open_directory(
      const std::filesystem::path& directory);

  [[nodiscard]] const Tensor* find(const std::string& name) const;
  /// @throws std::invalid_argument  "tensor NAME: missing in WHERE"
  [[nodiscard]] const Tensor& at(const std::string& name) const;
  /// Names that begin with `prefix`, sorted.
  [[nodiscard]] std::vector<std::string> names(const std::string& prefix = {}) const;
  [[nodiscard]] const std::string& where() const { return where_; }  ///< file or folder

 private:
  TensorSet() = default;
  void read_index(const std::filesystem::path& directory, const std::filesystem::path& index);

  std::string where_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::map<std::string, const Tensor*> tensors_;
};
}  // namespace switchyard::runtime
