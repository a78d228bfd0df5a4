// SPDX-License-Identifier: Apache-2.0
// The file MANIFEST: its frame, and the message in it.
#include <algorithm>
#include <charconv>
#include <cstring>

#include "comm/base/crc32c.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/checkpoint/messages.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::string_view kMagic = "SYMANF01";
constexpr std::size_t kFrame = 16;  // magic, length, checksum

std::string hex_of(const std::string& raw) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

std::string raw_of(const std::string& hex) {
  std::string raw;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned value = 0;
    std::from_chars(hex.data() + i, hex.data() + i + 2, value, 16);
    raw += static_cast<char>(value);
  }
  return raw;
}

CheckpointInfo info_of(const proto::Manifest& message, const std::string& where) {
  CheckpointInfo info;
  info.step = whole_number(message.step(), "step", where);
  info.run_id = message.run_id();
  info.incarnation = message.incarnation();
  constexpr std::uint32_t kMostRanks = 1U << 30U;
  info.writer_world = static_cast<int>(std::min(message.writer_world(), kMostRanks));
  info.program_version = message.program_version();
  info.model_name = message.model().name();
  info.model_text = message.model().text();
  info.model_sha256 = hex_of(message.model().sha256());
  info.seed = message.random().seed();
  for (const auto& counter : message.random().counter()) {
    info.counters[counter.name()] = counter.value();
  }
  info.placement_epoch = message.placement().epoch();
  for (const auto& rank : message.placement().rank()) {
    info.experts_of.emplace_back(rank.expert().begin(), rank.expert().end());
  }
  for (const auto& layer : message.placement().layer()) {
    auto& lists = info.experts_in[layer.number()];
    for (const auto& rank : layer.rank()) {
      lists.emplace_back(rank.expert().begin(), rank.expert().end());
    }
  }
  for (const auto& layer : message.load()) {
    info.load[layer.layer()].assign(layer.rows().begin(), layer.rows().end());
  }
  for (const auto& label : message.label()) info.labels[label.name()] = label.text();
  return info;
}

/// Sets what `message` does not say yet: what it says stays, with whatever a later version put
/// there.
void set_info(const CheckpointInfo& info, proto::Manifest& message) {
  const CheckpointInfo had = info_of(message, "checkpoint");
  message.set_step(static_cast<std::uint64_t>(info.step));
  message.set_run_id(info.run_id);
  message.set_incarnation(info.incarnation);
  message.set_writer_world(static_cast<std::uint32_t>(info.writer_world));
  message.set_program_version(info.program_version);
  message.mutable_model()->set_name(info.model_name);
  message.mutable_model()->set_text(info.model_text);
  message.mutable_model()->set_sha256(raw_of(info.model_sha256));
  message.mutable_random()->set_seed(info.seed);
  if (had.counters != info.counters) {
    message.mutable_random()->clear_counter();
    for (const auto& [name, value] : info.counters) {
      auto& counter = *message.mutable_random()->add_counter();
      counter.set_name(name);
      counter.set_value(value);
    }
  }
  message.mutable_placement()->set_version(info.experts_in.empty() ? 1 : 2);
  message.mutable_placement()->set_epoch(info.placement_epoch);
  if (had.experts_of != info.experts_of) {
    message.mutable_placement()->clear_rank();
    for (const auto& experts : info.experts_of) {
      auto& rank = *message.mutable_placement()->add_rank();
      for (const std::int32_t expert : experts) rank.add_expert(expert);
    }
  }
  if (had.experts_in != info.experts_in) {
    message.mutable_placement()->clear_layer();
    for (const auto& [number, lists] : info.experts_in) {
      auto& layer = *message.mutable_placement()->add_layer();
      layer.set_number(number);
      for (const auto& experts : lists) {
        auto& rank = *layer.add_rank();
        for (const std::int32_t expert : experts) rank.add_expert(expert);
      }
    }
  }
  if (had.load != info.load) {
    message.clear_load();
    for (const auto& [layer, rows] : info.load) {
      auto& load = *message.add_load();
      load.set_layer(static_cast<std::uint32_t>(layer));
      for (const std::uint64_t count : rows) load.add_rows(count);
    }
  }
  if (had.labels != info.labels) {
    message.clear_label();
    for (const auto& [name, text] : info.labels) {
      auto& label = *message.add_label();
      label.set_name(name);
      label.set_text(text);
    }
  }
}

