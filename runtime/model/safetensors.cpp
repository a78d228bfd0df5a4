// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <fcntl.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "runtime/model/checked_json.hpp"
#include "runtime/model/safetensors_header.hpp"
#include "runtime/report/digest.hpp"

namespace switchyard::runtime {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are used in place");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

/// Bytes of one element; 0 for a type that we do not know.
std::int64_t dtype_bytes(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "F8_E4M3" || dtype == "F8_E5M2" || dtype == "I8" || dtype == "U8") return 1;
  return dtype == "BOOL" ? 1 : 0;
}

std::span<const std::byte> map_file(const std::string& name, std::string& changed) {
  // O_NONBLOCK: opening a pipe would wait for its writer.
  const Descriptor file{::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.value < 0) throw std::system_error(errno, std::generic_category(), name);
  struct stat status {};
  if (::fstat(file.value, &status) != 0) {
    throw std::system_error(errno, std::generic_category(), name);
  }
  if (!S_ISREG(status.st_mode)) {
    throw std::invalid_argument(name + ": " +
                                (S_ISDIR(status.st_mode) ? "a directory" : "not a regular file") +
                                ", want a regular file");
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < kLengthBytes) {
    throw std::invalid_argument(name + ": file in bytes, got " + std::to_string(size) +
                                ", want at least 8, the length of the header");
  }
  changed = std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (address == MAP_FAILED) {
    throw std::system_error(errno, std::generic_category(), name + ": mmap");
  }
  return {static_cast<const std::byte*>(address), size};
}

/// Checks an entry against its own type and shape, and against the bytes that there are.
void check_entry(const TensorEntry& entry, std::int64_t data_bytes, const std::string& file) {
  const std::string where = file + ": tensor " + shown(entry.name) + ": ";
  std::int64_t bytes = dtype_bytes(entry.dtype);
  if (bytes == 0) {
    throw std::invalid_argument(where + "dtype, got '" + shown(entry.dtype) +
                                "', want F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, "
                                "U64, U32, U16, U8 or BOOL");
  }
  for (const std::int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) {
      throw std::invalid_argument(where + "shape, got more than 2^63 bytes, want what fits a file");
    }
  }
  if (entry.begin > entry.end || entry.end > data_bytes) {
    throw std::invalid_argument(where + "data_offsets, got " + std::to_string(entry.begin) +
                                " to " + std::to_string(entry.end) +
                                ", want a rising pair from 0 to " + std::to_string(data_bytes));
  }
  if (entry.end - entry.begin != bytes) {
    throw std::invalid_argument(where + "data in bytes, got " +
                                std::to_string(entry.end - entry.begin) + ", want " +
                                std::to_string(bytes) + " by dtype and shape");
  }
}

/// Checks that tensors, by their place, fill the data from the first byte to the last.
void check_cover(const std::vector<const TensorEntry*>& by_place, std::int64_t data_bytes,
                 const std::string& file) {
  std::int64_t covered = 0;
  std::string before = "the header";
  for (const TensorEntry* entry : by_place) {
    if (entry->begin != covered) {
      const bool overlap = entry->begin < covered;
      throw std::invalid_argument(file + ": tensor " + shown(entry->name) + ": begins at byte " +
                                  std::to_string(entry->begin) + ", want " +
                                  std::to_string(covered) +
                                  (overlap ? " (it overlaps " : " (a gap after ") + before + ")");
    }
    covered = entry->end;
    before = "tensor " + shown(entry->name);
  }
  if (covered != data_bytes) {
    throw std::invalid_argument(file + ": data in bytes, got " + std::to_string(data_bytes) +
                                ", want " + std::to_string(covered) + ", the end of " + before);
  }
}
}  // namespace

std::int64_t Tensor::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : shape) product *= extent;
  return product;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& file)
    : name_(file.string()), bytes_(map_file(name_, changed_)) {
  try {
    read_header();
  } catch (...) {  // the destructor does not run for what was never made
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() {
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void SafetensorsFile::read_header() {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= std::to_integer<std::uint64_t>(bytes_[i]) << (8 * i);
  }
  const std::uint64_t most = std::min<std::uint64_t>(bytes_.size() - kLengthBytes, kMaxHeaderBytes);
  if (length < 2 || length > most) {
    throw std::invalid_argument(name_ + ": header in bytes, got " + std::to_string(length) +
                                ", want 2 to " + std::to_string(most));
  }
  const auto text = bytes_.subspan(kLengthBytes, length);
  const auto data = bytes_.subspan(kLengthBytes + length);
  const auto data_bytes = static_cast<std::int64_t>(data.size());

  SafetensorsHeader header =
      parse_safetensors_header({reinterpret_cast<const char*>(text.data()), text.size()}, name_);
  fingerprint_ = sha256(std::string(reinterpret_cast<const char*>(text.data()), text.size()) +
                        std::to_string(bytes_.size()) + " bytes, changed " + changed_);
  std::vector<const TensorEntry*> by_place;
  for (const TensorEntry& entry : header.entries) {
    check_entry(entry, data_bytes, name_);
    by_place.push_back(&entry);
  }
  std::ranges::sort(by_place, [](const TensorEntry* a, const TensorEntry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  check_cover(by_place, data_bytes, name_);

  for (TensorEntry& entry : header.entries) {
    const auto first = static_cast<std::size_t>(entry.begin);
    const auto size = static_cast<std::size_t>(entry.end - entry.begin);
    tensors_.emplace(std::move(entry.name), Tensor{.dtype = std::move(entry.dtype),
                                                   .shape = std::move(entry.shape),
                                                   .data = data.subspan(first, size),
                                                   .file = name_,
                                                   .origin = &fingerprint_});
  }
  metadata_ = std::move(header.metadata);
}
}  // namespace switchyard::runtime
