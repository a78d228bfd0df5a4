// SPDX-License-Identifier: Apache-2.0
// Files of weights: the containers, their index, and packed experts.
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "comm/base/crc32c.hpp"
#include "runtime/model/safetensors.hpp"
#include "runtime/packing/packed_file.hpp"
#include "tests/fuzz/targets.hpp"

namespace switchyard::fuzz {
namespace {

/// A container with the length of its header set right, so that what follows is reached.
std::vector<std::byte> container(Bytes header, Bytes data) {
  std::vector<std::byte> file;
  for (unsigned i = 0; i < 8; ++i) {
    file.push_back(static_cast<std::byte>(std::uint64_t{header.size()} >> (8 * i)));
  }
  file.insert(file.end(), header.begin(), header.end());
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

/// Tensors lie in their file, one byte of each end read, and agree with their shapes.
void look_at(const runtime::SafetensorsFile& file) {
  for (const auto& [name, tensor] : file.tensors()) {
    require(tensor.elements() >= 0, "a negative number of elements");
    if (tensor.data.empty()) continue;
    const auto sum = std::to_integer<unsigned>(tensor.data.front()) +
                     std::to_integer<unsigned>(tensor.data.back());
    require(sum <= 510, "two bytes");
    require(tensor.elements() > 0, "data without elements");
  }
}

/// A folder with two shards, for indexes to name.
const std::filesystem::path& folder_of_shards() {
  static const std::filesystem::path folder = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "fuzz-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    static const std::string made = pattern;
    if (std::atexit([] { std::filesystem::remove_all(made); }) != 0) std::abort();
    for (const std::string name : {"a", "b"}) {
      const std::string header =
          R"({")" + name + R"(":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
      const auto file =
          container(std::as_bytes(std::span(header)), Bytes(std::array<std::byte, 2>{}));
      std::ofstream(made + "/" + name + ".safetensors", std::ios::binary)
          .write(reinterpret_cast<const char*>(file.data()),
                 static_cast<std::streamsize>(file.size()));
    }
    return std::filesystem::path(made);
  }();
  return folder;
}
}  // namespace

/// First byte even: two bytes of length, a header of that length, data. Odd: the file itself.
void safetensors(Bytes bytes) {
  Input input(bytes);
  if (input.number<std::uint8_t>() % 2 == 0) {
    const auto length = input.number<std::uint16_t>();
    const Bytes header = input.take(length);
    const MemoryFile file(container(header, input.rest()));
    may_refuse([&] { look_at(runtime::SafetensorsFile(file.path())); });
  } else {
    const MemoryFile file(input.rest());
    may_refuse([&] { look_at(runtime::SafetensorsFile(file.path())); });
  }
}

/// model.safetensors.index.json, beside shards a and b of a tensor each.
void safetensors_index(Bytes bytes) {
  const auto file = folder_of_shards() / "model.safetensors.index.json";
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  may_refuse([&] {
    const auto set = runtime::TensorSet::open_directory(folder_of_shards());
    for (const std::string& name : set->names()) require(!set->at(name).data.empty(), "no data");
  });
}

/// First byte: whether the block is read. Then two bytes of length, a header of that length, to be
/// found with its checksum right, and what follows it.
void packed_file(Bytes bytes) {
  Input input(bytes);
  const bool whole = input.number<std::uint8_t>() % 2 == 0;
  const auto length = input.number<std::uint16_t>();
  const Bytes header = input.take(length);
  std::vector<std::byte> file;
  for (const char letter : {'S', 'Y', 'P', 'E'}) file.push_back(static_cast<std::byte>(letter));
  for (const std::uint32_t word :
       {static_cast<std::uint32_t>(header.size()), comm::crc32c(header)}) {
    for (unsigned i = 0; i < 4; ++i) file.push_back(static_cast<std::byte>(word >> (8 * i)));
  }
  file.insert(file.end(), header.begin(), header.end());
  file.resize((file.size() + 4095) / 4096 * 4096);
  const Bytes block = input.rest();
  file.insert(file.end(), block.begin(), block.end());
  const MemoryFile packed(file);
  may_refuse([&] {
    const runtime::PackedLabel label{.key = std::string(64, '0'),
                                     .bytes = static_cast<std::int64_t>(block.size())};
    const auto mapped = runtime::open_packed(packed.path(), label, whole);
    require(mapped.has_value(), "no file");
    if (!block.empty()) {
      require(std::memcmp(mapped->data(), block.data(), block.size()) == 0, "another block");
    }
  });
}
}  // namespace switchyard::fuzz
