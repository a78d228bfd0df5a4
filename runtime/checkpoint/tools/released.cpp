// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "runtime/checkpoint/stored.hpp"
#include "runtime/checkpoint/tools/released_files.hpp"
#include "runtime/checkpoint/tools/released_state.hpp"
#include "runtime/checkpoint/tools/rewrite.hpp"
#include "runtime/model/checked_json.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/safetensors_header.hpp"
#include "runtime/report/whole_file.hpp"

namespace switchyard::runtime {
namespace {
namespace fs = std::filesystem;
constexpr std::int64_t kMostText = 16'000'000;
constexpr const char* kHeader = "safetensors:";  ///< of labels: then the file's name
constexpr const char* kFile = "file:";

/// As files name it; nothing: they have no such type.
std::string dtype_of(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return "F32";
    case DataType::kBfloat16:
      return "BF16";
    case DataType::kFloat16:
      return "F16";
    case DataType::kInt64:
      return "I64";
    case DataType::kUint8:
      return "U8";
    case DataType::kInt8:
      return "I8";
    case DataType::kFp8:
      return "F8_E4M3";
    case DataType::kInt32:
      return "I32";
  }
  return "";
}

/// The type that stands for one of a file; another one goes as bytes, under its own name.
DataType type_of(const std::string& dtype) {
  for (const DataType type :
       {DataType::kFloat32, DataType::kBfloat16, DataType::kFloat16, DataType::kInt64,
        DataType::kUint8, DataType::kInt8, DataType::kFp8, DataType::kInt32}) {
    if (dtype_of(type) == dtype) return type;
  }
  return DataType::kUint8;
}

/// The number behind a word of a name: 3 of "model.layers.3.mlp" for "layers."; -1: none.
std::int64_t number_after(const std::string& name, const std::string& word) {
  const auto at = name.find(word);
  if (at == std::string::npos) return -1;
  std::int64_t number = -1;
  for (auto i = at + word.size(); i < name.size() && name[i] >= '0' && name[i] <= '9'; ++i) {
    number = std::max<std::int64_t>(number, 0) * 10 + (name[i] - '0');
    if (number > INT32_MAX) return -1;
  }
  return number;
}

TensorInfo info_of(const TensorEntry& entry, const std::string& layer = "layers.",
                   const std::string& expert = "experts.") {
  TensorInfo info{.name = entry.name,
                  .type = type_of(entry.dtype),
                  .shape = entry.shape,
                  .layer = number_after(entry.name, layer),
                  .expert = number_after(entry.name, expert)};
  if (dtype_of(info.type) != entry.dtype) info.shape = {entry.end - entry.begin};
  return info;
}

void write_text(const fs::path& file, const std::string& text) {
  WholeFile whole("--output", file.string());
  whole.write(std::as_bytes(std::span(text)));
  whole.commit();
}

/// A file to be written: its header, and the tensors in the order of their data.
struct OutFile {
  std::string name;
  std::string header;
  std::vector<std::string> tensors;
};

/// As it was imported, from its header.
OutFile as_released(const std::string& name, const std::string& header,
                    const StoredCheckpoint& stored) {
  SafetensorsHeader parsed = parse_safetensors_header(header, name);
  std::ranges::sort(parsed.entries, [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  OutFile file{name, header, {}};
  std::int64_t next = 0;
  for (const TensorEntry& entry : parsed.entries) {
    if (entry.begin == entry.end) continue;
    if (entry.begin != next || stored.at(entry.name).bytes() != entry.end - entry.begin) {
      throw std::invalid_argument(name + ": tensor " + entry.name +
                                  ": its header does not fit what is saved");
    }
    next = entry.end;
    file.tensors.push_back(entry.name);
  }
  return file;
}

/// Of a step that never was a released folder: tensors by name, files of at most `file_bytes`.
std::vector<OutFile> plain_files(const StoredCheckpoint& stored, std::int64_t file_bytes) {
  std::vector<OutFile> files;
  std::vector<nlohmann::ordered_json> headers;
  std::int64_t at = 0;
  for (const TensorInfo& tensor : stored.tensors()) {
    if (files.empty() || (at > 0 && at + tensor.bytes() > file_bytes)) {
      files.emplace_back();
      headers.push_back({{"__metadata__", {{"format", "pt"}}}});
      at = 0;
    }
    headers.back()[tensor.name] = {{"dtype", dtype_of(tensor.type)},
                                   {"shape", tensor.shape},
                                   {"data_offsets", {at, at + tensor.bytes()}}};
    files.back().tensors.push_back(tensor.name);
    at += tensor.bytes();
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    std::array<char, 64> name{};
    std::snprintf(name.data(), name.size(), "model-%05zu-of-%05zu.safetensors", i + 1,
                  files.size());
    files[i].name = files.size() == 1 ? "model.safetensors" : name.data();
    files[i].header = headers[i].dump();
    files[i].header.resize((files[i].header.size() + 7) / 8 * 8, ' ');
  }
  return files;
}

std::string index_of(const std::vector<OutFile>& files, const StoredCheckpoint& stored) {
  nlohmann::ordered_json index;
  std::int64_t total = 0;
  for (const TensorInfo& tensor : stored.tensors()) total += tensor.bytes();
  index["metadata"]["total_size"] = total;
  for (const OutFile& file : files) {
    for (const std::string& tensor : file.tensors) index["weight_map"][tensor] = file.name;
  }
  return index.dump(2) + "\n";
}

/// A plain name: labels come from a file too.
void require_plain(const std::string& name) {
  if (!name.empty() && name.front() != '.' && name.find('/') == std::string::npos) return;
  throw std::invalid_argument("checkpoint: file '" + shown(name) + "', want a plain name");
}
}  // namespace

ReleasedFile::ReleasedFile(FileSystem& files, const fs::path& path)
    : file_(files, fs::canonical(path).string(), FileSystem::Open::kRead) {
  std::array<std::byte, 8> length{};
  read(-8 - header_bytes_, length);
  std::memcpy(&header_bytes_, length.data(), sizeof header_bytes_);
  text_.resize(static_cast<std::size_t>(header_bytes_));  // checked when the set was opened
  read(-header_bytes_, std::as_writable_bytes(std::span(text_)));
}

void ReleasedFile::read(std::int64_t at, std::span<std::byte> to) {
  const std::int64_t got = file_.read(to, 8 + header_bytes_ + at);
  if (std::cmp_equal(got, to.size())) return;
  throw std::invalid_argument(file_.path() + ": ends early");
}

std::vector<std::string> safetensors_files(const fs::path& released) {
  if (!fs::exists(released / kReleasedIndex)) return {"model.safetensors"};
  std::vector<std::string> names;
  for (const auto& [tensor, file] :
       parse_checked(read_text(released / kReleasedIndex, 64'000'000), kReleasedIndex)["weight_map"]
           .get<std::map<std::string, std::string>>()) {
    names.push_back(file);
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Manifest import_released(FileSystem& files, const fs::path& released, const std::string& to,
                         const Spread& spread, const ByteProgress& progress) {
  const bool run = fs::exists(released / kRunFile);
  if (run && fs::exists(released / "config.json")) {
    return import_run(files, released, to, spread, progress);
  }
  Manifest like;
  if (run) {                                                 // exported under its own names
    static_cast<void>(TensorSet::open_directory(released));  // checks index and headers
    like.info = run_from_text(read_text(released / kRunFile, kMostText), kRunFile);
  } else {
    const Checkpoint checkpoint(released);  // checks config, index and headers
    like.info.run_id = "import";
    like.info.model_name = checkpoint.model().name();
    like.info.model_text = checkpoint.model().text();
  }
  for (const char* const text : {"config.json", kReleasedIndex}) {
    if (run || !fs::exists(released / text)) continue;
    like.info.labels[std::string(kFile) + text] = read_text(released / text, kMostText);
  }
  std::vector<ShardSource> sources;
  for (const std::string& name : safetensors_files(released)) {
    const auto file = std::make_shared<ReleasedFile>(files, released / name);
    if (!run) like.info.labels[kHeader + name] = file->text();
    for (const TensorEntry& entry : parse_safetensors_header(file->text(), name).entries) {
      const TensorInfo info = run ? info_of(entry, "layer.", "expert.") : info_of(entry);
      if (info.elements() == 0) {
        like.tensors.push_back(info);
        continue;
      }
      sources.push_back(
          {.tensor = info,
           .where = Rectangle::whole(info),
           .bytes = {},
           .read = [file, begin = entry.begin](std::int64_t at, std::span<std::byte> room) {
             file->read(begin + at, room);
           }});
    }
  }
  return write_step(files, to, like, std::move(sources), spread, progress);
}

Exported export_released(FileSystem& files, const StepPath& from, const fs::path& to,
                         const ExportForm& form, const ByteProgress& progress) {
  StoredCheckpoint stored(files, from.directory, resolve(files, from));
  const auto make_folder = [&] {
    if (fs::create_directory(to)) return;
    throw std::invalid_argument("--output: " + to.string() + " exists, want a folder to make");
  };
  if (!form.like.empty()) {
    make_folder();
    return export_run(files, stored, form.like, to, progress);
  }
  std::vector<OutFile> out;
  std::map<std::string, std::string> texts;
  for (const auto& [label, text] : stored.info().labels) {
    if (label.starts_with(kHeader)) {
      out.push_back(as_released(label.substr(std::strlen(kHeader)), text, stored));
    } else if (label.starts_with(kFile)) {
      texts[label.substr(std::strlen(kFile))] = text;
    }
  }
  if (out.empty()) {
    out = plain_files(stored, form.file_bytes);
    if (!layers_of_run(stored.info()).empty()) texts[kRunFile] = run_text(stored.info());
    if (out.size() > 1) texts[kReleasedIndex] = index_of(out, stored);
  }
  for (const auto& [name, text] : texts) require_plain(name);
  for (const OutFile& file : out) require_plain(file.name);
  make_folder();
  std::int64_t all = 0;
  for (const TensorInfo& tensor : stored.tensors()) all += tensor.bytes();
  Exported exported;
  std::vector<std::byte> bytes;
  for (const OutFile& file : out) {
    WholeFile whole("--output", (to / file.name).string());
    const auto length = static_cast<std::uint64_t>(file.header.size());
    whole.write(std::as_bytes(std::span(&length, 1)));
    whole.write(std::as_bytes(std::span(file.header)));
    for (const std::string& name : file.tensors) {
      const TensorInfo& tensor = stored.at(name);
      const std::int64_t size = bytes_of(tensor.type);
      for (const Rectangle& window : windows(tensor, StoredCheckpoint::kReadBytes / size)) {
        bytes.resize(static_cast<std::size_t>(window.elements() * size));
        stored.read(name, window, tensor.type, bytes);
        whole.write(bytes);
        exported.bytes += static_cast<std::int64_t>(bytes.size());
        if (progress) progress(exported.bytes, all);
      }
    }
    whole.commit();
    exported.names.push_back(file.name);
  }
  for (const auto& [name, text] : texts) {
    write_text(to / name, text);
    exported.names.push_back(name);
  }
  return exported;
}
}  // namespace switchyard::runtime
