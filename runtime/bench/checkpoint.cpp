// SPDX-License-Identifier: Apache-2.0
#include "runtime/bench/checkpoint.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <unistd.h>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "experts/kernels/aligned.hpp"
#include "experts/synthetic.hpp"
#include "runtime/checkpoint/store.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime::bench {
namespace {
constexpr std::int64_t kMiB = 1 << 20;
constexpr std::int64_t kTensorMiB = 8;  ///< as experts are: some MiB each

/// What is read next comes from the disk.
void drop_pages(const std::string& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  ::close(descriptor);
}

/// One size: this rank's tensors, and everything that is timed on them.
class Row {
 public:
  Row(comm::Group& group, const CheckpointSettings& settings, std::int64_t mib)
      : group_(group),
        settings_(settings),
        mib_(mib),
        bytes_(static_cast<std::size_t>(mib * kMiB)),
        data_(bytes_),
        back_(bytes_),
        copy_(bytes_),
        folder_(settings.directory + "/bench-checkpoint"),
        beside_(settings.directory + "/bench-checkpoint-beside-" + std::to_string(group.rank())),
        files_(posix_file_system()) {
    experts::fill_uniform(1, 0, group.rank(), experts::Stream::kMatrix, 0, 1.0F,
                          {data_.as<float>(), bytes_ / sizeof(float)});
    std::memset(back_.as<char>(), 0, bytes_);
    std::memset(copy_.as<char>(), 0, bytes_);
    for (std::int64_t at = 0; at < mib; at += kTensorMiB)
      add_piece(at, std::min(mib, at + kTensorMiB));
    together(group_, [&] {
      if (group_.rank() == 0) std::filesystem::remove_all(folder_);
    });
    StoreOptions options;
    options.run_id = "bench-checkpoint";
    store_ = std::make_unique<CheckpointStore>(group_, *files_, folder_, options);
  }
  ~Row() {
    store_.reset();
    std::error_code ignored;
    std::filesystem::remove(beside_, ignored);
    if (group_.rank() == 0) std::filesystem::remove_all(folder_, ignored);
  }
  Row(const Row&) = delete;
  Row& operator=(const Row&) = delete;

  CheckpointResult measure() {
    static_cast<void>(save());  // checked before anything is timed
    static_cast<void>(load());
    std::array<Candidate, 6> candidates{
        Candidate{.name = "save", .run = [this] { return save(); }},
        Candidate{.name = "beside write",
                  .run = [this] { return write_beside(); },
                  .prepare = [this](std::int64_t) { std::filesystem::remove(beside_); }},
        Candidate{.name = "load",
                  .run = [this] { return load(); },
                  .prepare = [this](std::int64_t) { drop_saved(); }},
        Candidate{.name = "beside read",
                  .run = [this] { return read_beside(); },
                  .prepare = [this](std::int64_t) { drop_pages(beside_); }},
        Candidate{.name = "pause", .run = [this] { return pause(); }},
        Candidate{.name = "memcpy", .run = [this] { return copy(); }}};
    together(group_, [&] { settings_.write_beside(beside_, mib_); });  // something to read
    alternate(group_, candidates, settings_.budget);
    CheckpointResult result;
    result.mib_per_rank = mib_;
    result.repetitions = static_cast<std::int64_t>(candidates[0].seconds.size());
    result.save_s = summary(candidates[0].seconds);
    result.beside_write_s = summary(candidates[1].seconds);
    result.load_s = summary(candidates[2].seconds);
    result.beside_read_s = summary(candidates[3].seconds);
    result.pause_s = summary(candidates[4].seconds);
    result.memcpy_s = summary(candidates[5].seconds);
    result.save_ratio = median_ratio(candidates[1].seconds, candidates[0].seconds);
    result.load_ratio = median_ratio(candidates[3].seconds, candidates[2].seconds);
    result.pause_ratio = median_ratio(candidates[4].seconds, candidates[5].seconds);
    result.wrong = static_cast<std::int64_t>(sum_over_ranks(group_, static_cast<double>(wrong_)));
    return result;
  }

