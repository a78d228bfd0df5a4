// SPDX-License-Identifier: Apache-2.0
// A run's state in the place of released weights, and back.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <tuple>

#include "runtime/checkpoint/tools/released_files.hpp"
#include "runtime/checkpoint/tools/released_state.hpp"
#include "runtime/checkpoint/tools/rewrite.hpp"
#include "runtime/model/checked_json.hpp"
#include "runtime/model/safetensors_header.hpp"
#include "runtime/report/whole_file.hpp"

namespace switchyard::runtime {
namespace {
namespace fs = std::filesystem;
constexpr std::int64_t kMostRunText = 64'000'000;

/// Released tensors that the state makes up, and of what.
using Replaced = std::map<std::string, std::vector<ReleasedPart>>;

void require_model(const Checkpoint& released, const CheckpointInfo& info, const fs::path& where) {
  if (released.model().text() == info.model_text) return;
  throw std::invalid_argument(where.string() + ": model " + released.model().name() +
                              " of other fields, want " + info.model_name + " as it was saved");
}

Replaced replaced_by(const StoredCheckpoint& stored, const Checkpoint& released) {
  Replaced replaced;
  const auto layers = layers_of_run(stored.info());
  if (layers.empty()) throw std::invalid_argument("--like: the step is not one of a run");
  for (ReleasedPart& part : parts_of_state(released, layers)) {
    const TensorInfo& saved = stored.at(part.state.name);
    if (saved != part.state) {
      throw std::invalid_argument("checkpoint: tensor " + saved.name +
                                  ": of another shape than in the released weights");
    }
    replaced[part.tensor].push_back(std::move(part));
  }
  return replaced;
}

/// The values of a released tensor, all of which the state must have.
std::vector<float> values_of(StoredCheckpoint& stored, const TensorEntry& entry,
                             const std::vector<ReleasedPart>& parts) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : entry.shape) elements *= extent;
  std::vector<float> all(static_cast<std::size_t>(elements));
  std::vector<float> values;
  for (const ReleasedPart& part : parts) {
    values.resize(static_cast<std::size_t>(part.state.elements()));
    stored.read(part.state.name, Rectangle::whole(part.state), DataType::kFloat32,
                std::as_writable_bytes(std::span(values)));
    const std::int64_t width = part.state.shape.size() == 2 ? part.state.shape[1] : 1;
    const float* from = values.data();
    for (std::int64_t o = 0; o < part.state.shape[0]; ++o) {
      float* const to = all.data() + part.first + o * part.out;
      for (std::int64_t i = 0; i < width; ++i) to[i * part.in] = *from++;
    }
    elements -= part.state.elements();
  }
  if (elements == 0) return all;
  throw std::invalid_argument("checkpoint: tensor " + entry.name +
                              ": the state has only a part of it");
}

/// Entries in the order of their data, and the header that they have once some are float32.
struct NewHeader {
  std::vector<TensorEntry> entries;
  std::string text;
  std::int64_t bytes = 0;  ///< of all tensors
};