/// What of a tensor's message this version does not know.
std::string strange_fields(const proto::Tensor& tensor) {
  proto::Tensor rest = tensor;
  rest.clear_name();
  rest.clear_type();
  rest.clear_shape();
  rest.clear_layer();
  rest.clear_expert();
  return rest.SerializeAsString();
}

/// The message in its frame. @throws DamagedCheckpoint
std::span<const std::byte> unframe(std::span<const std::byte> file, const std::string& where) {
  if (file.size() < kFrame || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    throw DamagedCheckpoint(where + (file.empty() ? ": empty" : ": no manifest"));
  }
  const std::uint64_t length = u32_at(file, 8);
  if (length > kMostManifestBytes || kFrame + length != file.size()) {
    throw DamagedCheckpoint(where + ": size " + std::to_string(file.size()) + ", want " +
                            std::to_string(kFrame + length));
  }
  const std::uint32_t got = comm::crc32c(file.first(12 + length));
  const std::uint32_t want = u32_at(file, 12 + length);
  if (got != want) {
    throw DamagedCheckpoint(where + ": checksum " + hex8(got) + ", want " + hex8(want));
  }
  return file.subspan(12, length);
}

void refuse_newer(const proto::Manifest& message, const std::string& where) {
  if (message.format_version() == 0) throw DamagedCheckpoint(where + ": no format_version");
  if (message.min_reader_version() <= kCheckpointVersion) return;
  throw std::invalid_argument(
      where + ": written by version " + std::to_string(message.format_version()) +
      ", for readers from version " + std::to_string(message.min_reader_version()) +
      "; this one is version " + std::to_string(kCheckpointVersion));
}
}  // namespace

std::string encode(const Manifest& manifest) {
  proto::Manifest message;
  message.ParseFromString(manifest.carried);
  message.set_format_version(manifest.format_version);
  message.set_min_reader_version(manifest.min_reader_version);
  set_info(manifest.info, message);
  for (const TensorInfo& tensor : manifest.tensors) {
    proto::Tensor& entry = *message.add_tensor();
    const auto strange = manifest.carried_of.find(tensor.name);
    if (strange != manifest.carried_of.end()) entry.ParseFromString(strange->second);
    to_message(tensor, entry);
  }
  for (const ShardInfo& shard : manifest.shards) to_message(shard, *message.add_shard());
  message.set_content_sha256(raw_of(manifest.content_sha256));
  const std::string bytes = bytes_of_message(message, kMostManifestBytes, "the manifest");
  std::string file(kMagic);
  put_u32(file, static_cast<std::uint32_t>(bytes.size()));
  file += bytes;
  put_u32(file, comm::crc32c(std::as_bytes(std::span(file))));
  return file;
}

Manifest decode_manifest(std::span<const std::byte> file, const std::string& where) {
  proto::Manifest message;
  parse_message(unframe(file, where), message, where);
  refuse_newer(message, where);
  Manifest manifest;
  manifest.format_version = message.format_version();
  manifest.min_reader_version = message.min_reader_version();
  manifest.info = info_of(message, where);
  for (const proto::Tensor& tensor : message.tensor()) {
    manifest.tensors.push_back(from_message(tensor, where));
    std::string strange = strange_fields(tensor);
    if (!strange.empty()) manifest.carried_of[tensor.name()] = std::move(strange);
  }
  for (const proto::Shard& shard : message.shard()) {
    manifest.shards.push_back(from_message(shard, where));
  }
  manifest.content_sha256 = hex_of(message.content_sha256());
  check_manifest(manifest, where);
  if (manifest.content_sha256 != content_of(manifest)) {
    throw DamagedCheckpoint(where + ": content_sha256 is not of its tensors");
  }
  message.clear_tensor();
  message.clear_shard();
  manifest.carried = message.SerializeAsString();
  return manifest;
}
}  // namespace switchyard::runtime
