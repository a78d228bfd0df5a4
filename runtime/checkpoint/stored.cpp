// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/stored.hpp"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "runtime/checkpoint/block_reader.hpp"
#include "runtime/checkpoint/convert.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/opening.hpp"

namespace switchyard::runtime {
namespace {
/// A piece, and which shard it is in.
struct Place {
  std::size_t shard = 0;
  const PieceInfo* piece = nullptr;
};

void check_wanted(const TensorInfo& tensor, const Rectangle& where, DataType as,
                  std::span<const std::byte> to) {
  const std::string named = "checkpoint: tensor " + tensor.name;
  bool inside =
      where.offset.size() == tensor.shape.size() && where.extent.size() == tensor.shape.size();
  for (std::size_t d = 0; inside && d < tensor.shape.size(); ++d) {
    inside = where.offset[d] >= 0 && where.extent[d] >= 0 &&
             where.extent[d] <= tensor.shape[d] - where.offset[d];
  }
  if (!inside) throw std::invalid_argument(named + ": a part outside of it is wanted");
  if (!can_convert(tensor.type, as)) {
    throw std::invalid_argument(named + ": is " + std::string(name_of(tensor.type)) +
                                ", which does not become " + std::string(name_of(as)));
  }
  const std::int64_t want = where.elements() * bytes_of(as);
  if (static_cast<std::int64_t>(to.size()) == want) return;
  throw std::invalid_argument(named + ": room for " + std::to_string(to.size()) + " bytes, want " +
                              std::to_string(want));
}
}  // namespace

class StoredCheckpoint::State {
 public:
  State(FileSystem& files, const std::string& directory, std::int64_t step, int rank, int ranks)
      : manifest_(read_step(files, directory, step, rank, ranks)),
        reader_(files, directory + "/" + step_name(step), manifest_),
        places_(manifest_.tensors.size()) {
    for (std::size_t s = 0; s < manifest_.shards.size(); ++s) {
      for (const PieceInfo& piece : manifest_.shards[s].pieces) {
        places_[piece.tensor].push_back({s, &piece});
      }
    }
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  [[nodiscard]] std::int64_t bytes_read() const { return reader_.bytes_read(); }
  [[nodiscard]] const TensorInfo* find(const std::string& name) const {
    const auto found = std::ranges::lower_bound(manifest_.tensors, name, {}, &TensorInfo::name);
    return found != manifest_.tensors.end() && found->name == name ? &*found : nullptr;
  }

  void read(const TensorInfo& tensor, const Rectangle& where, DataType as,
            std::span<std::byte> to) {
    check_wanted(tensor, where, as, to);
    const auto number = static_cast<std::size_t>(&tensor - manifest_.tensors.data());
    for (const Place& place : places_[number]) {
      first_ = count_ = 0;
      for_each_run(place.piece->where, where,
                   [&](std::int64_t in_piece, std::int64_t in_wanted, std::int64_t elements) {
                     copy_run(place, {in_piece, elements}, tensor.type, as,
                              to.subspan(static_cast<std::size_t>(in_wanted * bytes_of(as)),
                                         static_cast<std::size_t>(elements * bytes_of(as))));
                   });
    }
  }

 private:
  struct Run {
    std::int64_t first = 0;  ///< in elements of the piece
    std::int64_t elements = 0;
  };

  void copy_run(const Place& place, const Run& run, DataType type, DataType as,
                std::span<std::byte> to) {
    std::int64_t at = run.first * bytes_of(type);
    const std::int64_t end = at + run.elements * bytes_of(type);
    while (at < end) {
      if (type == as && at % kCheckpointBlock == 0) {
        const std::int64_t direct = read_directly(place, at, end, to);
        at += direct;
        to = to.subspan(static_cast<std::size_t>(direct));
        if (direct > 0) continue;
      }
      const std::int64_t block = at / kCheckpointBlock;
      if (block < first_ || block >= first_ + count_) load(place, block, end);
      const std::int64_t held = std::min(end, (first_ + count_) * kCheckpointBlock);
      const auto part = std::span<const std::byte>(held_).subspan(
          static_cast<std::size_t>(at - first_ * kCheckpointBlock),
          static_cast<std::size_t>(held - at));
      const auto results = part.size() / static_cast<std::size_t>(bytes_of(type)) *
                           static_cast<std::size_t>(bytes_of(as));
      convert(type, part, as, to.first(results));
      to = to.subspan(results);
      at = held;
    }
  }

  /// Whole blocks straight to where they belong. @return bytes, 0 if there is no whole block
  std::int64_t read_directly(const Place& place, std::int64_t at, std::int64_t end,
                             std::span<std::byte> to) {
    std::int64_t blocks = (end - at) / kCheckpointBlock;
    // The last one, where nothing fills it up.
    if (end == place.piece->bytes && filled_bytes(end) == end) blocks = blocks_of(end - at);
    blocks = std::min(blocks, kReadBytes / kCheckpointBlock);
    if (blocks == 0) return 0;
    const std::int64_t bytes =
        BlockReader::bytes_of_blocks(*place.piece, at / kCheckpointBlock, blocks);
    reader_.read_blocks(place.shard, *place.piece, at / kCheckpointBlock, blocks,
                        to.first(static_cast<std::size_t>(bytes)));
    return bytes;
  }

  /// Blocks from `block` on into held_, as far as this run goes.
  void load(const Place& place, std::int64_t block, std::int64_t end) {
    held_.resize(static_cast<std::size_t>(kReadBytes));
    count_ = 0;
    const std::int64_t count = std::min(blocks_of(end) - block, kReadBytes / kCheckpointBlock);
    reader_.read_blocks(place.shard, *place.piece, block, count, held_);
    first_ = block;
    count_ = count;
  }

  Manifest manifest_;
  BlockReader reader_;
  std::vector<std::vector<Place>> places_;  ///< by tensor
  std::vector<std::byte> held_;             ///< blocks [first_, first_ + count_) of a piece
  std::int64_t first_ = 0;
  std::int64_t count_ = 0;
};

StoredCheckpoint::StoredCheckpoint(FileSystem& files, const std::string& directory,
                                   std::int64_t step, int rank, int ranks)
    : state_(std::make_unique<State>(files, directory, step, rank, ranks)) {}
StoredCheckpoint::StoredCheckpoint(StoredCheckpoint&&) noexcept = default;
StoredCheckpoint& StoredCheckpoint::operator=(StoredCheckpoint&&) noexcept = default;
StoredCheckpoint::~StoredCheckpoint() = default;

const Manifest& StoredCheckpoint::manifest() const {
  return state_->manifest();
}
const TensorInfo* StoredCheckpoint::find(const std::string& name) const {
  return state_->find(name);
}
const TensorInfo& StoredCheckpoint::at(const std::string& name) const {
  const TensorInfo* const tensor = find(name);
  if (tensor != nullptr) return *tensor;
  throw std::invalid_argument("step " + std::to_string(info().step) + ": tensor " + name +
                              ": missing");
}
void StoredCheckpoint::read(const std::string& name, const Rectangle& where, DataType as,
                            std::span<std::byte> to) {
  state_->read(at(name), where, as, to);
}
void StoredCheckpoint::read(const std::string& name, std::span<std::byte> to) {
  const TensorInfo& tensor = at(name);
  state_->read(tensor, Rectangle::whole(tensor), tensor.type, to);
}
std::int64_t StoredCheckpoint::bytes_read() const {
  return state_->bytes_read();
}

std::vector<std::int64_t> saved_steps(FileSystem& files, const std::string& directory) {
  std::vector<std::int64_t> steps;
  if (!exists(files, directory)) return steps;
  for (const std::string& name : list_folder(files, directory)) {
    constexpr std::size_t kPrefix = 5;  // "step-"
    std::int64_t step = -1;
    if (name.size() <= kPrefix) continue;
    std::from_chars(name.data() + kPrefix, name.data() + name.size(), step);
    if (step >= 0 && name == step_name(step)) steps.push_back(step);
  }
  std::ranges::sort(steps, std::greater<>());
  return steps;
}
}  // namespace switchyard::runtime
