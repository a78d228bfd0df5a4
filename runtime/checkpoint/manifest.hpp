// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a checkpoint says of itself: whose it is, which tensors it has, and where their bytes lie.
/// checkpoint.proto specifies the bytes.
#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

/// Of checkpoints: the one written, and the newest that can be read.
inline constexpr std::uint32_t kCheckpointVersion = 1;
inline constexpr std::int64_t kCheckpointBlock = std::int64_t{1}
                                                 << 20;  ///< bytes under one checksum
inline constexpr std::int64_t kCheckpointAlignment = 64;

/// A checkpoint, or a file of one, that is damaged, cut short, of another step or not one at all:
/// "step 1200: shard-00003-of-00008.sy: tensor T: block 17, at byte 17829888: checksum 1a2b3c4d,
/// want 5e6f7081". An older one may be good.
class DamagedCheckpoint : public std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// As in checkpoint.proto, by number.
enum class DataType {
  kFloat32 = 1,
  kBfloat16 = 2,
  kFloat16 = 3,
  kInt64 = 4,
  kUint8 = 5,
  kInt8 = 6,
  kFp8 = 7,
  kInt32 = 8
};
[[nodiscard]] std::int64_t bytes_of(DataType type);  ///< of one element
[[nodiscard]] std::string_view name_of(DataType type);

struct TensorInfo {
  std::string name = {};  ///< by layer and logical expert: "layer.3.expert.17.gate"
  DataType type = DataType::kFloat32;
  std::vector<std::int64_t> shape = {};
  std::int64_t layer = -1;   ///< -1: of none
  std::int64_t expert = -1;  ///< logical id; -1: of none
  [[nodiscard]] std::int64_t elements() const;
  [[nodiscard]] std::int64_t bytes() const { return elements() * bytes_of(type); }
  bool operator==(const TensorInfo&) const = default;
};

/// A part of a tensor, in elements.
struct Rectangle {
  std::vector<std::int64_t> offset;
  std::vector<std::int64_t> extent;
  [[nodiscard]] static Rectangle whole(const TensorInfo& tensor);
  [[nodiscard]] std::int64_t elements() const;
  bool operator==(const Rectangle&) const = default;
};

/// Where a part of a tensor lies in its file.
struct PieceInfo {
  std::size_t tensor = 0;  ///< which of the table beside it
  Rectangle where;
  std::int64_t file_offset = 0;
  std::int64_t bytes = 0;
  std::vector<std::uint32_t> block_crc32c;  ///< of each kCheckpointBlock, filling included
  bool operator==(const PieceInfo&) const = default;
};

struct ShardInfo {
  std::string file;
  std::int64_t size = 0;
  std::int64_t index_bytes = 0;
  std::uint32_t header_crc32c = 0;
  std::uint32_t index_crc32c = 0;
  std::vector<PieceInfo> pieces;
};

/// What the program needs to go on, tensors apart.
struct CheckpointInfo {
  std::int64_t step = 0;          ///< steps done
  std::string run_id;             ///< at most 64 bytes; the same over all restarts of a run
  std::uint64_t incarnation = 0;  ///< which start of the run wrote it; the store sets it
  int writer_world = 0;           ///< ranks that wrote it; the store sets it
  std::string program_version;
  std::string model_name;
  std::string model_text;    ///< canonical (Model::text()): everything that shapes a tensor
  std::string model_sha256;  ///< 64 hex digits, of model_text; the store sets it
  std::uint64_t seed = 0;
  std::map<std::string, std::uint64_t> counters;  ///< how far each random generator has come
  std::uint64_t placement_epoch = 0;
  std::vector<std::vector<std::int32_t>> experts_of;  ///< by rank of the writer; may be empty
  /// The same of layers, by number, where experts live otherwise than in experts_of.
  std::map<std::int64_t, std::vector<std::vector<std::int32_t>>> experts_in;
  std::map<std::int64_t, std::vector<std::uint64_t>> load;  ///< layer -> rows, by logical expert
  std::map<std::string, std::string> labels;                ///< whatever else, as text
};

struct Manifest {
  std::uint32_t format_version = kCheckpointVersion;
  std::uint32_t min_reader_version = kCheckpointVersion;
  CheckpointInfo info;
  std::vector<TensorInfo> tensors;  ///< by rising name
  std::vector<ShardInfo> shards;    ///< pieces count tensors in the table above
  std::string content_sha256;       ///< 64 hex digits; see content_of()
  /// Fields of a later version, of the manifest and of tensors by name; opaque, kept for encode().
  std::string carried;
  std::map<std::string, std::string> carried_of;
};

/// SHA-256 over what the tensors hold: names, types, shapes, pieces and their checksums, whichever
/// shards they lie in. 64 hex digits.
[[nodiscard]] std::string content_of(const Manifest& manifest);

/// The file MANIFEST. @throws std::invalid_argument  it would be too large for its own reader
[[nodiscard]] std::string encode(const Manifest& manifest);
/// Checks everything that can be checked without the shards: versions, limits, names, types,
/// shapes, that pieces cover each tensor exactly and lie one behind the other in files of the right
/// size.
/// @param where  begins every message
/// @throws DamagedCheckpoint      what is wrong with it
/// @throws std::invalid_argument  it needs a newer reader: "written by version 3, for readers from
///                                version 2; this one is version 1"
[[nodiscard]] Manifest decode_manifest(std::span<const std::byte> file, const std::string& where);

/// The same checks on a manifest in memory, before it is written.
void check_manifest(const Manifest& manifest, const std::string& where);
/// Of one tensor or piece alone. @throws DamagedCheckpoint
void check_tensor(const TensorInfo& tensor, const std::string& where);
void check_piece(const PieceInfo& piece, const TensorInfo& tensor, const std::string& where);
/// Bytes in the file, with what fills it up; and the checksums that these have.
[[nodiscard]] std::int64_t filled_bytes(std::int64_t bytes);
[[nodiscard]] std::int64_t blocks_of(std::int64_t bytes);

/// "shard-00003-of-00008.sy"
[[nodiscard]] std::string shard_name(int shard, int shards);
/// "step-000000001200"
[[nodiscard]] std::string step_name(std::int64_t step);
}  // namespace switchyard::runtime
