// SPDX-License-Identifier: Apache-2.0
#include "runtime/packing/pack_cache.hpp"

#include <stdexcept>
#include <system_error>
#include <utility>

#include "experts/ffn.hpp"
#include "runtime/report/digest.hpp"
#include "runtime/words.hpp"

namespace switchyard::runtime {
namespace {
/// Everything that the bytes of the block depend on.
PackedLabel label_of(const PackCache::Expert& expert, experts::WeightSource& source) {
  const experts::ExpertSpec& spec = expert.spec;
  const std::string words = "layout " + std::to_string(experts::PackedExpert::kLayoutVersion) +
                            ", " + std::string(name_of(expert.stored)) + ", " +
                            std::string(name_of(spec.unit)) + ", hidden " +
                            std::to_string(spec.hidden) + ", width " + std::to_string(spec.width) +
                            (spec.biases ? ", biases\n" : "\n") + source.identity(expert.logical);
  return {.key = sha256(words),
          .stored = expert.stored,
          .bytes = experts::PackedExpert::packed_bytes(spec, expert.stored)};
}
}  // namespace

PackCache::PackCache(std::filesystem::path folder, std::function<void(const std::string&)> note)
    : folder_(std::move(folder)), note_(std::move(note)) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (!error && std::filesystem::is_directory(folder_)) return;
  if (!error) error = std::make_error_code(std::errc::not_a_directory);
  throw std::system_error(error, "--pack-cache: cannot make " + folder_.string());
}

std::filesystem::path PackCache::file_of(const Expert& expert, const PackedLabel& label) const {
  return folder_ / ("layer-" + std::to_string(expert.layer) + ".expert-" +
                    std::to_string(expert.logical) + "." + std::string(name_of(expert.stored)) +
                    "." + label.key.substr(0, 16) + ".v" + std::to_string(kPackedFileVersion));
}

MappedBlock PackCache::get(const Expert& expert, experts::WeightSource& source,
                           experts::AlignedBuffer& room) {
  const PackedLabel label = label_of(expert, source);
  const std::filesystem::path file = file_of(expert, label);
  try {
    if (std::optional<MappedBlock> found = open_packed(file, label, true)) {
      ++read_;
      return std::move(*found);
    }
  } catch (const std::invalid_argument& problem) {
    if (note_) note_("--pack-cache: " + std::string(problem.what()) + "; written anew");
  }
  const auto bytes = static_cast<std::size_t>(label.bytes);
  room.ensure(bytes);
  experts::PackedExpert::pack(expert.spec, source.expert(expert.logical), expert.stored,
                              room.as<std::byte>());
  write_packed(file, label, {room.as<std::byte>(), bytes});
  ++written_;
  return of_mate(expert, source);
}

MappedBlock PackCache::of_mate(const Expert& expert, experts::WeightSource& source) const {
  const PackedLabel label = label_of(expert, source);
  const std::filesystem::path file = file_of(expert, label);
  if (std::optional<MappedBlock> found = open_packed(file, label, false)) return std::move(*found);
  throw std::system_error(ENOENT, std::generic_category(),
                          "--pack-cache: cannot read " + file.string());
}
}  // namespace switchyard::runtime