NewHeader header_with(const Replaced& replaced, const std::string& text, const std::string& name) {
  SafetensorsHeader parsed = parse_safetensors_header(text, name);
  NewHeader header{.entries = std::move(parsed.entries), .text = text};
  std::ranges::sort(header.entries, [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  nlohmann::ordered_json json;
  if (!parsed.metadata.empty()) json["__metadata__"] = parsed.metadata;
  bool same = true;
  for (const TensorEntry& entry : header.entries) {
    const bool widened = replaced.contains(entry.name) && entry.dtype != "F32";
    same = same && !widened;
    std::int64_t size = entry.end - entry.begin;
    if (widened) size *= 2;
    json[entry.name] = {{"dtype", widened ? "F32" : entry.dtype},
                        {"shape", entry.shape},
                        {"data_offsets", {header.bytes, header.bytes + size}}};
    header.bytes += size;
  }
  if (same) return header;
  header.text = json.dump();
  header.text.resize((header.text.size() + 7) / 8 * 8, ' ');
  return header;
}

void copy_entry(ReleasedFile& file, const TensorEntry& entry, WholeFile& to) {
  std::vector<std::byte> room;
  for (std::int64_t at = entry.begin; at < entry.end;) {
    room.resize(static_cast<std::size_t>(std::min(StoredCheckpoint::kReadBytes, entry.end - at)));
    file.read(at, room);
    to.write(room);
    at += static_cast<std::int64_t>(room.size());
  }
}

/// What is beside the weights: config, tokenizer, the index with its new sum.
void copy_texts(const fs::path& like, const fs::path& to, std::int64_t bytes, Exported& exported) {
  for (const auto& entry : fs::directory_iterator(like)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name.ends_with(".safetensors") || name == kRunFile) continue;
    exported.names.push_back(name);
    if (name != kReleasedIndex) {
      fs::copy_file(entry.path(), to / name);
      continue;
    }
    auto index = nlohmann::ordered_json::parse(read_text(entry.path(), kMostRunText));
    index["metadata"]["total_size"] = bytes;
    const std::string text = index.dump(2) + "\n";
    WholeFile whole("--output", (to / name).string());
    whole.write(std::as_bytes(std::span(text)));
    whole.commit();
  }
}
}  // namespace

Exported export_run(FileSystem& files, StoredCheckpoint& stored, const fs::path& like,
                    const fs::path& to, const ByteProgress& progress) {
  const Checkpoint released(like);  // checks config, index and headers
  require_model(released, stored.info(), like);
  const Replaced replaced = replaced_by(stored, released);
  const auto names = safetensors_files(like);
  std::int64_t all = 0;
  for (const std::string& name : names) {
    all += header_with(replaced, ReleasedFile(files, like / name).text(), name).bytes;
  }
  Exported exported;
  for (const std::string& name : names) {
    ReleasedFile file(files, like / name);
    const NewHeader header = header_with(replaced, file.text(), name);
    WholeFile whole("--output", (to / name).string());
    const auto length = static_cast<std::uint64_t>(header.text.size());
    whole.write(std::as_bytes(std::span(&length, 1)));
    whole.write(std::as_bytes(std::span(header.text)));
    for (const TensorEntry& entry : header.entries) {
      const auto found = replaced.find(entry.name);
      if (found == replaced.end()) {
        copy_entry(file, entry, whole);
        exported.bytes += entry.end - entry.begin;
      } else {
        const std::vector<float> values = values_of(stored, entry, found->second);
        whole.write(std::as_bytes(std::span(values)));
        exported.bytes += static_cast<std::int64_t>(values.size() * sizeof(float));
      }
      if (progress) progress(exported.bytes, all);
    }
    whole.commit();
    exported.names.push_back(name);
  }
  copy_texts(like, to, all, exported);
  const std::string text = run_text(stored.info());
  WholeFile whole("--output", (to / kRunFile).string());
  whole.write(std::as_bytes(std::span(text)));
  whole.commit();
  exported.names.emplace_back(kRunFile);
  return exported;
}

Manifest import_run(FileSystem& files, const fs::path& released, const std::string& to,
                    const Spread& spread, const ByteProgress& progress) {
  const Checkpoint checkpoint(released);
  Manifest like;
  like.info =
      run_from_text(read_text(released / kRunFile, kMostRunText), (released / kRunFile).string());
  require_model(checkpoint, like.info, released);
  std::vector<ShardSource> sources;
  for (ReleasedPart& part : parts_of_state(checkpoint, layers_of_run(like.info))) {
    const TensorInfo info = part.state;
    const auto shared = std::make_shared<const ReleasedPart>(std::move(part));
    sources.push_back({.tensor = info,
                       .where = Rectangle::whole(info),
                       .bytes = {},
                       .read = [shared](std::int64_t at, std::span<std::byte> room) {
                         const std::span<float> values(reinterpret_cast<float*>(room.data()),
                                                       room.size() / sizeof(float));
                         read_part(*shared, at / std::int64_t{sizeof(float)}, values);
                       }});
  }
  return write_step(files, to, like, std::move(sources), spread, progress);
}
}  // namespace switchyard::runtime
