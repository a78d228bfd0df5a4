// SPDX-License-Identifier: Apache-2.0
// Owns pack_cache.proto: the only place that sees its generated code.
#include "runtime/packing/packed_file.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "comm/base/crc32c.hpp"
#include "experts/ffn.hpp"
#include "runtime/packing/pack_cache.pb.h"
#include "runtime/report/whole_file.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::string_view kMagic = "SYPE";
constexpr std::size_t kPrefix = 12;  // magic, length and checksum of the header
constexpr std::size_t kPage = 4096;  // blocks begin on one
constexpr std::size_t kPiece = 65536;

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what) {
  throw std::invalid_argument(file.string() + ": " + what);
}

template <class T>
void require_equal(const std::filesystem::path& file, const char* what, const T& got,
                   const T& want) {
  if (got == want) return;
  if constexpr (std::is_convertible_v<T, std::string>) {
    refuse(file, std::string(what) + " " + got + ", want " + want);
  } else {
    refuse(file, std::string(what) + " " + std::to_string(got) + ", want " + std::to_string(want));
  }
}

std::uint32_t word_at(std::span<const std::byte> bytes, std::size_t at) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < sizeof word; ++i) {
    word |= std::to_integer<std::uint32_t>(bytes[at + i]) << (8 * i);
  }
  return word;
}

std::size_t block_begin(std::size_t header_bytes) {
  return (kPrefix + header_bytes + kPage - 1) / kPage * kPage;
}

/// Empty: there is no such file.
std::optional<MappedBlock> map(const std::filesystem::path& file) {
  const auto fail = [&](int error) {
    throw std::system_error(error, std::generic_category(),
                            "--pack-cache: cannot read " + file.string());
  };
  // O_NONBLOCK: opening a pipe would wait for its writer.
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0 && errno == ENOENT) return std::nullopt;
  if (descriptor < 0) fail(errno);
  struct stat status {};
  int error = ::fstat(descriptor, &status) == 0 ? 0 : errno;
  if (error == 0 && !S_ISREG(status.st_mode)) error = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
  const auto size = static_cast<std::size_t>(error == 0 ? status.st_size : 0);
  void* address = nullptr;
  if (size > 0) address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) error = errno;
  ::close(descriptor);
  if (error != 0) fail(error);
  return MappedBlock({static_cast<const std::byte*>(address), size});
}

packing::v1::Header read_header(const std::filesystem::path& file,
                                std::span<const std::byte> bytes) {
  if (bytes.size() < kPrefix || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    refuse(file, "no packed expert");
  }
  const std::size_t length = word_at(bytes, 4);
  const auto rest = bytes.subspan(kPrefix);
  if (length > rest.size() || length > std::size_t{std::numeric_limits<int>::max()}) {
    refuse(file, "cut short in its header");
  }
  const auto header = rest.first(length);
  if (comm::crc32c(header) != word_at(bytes, 8)) refuse(file, "its header has another checksum");
  packing::v1::Header message;
  if (!message.ParseFromArray(header.data(), static_cast<int>(length))) {
    refuse(file, "no protobuf for a header");
  }
  return message;
}

std::string raw(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

void check_pieces(const std::filesystem::path& file, const packing::v1::Header& header,
                  std::span<const std::byte> block) {
  const auto sums = comm::crc32c_of_pieces(block, header.piece_bytes());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (sums[i] == header.crc32c(static_cast<int>(i))) continue;
    refuse(file, "bytes " + std::to_string(i * header.piece_bytes()) +
                     " and following of its block have another checksum");
  }
}
}  // namespace

MappedBlock::MappedBlock(MappedBlock&& other) noexcept
    : file_(std::exchange(other.file_, {})), first_(other.first_) {}

MappedBlock& MappedBlock::operator=(MappedBlock&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(first_, other.first_);
  return *this;
}

MappedBlock::~MappedBlock() {
  if (!file_.empty()) ::munmap(const_cast<std::byte*>(file_.data()), file_.size());
}

std::optional<MappedBlock> open_packed(const std::filesystem::path& file, const PackedLabel& label,
                                       bool whole) {
  std::optional<MappedBlock> mapped = map(file);
  if (!mapped) return std::nullopt;
  const auto bytes = mapped->file();
  const packing::v1::Header header = read_header(file, bytes);
  require_equal(file, "file version", header.version(), kPackedFileVersion);
  require_equal(file, "layout version", header.layout(), experts::PackedExpert::kLayoutVersion);
  require_equal(file, "stored type", header.stored(), std::string(name_of(label.stored)));
  if (header.key() != raw(label.key)) refuse(file, "of other weights");
  require_equal<std::uint64_t>(file, "bytes of its block", header.block_bytes(),
                               static_cast<std::uint64_t>(label.bytes));
  const std::size_t first = block_begin(word_at(bytes, 4));
  const auto size = static_cast<std::size_t>(label.bytes);
  require_equal<std::uint64_t>(file, "length", bytes.size(), first + size);
  const std::size_t piece = header.piece_bytes();
  if (piece == 0) refuse(file, "pieces of 0 bytes");
  require_equal<std::uint64_t>(file, "checksums", static_cast<std::uint64_t>(header.crc32c_size()),
                               (size + piece - 1) / piece);
  if (whole) check_pieces(file, header, bytes.subspan(first));
  mapped->first_ = first;
  return mapped;
}

void write_packed(const std::filesystem::path& file, const PackedLabel& label,
                  std::span<const std::byte> block) {
  packing::v1::Header header;
  header.set_version(kPackedFileVersion);
  header.set_layout(experts::PackedExpert::kLayoutVersion);
  header.set_stored(std::string(name_of(label.stored)));
  header.set_key(raw(label.key));
  header.set_block_bytes(block.size());
  header.set_piece_bytes(kPiece);
  for (const std::uint32_t sum : comm::crc32c_of_pieces(block, kPiece)) header.add_crc32c(sum);
  const std::string text = header.SerializeAsString();

  std::string front(kMagic);
  const auto add = [&front](std::size_t word) {
    for (unsigned i = 0; i < 4; ++i) front += static_cast<char>((word >> (8 * i)) & 0xFFU);
  };
  add(text.size());
  add(comm::crc32c(std::as_bytes(std::span(text))));
  front += text;
  front.resize(block_begin(text.size()), '\0');
  WholeFile whole("--pack-cache", file.string());
  whole.write(std::as_bytes(std::span(front)));
  whole.write(block);
  whole.commit();
}
}  // namespace switchyard::runtime
