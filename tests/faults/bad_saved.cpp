// SPDX-License-Identifier: Apache-2.0
// Bad inputs 52 to 75: folders of saved steps. And what other tests prove.
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>

#include "runtime/checkpoint/manifest.hpp"
#include "tests/faults/bad_inputs.hpp"

namespace switchyard::tests {
namespace {
namespace fs = std::filesystem;
using runtime::Manifest;

constexpr const char* kStep = "step-000000000002";
constexpr const char* kShard = "shard-00001-of-00002.sy";

/// A stateful run of two steps, saved after the last.
std::vector<std::string> run_on(const std::string& folder, const std::string& hidden = "32") {
  return {"run",
          "--model",
          "olmoe",
          "--set",
          "hidden_size=" + hidden,
          "--set",
          "moe_intermediate_size=16",
          "--set",
          "routed_experts=6",
          "--set",
          "top_k=2",
          "--tokens",
          "16",
          "--steps",
          "2",
          "--warmup",
          "0",
          "--layers",
          "1",
          "--stateful",
          "--save-to",
          folder};
}

/// What two ranks saved, once for this process.
const std::string& saved() {
  static const std::string folder = [] {
    const std::string made = scratch("saved");
    fs::remove_all(made);
    const Outcome outcome = run({.words = mpirun(2, switchyard(run_on(made)))});
    if (outcome.status != 0) throw std::runtime_error("cannot save: " + outcome.err);
    return made;
  }();
  return folder;
}

/// A copy of it with its one step changed.
std::string changed(const std::function<void(const fs::path& step)>& change) {
  const fs::path folder = scratch("changed");
  fs::remove_all(folder);
  fs::create_directories(folder);
  fs::copy(fs::path(saved()) / kStep, folder / kStep);
  change(folder / kStep);
  return folder.string();
}

void write(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

/// A case of a run whose only step is refused, for this reason.
BadCase refused(int number, const std::string& name, const std::string& says,
                std::function<void(const fs::path& step)> change) {
  return {number, name, 2, [says, change = std::move(change)](int) {
            return BadStart{run_on(changed(change)), says};
          }};
}

/// The same of a manifest that says something else, with its checksums right.
BadCase lying(int number, const std::string& name, const std::string& says,
              const std::function<void(Manifest&)>& lie) {
  return refused(number, name, says, [lie](const fs::path& step) {
    const std::string bytes = bytes_of(step / "MANIFEST");
    Manifest manifest = runtime::decode_manifest(std::as_bytes(std::span(bytes)), "test");
    lie(manifest);
    write(step / "MANIFEST", runtime::encode(manifest));
  });
}

BadCase command(int number, const std::string& name, int status, std::function<BadStart()> start) {
  return {number, name, status, [start = std::move(start)](int) { return start(); }};
}

std::vector<BadCase> manifests() {
  const std::string skip = "skip step 2: MANIFEST: ";
  const auto resized = [](std::uintmax_t size) {
    return [size](const fs::path& step) { fs::resize_file(step / "MANIFEST", size); };
  };
  return {
      command(52, "FolderMissing", 74,
              [] {
                return BadStart{{"checkpoint", "info", "/nowhere/saved"},
                                "checkpoint: cannot read /nowhere/saved: No such file or "
                                "directory"};
              }),
      command(53, "NoStep", 2,
              [] {
                const std::string folder = scratch("nothing");
                fs::create_directories(folder);
                return BadStart{{"checkpoint", "info", folder},
                                "checkpoint: " + folder + ": no saved step"};
              }),
      refused(54, "OnlyDamagedSteps",
              "1 saved step, none of them good; another folder, or --fresh, "
              "starts anew",
              resized(100)),
      refused(55, "ManifestEmpty", skip, resized(0)),
      refused(55, "ManifestShort", skip, resized(40)),
      refused(55, "ManifestOfOtherMagic", skip,
              [](const fs::path& step) { write(step / "MANIFEST", std::string(400, 'x')); }),
      refused(55, "ManifestLong", skip,
              [](const fs::path& step) {
                write(step / "MANIFEST", bytes_of(step / "MANIFEST") + "more");
              }),
      refused(55, "ManifestFlipped", skip,
              [](const fs::path& step) {
                std::string bytes = bytes_of(step / "MANIFEST");
                bytes[100] = static_cast<char>(bytes[100] ^ 1);
                write(step / "MANIFEST", bytes);
              }),
      lying(56, "NewerReaderWanted", "for readers from version 2; this one is version 1",
            [](Manifest& m) { m.min_reader_version = 2; }),
      lying(57, "UnknownType", "element type 99, want 1 to 8",
            [](Manifest& m) { m.tensors[0].type = static_cast<runtime::DataType>(99); }),
      lying(58, "PieceMissing", skip, [](Manifest& m) { m.shards[0].pieces.pop_back(); }),
      lying(58, "PieceTwice", skip,
            [](Manifest& m) { m.shards[0].pieces[1] = m.shards[0].pieces[0]; }),
      lying(59, "OffsetPastTheEnd", skip,
            [](Manifest& m) { m.shards[0].pieces[0].file_offset += std::int64_t{1} << 32; }),
      lying(60, "ShapeOverflows", "shape has more than 2^60 bytes",
            [](Manifest& m) {
              m.tensors[0].shape = {std::int64_t{1} << 31, std::int64_t{1} << 31};
            }),
      lying(61, "FileNameThatClimbs", skip, [](Manifest& m) { m.shards[1].file = "../x"; }),
      refused(61, "FileThatIsALink", std::string("skip step 2: ") + kShard + ": not a regular file",
              [](const fs::path& step) {
                fs::rename(step / kShard, step / "elsewhere");
                fs::create_symlink("elsewhere", step / kShard);
              }),
      lying(62, "TensorTwice", skip, [](Manifest& m) { m.tensors[1].name = m.tensors[0].name; }),
      refused(67, "ManifestOf32GB", skip + "size 34359738368, want at most 67108880",
              resized(std::uintmax_t{1} << 35)),
  };
}

std::vector<BadCase> shards() {
  const std::string skip = std::string("skip step 2: ") + kShard + ": ";
  return {
      {64, "TensorsOfAnotherShape", 2,
       [](int) {
         return BadStart{run_on(changed([](const fs::path&) {}), "48"),
                         "step 2 was saved with a model olmoe-1b-7b-0924 of fields"};
       }},
      refused(65, "ShardMissing", skip, [](const fs::path& step) { fs::remove(step / kShard); }),
      refused(65, "ShardShort", skip + "size",
              [](const fs::path& step) { fs::resize_file(step / kShard, 5000); }),
      refused(65, "ShardLong", skip + "size",
              [](const fs::path& step) { write(step / kShard, bytes_of(step / kShard) + "more"); }),
      refused(66, "BlockFlipped", "checksum",
              [](const fs::path& step) {
                std::string bytes = bytes_of(step / kShard);
                bytes[4100] = static_cast<char>(bytes[4100] ^ 1);
                write(step / kShard, bytes);
              }),
      command(68, "FolderReadOnly", 74,
              [] {
                const std::string folder = scratch("read_only");
                fs::create_directories(folder);
                fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
                return BadStart{run_on(folder), "Permission denied"};
              }),
      command(71, "FolderHeldByAnotherJob", 2,
              [] {
                const std::string folder = scratch("held");
                fs::create_directories(folder);
                static const int lock =
                    ::open((folder + "/LOCK").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
                if (::flock(lock, LOCK_EX | LOCK_NB) != 0) throw std::runtime_error("flock");
                write(folder + "/LOCK", "run other, pid 7, incarnation 1\n");
                return BadStart{run_on(folder), "checkpoint: " + folder +
                                                    " is held by run other, pid 7, incarnation 1"};
              }),
      command(72, "FileInPlaceOfTheFolder", 2,
              [] {
                const std::string file = file_with("no_folder", "x");
                return BadStart{run_on(file), file + ": not a folder"};
              }),
      command(73, "PathTooLong", 74,
              [] {
                return BadStart{run_on("/tmp/" + std::string(5000, 'a')), "File name too long"};
              }),
  };
}
}  // namespace

std::vector<BadCase> bad_saved() {
  std::vector<BadCase> all = manifests();
  const auto more = shards();
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<Elsewhere> proved_elsewhere() {
  return {
      {17, "learning rate: comes with training"},
      {34, "root without its opt-in: Doctor.EveryFaultIsNamedWithItsRemedy"},
      {35, "mpirun missing: tests of `supervise`"},
      {36, "np 0 or no number: tests of `supervise`"},
      {47, "NaN in gradients: comes with training"},
      {48, "more than 2^31 elements: comm.large, comm.big_counts"},
      {49, "broken wire header: Frame.EveryFlippedBitIsRefused, fuzz.replay"},
      {50, "message of an old epoch: Frame, tests of `--serve`"},
      {51, "dataset: comes with training"},
      {63, "tensor missing or too many: runtime.stored"},
      {69, "disk full: faults.disk_full, faults.failing_calls"},
      {70, "file size limit: faults.failing_calls"},
      {74, "no file handle left: faults.failing_calls"},
      {75, "step exists with other content: runtime.store, launch.checkpoint_tools"},
  };
}
}  // namespace switchyard::tests
