// SPDX-License-Identifier: Apache-2.0
/// @file
/// F4: damages a saved step in one place and asks what is wrong with it. Each time the file must be
/// named, and the tensor and block if it was data; and no reader may take it for good.
#include <algorithm>

#include "comm/group/local_group.hpp"
#include "runtime/checkpoint/shard.hpp"
#include "runtime/checkpoint/verify.hpp"
#include "tests/faults/campaign.hpp"
#include "tests/faults/memory_files.hpp"
#include "tests/runtime/store_state.hpp"

namespace {
using namespace switchyard;
using namespace switchyard::faults;
using store_tests::State;

const std::string kFolder = "/ckpt";
constexpr std::int64_t kStep = 2;
constexpr std::int64_t kWidth = 14'000;  // experts of several blocks
constexpr std::int64_t kTail = 600;      // of a shard: its index and trailer

State state_of(std::int64_t step) {
  return State(step, kWidth);
}

enum class Kind { kFlip, kBurst, kZero, kSwap, kTruncate, kAppend, kForeign, kMissing };
constexpr const char* kKinds[] = {"flipped bit",     "burst",     "zeroed sector",
                                  "swapped sectors", "truncated", "appended to",
                                  "of another step", "missing"};

/// Where the first changed byte belongs.
struct Expected {
  std::string part;
  std::string tensor = {};
  std::int64_t block = -1;
};

Expected expected_at(const runtime::Manifest& manifest, const std::string& file, std::int64_t at) {
  if (file == "MANIFEST") return {.part = "manifest"};
  const auto shard = std::ranges::find(manifest.shards, file, &runtime::ShardInfo::file);
  if (at < runtime::kShardHeaderBytes) return {.part = "header"};
  if (at >= shard->size - runtime::kShardTrailerBytes) return {.part = "trailer"};
  for (const runtime::PieceInfo& piece : shard->pieces) {
    if (at >= piece.file_offset + runtime::filled_bytes(piece.bytes)) continue;
    return {.part = "data",
            .tensor = manifest.tensors[piece.tensor].name,
            .block = (at - piece.file_offset) / runtime::kCheckpointBlock};
  }
  return {.part = "index"};
}

/// One file, damaged, and how it was.
class Damage {
 public:
  Damage(MemoryFiles& files, std::string path) : files_(files), path_(std::move(path)) {
    bytes_ = files_.bytes_of(path_);
  }
  /// Restores the file.
  ~Damage() {
    if (missing_) {
      static_cast<void>(files_.rename(path_ + ".away", path_));
      return;
    }
    if (!whole_.empty()) *bytes_ = std::move(whole_);
    std::ranges::copy(before_, bytes_->begin() + at_);
  }
  Damage(const Damage&) = delete;
  Damage& operator=(const Damage&) = delete;

  /// @return  the first byte that is another one now; -1: none is
  std::int64_t inflict(Kind kind, const std::string& other_path, Random& random) {
    const auto size = static_cast<std::int64_t>(bytes_->size());
    at_ = draw(random, 0, size - 1);
    // Half of them where there are few bytes: header, trailer, index.
    const std::int64_t tail = std::min(size, kTail);
    switch (draw(random, 0, 7)) {
      case 0:
        at_ = draw(random, 0, std::min(size - 1, runtime::kShardHeaderBytes));
        break;
      case 1:
        at_ = draw(random, size - std::min(size, runtime::kShardTrailerBytes), size - 1);
        break;
      case 2:
      case 3:
        at_ = draw(random, size - tail, size - 1);
        break;
      default:
        break;
    }
    constexpr std::int64_t kSector = 512;
    switch (kind) {
      case Kind::kFlip:
        keep(1);
        (*bytes_)[index(at_)] ^= static_cast<std::byte>(1U << draw(random, 0, 7));
        break;
      case Kind::kBurst:
        keep(draw(random, 2, 64));
        for (std::size_t i = 0; i < before_.size(); ++i) {
          (*bytes_)[index(at_) + i] = static_cast<std::byte>(draw(random, 0, 255));
        }
        break;
      case Kind::kZero:
        at_ = at_ / kSector * kSector;
        keep(kSector);
        std::fill_n(bytes_->begin() + at_, before_.size(), std::byte{0});
        break;
      case Kind::kSwap: {
        const std::int64_t other = draw(random, 0, size / kSector) * kSector;
        whole_ = *bytes_;
        at_ = at_ / kSector * kSector;
        const std::int64_t count = std::min({kSector, size - at_, size - other});
        if (count > 0 && std::abs(other - at_) >= kSector) {
          std::swap_ranges(bytes_->begin() + at_, bytes_->begin() + at_ + count,
                           bytes_->begin() + other);
        }
        break;
      }
      case Kind::kTruncate:
        whole_ = *bytes_;
        bytes_->resize(index(at_));
        return at_;
      case Kind::kAppend:
        whole_ = *bytes_;
        bytes_->resize(bytes_->size() + index(draw(random, 1, 5000)), std::byte{7});
        return size;
      case Kind::kForeign:
        whole_ = *bytes_;
        *bytes_ = *files_.bytes_of(other_path);
        return 0;
      case Kind::kMissing:
        missing_ = files_.rename(path_, path_ + ".away") == 0;
        return 0;
    }
    return first_difference();
  }