 private:
  void add_piece(std::int64_t first_mib, std::int64_t end_mib) {
    TensorInfo tensor{
        .name = "rank." + std::to_string(group_.rank()) + "." + std::to_string(first_mib),
        .shape = {end_mib - first_mib, kMiB / std::int64_t{sizeof(float)}}};
    const std::span<const std::byte> all(data_.as<std::byte>(), bytes_);
    const auto first = static_cast<std::size_t>(first_mib * kMiB);
    const auto count = static_cast<std::size_t>((end_mib - first_mib) * kMiB);
    const Rectangle whole = Rectangle::whole(tensor);
    pieces_.push_back({std::move(tensor), whole, all.subspan(first, count)});
  }

  CheckpointInfo next() {
    CheckpointInfo info;
    info.step = ++step_;
    info.run_id = "bench-checkpoint";
    return info;
  }
  void require(const std::optional<SaveResult>& result) const {
    if (result && result->saved) return;
    throw comm::CollectiveError(0, kIo, result ? result->problem : "bench checkpoint: no save");
  }

  double save() {
    const Stopwatch watch;
    const SaveResult result = store_->save(next(), pieces_);
    const double seconds = watch.seconds();
    store_->tidy();  // dd has no older file to remove either
    require(result);
    return seconds;
  }
  double pause() {
    const Stopwatch watch;
    store_->begin(next(), pieces_);
    const double seconds = watch.seconds();
    require(store_->finish());
    store_->tidy();
    return seconds;
  }
  double load() {
    const Stopwatch watch;
    StoredCheckpoint stored(*files_, folder_, step_);
    std::byte* to = back_.as<std::byte>();
    for (const SavedPiece& piece : pieces_) {
      stored.read(piece.tensor.name, {to, piece.bytes.size()});
      to += piece.bytes.size();
    }
    const double seconds = watch.seconds();
    if (std::memcmp(back_.as<char>(), data_.as<char>(), bytes_) != 0) {
      for (std::size_t i = 0; i < bytes_; ++i) {
        wrong_ += back_.as<char>()[i] != data_.as<char>()[i] ? 1 : 0;
      }
    }
    std::memset(back_.as<char>(), 0, bytes_);
    return seconds;
  }
  double copy() {
    const Stopwatch watch;
    std::memcpy(copy_.as<char>(), data_.as<char>(), bytes_);
    return watch.seconds();
  }
  double write_beside() {
    const Stopwatch watch;
    settings_.write_beside(beside_, mib_);
    return watch.seconds();
  }
  double read_beside() {
    const Stopwatch watch;
    settings_.read_beside(beside_);
    return watch.seconds();
  }
  void drop_saved() {
    drop_pages(folder_ + "/" + step_name(step_) + "/" + shard_name(group_.rank(), group_.size()));
  }

  comm::Group& group_;
  const CheckpointSettings& settings_;
  std::int64_t mib_;
  std::size_t bytes_;
  experts::AlignedBuffer data_;
  experts::AlignedBuffer back_;
  experts::AlignedBuffer copy_;
  std::string folder_;
  std::string beside_;
  std::unique_ptr<FileSystem> files_;
  std::vector<SavedPiece> pieces_;
  std::unique_ptr<CheckpointStore> store_;
  std::int64_t step_ = 0;
  std::int64_t wrong_ = 0;
};
}  // namespace

CheckpointReport bench_checkpoint(comm::Group& group, const CheckpointSettings& settings) {
  CheckpointReport report;
  Steadiness steadiness;
  for (const std::int64_t mib : settings.mib_per_rank) {
    steadiness.probe();
    Row row(group, settings, mib);
    report.results.push_back(row.measure());
    steadiness.probe();
    comm::barrier(group);
  }
  report.steadiness = steadiness.result(group);
  return report;
}
}  // namespace switchyard::runtime::bench