 private:
  static std::size_t index(std::int64_t at) { return static_cast<std::size_t>(at); }
  void keep(std::int64_t count) {
    count = std::min(count, static_cast<std::int64_t>(bytes_->size()) - at_);
    before_.assign(bytes_->begin() + at_, bytes_->begin() + at_ + count);
  }
  [[nodiscard]] std::int64_t first_difference() const {
    const std::vector<std::byte>& was = whole_.empty() ? before_ : whole_;
    const std::int64_t from = whole_.empty() ? at_ : 0;
    for (std::size_t i = 0; i < was.size(); ++i) {
      if (was[i] != (*bytes_)[index(from) + i]) return from + static_cast<std::int64_t>(i);
    }
    return -1;
  }

  MemoryFiles& files_;
  std::string path_;
  std::vector<std::byte>* bytes_;
  std::vector<std::byte> before_;  ///< what was at at_
  std::vector<std::byte> whole_;   ///< all of it, if not empty
  std::int64_t at_ = 0;
  bool missing_ = false;
};

/// What a reader of all says; "" if it takes the step for good.
std::string read_all(MemoryFiles& files, const State& state) {
  try {
    runtime::StoredCheckpoint stored(files, kFolder, kStep);
    const std::string words = state.differences(stored);
    return words.empty() ? "" : "SILENT: " + words;
  } catch (const runtime::DamagedCheckpoint& error) {
    return error.what();
  }
}

/// What is wrong with the verdict; empty: it names the place.
std::string misplaced(const runtime::StepVerdict& verdict, const std::string& file, Kind kind,
                      const Expected& expected) {
  if (verdict.good()) return "not found";
  const bool whole_file = kind == Kind::kTruncate || kind == Kind::kAppend ||
                          kind == Kind::kForeign || kind == Kind::kMissing;
  for (const runtime::Finding& finding : verdict.findings) {
    if (finding.file != file) return "blames " + finding.file;
    if (whole_file) continue;
    if (finding.part == expected.part && finding.tensor == expected.tensor &&
        finding.block == expected.block) {
      return {};
    }
  }
  if (whole_file) return {};
  const runtime::Finding& first = verdict.findings.front();
  return "found in " + first.part + " " + first.tensor + " block " + std::to_string(first.block) +
         ", want " + expected.part + " " + expected.tensor + " block " +
         std::to_string(expected.block) + ": " + first.words;
}
}  // namespace

int main(int argc, char** argv) {
  Campaign campaign(argc, argv, 1000);
  MemoryFiles files;
  comm::run_local(2, [&](comm::Group& group) {
    runtime::CheckpointStore store(group, files, kFolder, {.run_id = "r"});
    for (std::int64_t step = 1; step <= kStep; ++step) {
      const State state = state_of(step);
      if (!store.save(state.info(), state.pieces(group)).saved) throw std::runtime_error("no save");
    }
  });
  const State state = state_of(kStep);
  const runtime::Manifest manifest = runtime::StoredCheckpoint(files, kFolder, kStep).manifest();
  std::vector<std::string> names = {"MANIFEST"};
  for (const runtime::ShardInfo& shard : manifest.shards) names.push_back(shard.file);
  std::map<std::string, std::int64_t> by_part;
  for (std::int64_t done = 0, number = 0; done < campaign.cases(); ++number) {
    Random random = campaign.random(number);
    // Whole files come seldom: there are only so many ways.
    const auto kind =
        static_cast<Kind>(draw(random, 0, 9) > 0 ? draw(random, 0, 5) : draw(random, 6, 7));
    const std::string& file = names[static_cast<std::size_t>(draw(random, 0, 8)) % names.size()];
    const std::string path = kFolder + "/" + runtime::step_name(kStep) + "/" + file;
    const std::string other = kFolder + "/" + runtime::step_name(kStep - 1) + "/" + file;
    Damage damage(files, path);
    const std::int64_t at = damage.inflict(kind, other, random);
    if (at < 0) continue;  // the same bytes as before
    ++done;
    const Expected expected = expected_at(manifest, file, at);
    ++by_part[kind < Kind::kTruncate ? expected.part : "file"];
    const std::string where = std::string(kKinds[static_cast<int>(kind)]) + ", " + file +
                              ", byte " + std::to_string(at) + ": ";
    const auto verdict = runtime::verify_checkpoint(files, kFolder, kStep);
    const std::string wrong = misplaced(verdict, file, kind, expected);
    if (!wrong.empty()) campaign.fail(number, where + wrong);
    const std::string said = read_all(files, state);
    if (said.empty())
      campaign.fail(number, where + "taken for good");
    else if (said.find(file) == std::string::npos)
      campaign.fail(number, where + said);
  }
  if (!read_all(files, state).empty()) campaign.fail(-1, "not restored: the campaign is broken");
  std::string words = std::to_string(campaign.cases()) + " corruptions";
  for (const auto& [part, count] : by_part) words += ", " + std::to_string(count) + " of " + part;
  return campaign.end(words);
}
