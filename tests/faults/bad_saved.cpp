// SPDX-License-Identifier: Apache-2.0
// Bad inputs 52 to 75: folders of saved steps. And what other tests prove.
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>

#include "comm/group/local_group.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/checkpoint/store.hpp"
#include "runtime/checkpoint/stored.hpp"
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

/// A case of a run whose only step is skipped, for this reason.
BadCase refused(int number, const std::string& name, const std::string& why,
                std::function<void(const fs::path& step)> change) {
  return {number, name, 2, [why, change = std::move(change)](int) {
            const std::string folder = changed(change);
            return BadStart{.words = run_on(folder),
                            .says = "checkpoint: " + folder +
                                    ": 1 saved step, none of them good; another folder, or "
                                    "--fresh, starts anew",
                            .notes = {"warning: skip step 2: " + why}};
          }};
}

/// Has the manifest of a step say something else, with its checksums right.
void rewrite(const fs::path& step, const std::function<void(Manifest&)>& lie) {
  const std::string bytes = bytes_of(step / "MANIFEST");
  Manifest manifest = runtime::decode_manifest(std::as_bytes(std::span(bytes)), "test");
  lie(manifest);
  write(step / "MANIFEST", runtime::encode(manifest));
}

/// As refused(), of a manifest that lies.
BadCase lying(int number, const std::string& name, const std::string& why,
              const std::function<void(Manifest&)>& lie) {
  return refused(number, name, why, [lie](const fs::path& step) { rewrite(step, lie); });
}

/// The same step, whole and good, but for a tensor.
std::string without_the_router() {
  const auto files = runtime::posix_file_system();
  runtime::StoredCheckpoint stored(*files, saved(), 2);
  std::vector<std::vector<std::byte>> bytes;
  std::vector<runtime::SavedPiece> pieces;
  for (const runtime::TensorInfo& tensor : stored.tensors()) {
    if (tensor.name == "layer.0.router.weight") continue;
    bytes.emplace_back(static_cast<std::size_t>(tensor.bytes()));
    stored.read(tensor.name, bytes.back());
    pieces.push_back({tensor, runtime::Rectangle::whole(tensor), bytes.back()});
  }
  const std::string folder = scratch("without");
  fs::remove_all(folder);
  const auto group = comm::solo_group();
  runtime::CheckpointStore store(*group, *files, folder, {.run_id = stored.info().run_id});
  if (!store.save(stored.info(), pieces).saved) throw std::runtime_error("cannot save");
  return folder;
}

BadCase command(int number, const std::string& name, int status, std::function<BadStart()> start) {
  return {number, name, status, [start = std::move(start)](int) { return start(); }};
}

std::vector<BadCase> manifests() {
  const std::string skip = "MANIFEST: ";
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
      refused(54, "OnlyDamagedSteps", skip + "size 100, want 2732", resized(100)),
      refused(55, "ManifestEmpty", skip + "empty", resized(0)),
      refused(55, "ManifestShort", skip + "size 40, want 2732", resized(40)),
      refused(55, "ManifestOfOtherMagic", skip + "no manifest",
              [](const fs::path& step) { write(step / "MANIFEST", std::string(400, 'x')); }),
      refused(55, "ManifestLong", skip + "size 2736, want 2732",
              [](const fs::path& step) {
                write(step / "MANIFEST", bytes_of(step / "MANIFEST") + "more");
              }),
      refused(55, "ManifestFlipped", skip + "checksum 0a3001b5, want 3cbe7f50",
              [](const fs::path& step) {
                std::string bytes = bytes_of(step / "MANIFEST");
                bytes[100] = static_cast<char>(bytes[100] ^ 1);
                write(step / "MANIFEST", bytes);
              }),
      // Protobuf would add a line of its own.
      lying(55, "ManifestOfStrangeLetters", skip + "no protobuf",
            [](Manifest& manifest) { manifest.info.program_version = "\xff"; }),
      command(56, "NewerReaderWanted", 2,
              [] {
                const auto newer = [](Manifest& m) { m.min_reader_version = 2; };
                return BadStart{
                    run_on(changed([&](const fs::path& step) { rewrite(step, newer); })),
                    "step 2: MANIFEST: written by version 1, for readers from version 2; this one "
                    "is version 1"};
              }),
      lying(57, "UnknownType", skip + "tensor layer.0.expert.0.down: element type 99, want 1 to 8",
            [](Manifest& m) { m.tensors[0].type = static_cast<runtime::DataType>(99); }),
      lying(58, "PieceMissing", skip + "shard-00000-of-00002.sy: size 23943, want 21895",
            [](Manifest& m) { m.shards[0].pieces.pop_back(); }),
      lying(58, "PieceTwice",
            skip + "shard-00000-of-00002.sy: tensor layer.0.router.weight: piece at byte 4096, "
                   "want 4864",
            [](Manifest& m) { m.shards[0].pieces[1] = m.shards[0].pieces[0]; }),
      lying(59, "OffsetPastTheEnd",
            skip + "shard-00000-of-00002.sy: tensor layer.0.router.weight: piece at byte "
                   "4294971392, want 4096",
            [](Manifest& m) { m.shards[0].pieces[0].file_offset += std::int64_t{1} << 32; }),
      lying(60, "ShapeOverflows",
            skip + "tensor layer.0.expert.0.down: shape has more than 2^60 bytes",
            [](Manifest& m) {
              m.tensors[0].shape = {std::int64_t{1} << 31, std::int64_t{1} << 31};
            }),
      lying(61, "FileNameThatClimbs",
            skip + "shard 1 has another name, want shard-00001-of-00002.sy",
            [](Manifest& m) { m.shards[1].file = "../x"; }),
      refused(61, "FileThatIsALink", std::string(kShard) + ": not a regular file",
              [](const fs::path& step) {
                fs::rename(step / kShard, step / "elsewhere");
                fs::create_symlink("elsewhere", step / kShard);
              }),
      lying(62, "TensorTwice",
            skip + "tensor layer.0.expert.0.down behind layer.0.expert.0.down, want rising "
                   "names, none twice",
            [](Manifest& m) { m.tensors[1].name = m.tensors[0].name; }),
      command(63, "TensorMissing", 2,
              [] {
                return BadStart{run_on(without_the_router()),
                                "step 2: tensor layer.0.router.weight: missing"};
              }),
      refused(67, "ManifestOf32GB", skip + "size 34359738368, want at most 67108880",
              resized(std::uintmax_t{1} << 35)),
  };
}

std::vector<BadCase> shards() {
  const std::string skip = std::string(kShard) + ": ";
  return {
      {64, "TensorsOfAnotherShape", 2,
       [](int) {
         const std::string folder = changed([](const fs::path&) {});
         return BadStart{run_on(folder, "48"),
                         "--save-to " + folder +
                             ": step 2 was saved with a model olmoe-1b-7b-0924 of fields #, got #, "
                             "want the same, another folder or --fresh"};
       }},
      refused(65, "ShardMissing", skip + "missing",
              [](const fs::path& step) { fs::remove(step / kShard); }),
      refused(65, "ShardShort", skip + "size 5000, want 23118",
              [](const fs::path& step) { fs::resize_file(step / kShard, 5000); }),
      refused(65, "ShardLong", skip + "size 23122, want 23118",
              [](const fs::path& step) { write(step / kShard, bytes_of(step / kShard) + "more"); }),
      refused(66, "BlockFlipped",
              skip + "tensor layer.0.expert.3.gate: block 0, at byte 4096: checksum a47651b0, want "
                     "bebcbde4",
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
                return BadStart{run_on(folder),
                                "checkpoint: cannot open " + folder + "/LOCK: Permission denied"};
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
                return BadStart{run_on(file), "checkpoint: " + file + ": not a folder"};
              }),
      command(75, "StepExistsWithOtherContent", 2,
              [] {
                const std::string folder = scratch("exists");
                fs::remove_all(folder);
                const auto import = [&](const std::string& model) {
                  return std::vector<std::string>{
                      "checkpoint", "import", data("golden/models/" + model), "--output", folder};
                };
                const Outcome outcome = run({.words = switchyard(import("mixtral-tiny"))});
                if (outcome.status != 0) throw std::runtime_error("cannot import: " + outcome.err);
                return BadStart{import("olmoe-tiny"),
                                "checkpoint: " + folder +
                                    "/step-000000000000 exists, is good, and has other content; "
                                    "--overwrite replaces it"};
              }),
      command(73, "PathTooLong", 74,
              [] {
                const std::string folder = "/tmp/" + std::string(5000, 'a');
                return BadStart{run_on(folder),
                                "checkpoint: cannot make " + folder + ": File name too long"};
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
      {47, "NaN in gradients: comes with training"},
      {50, "message of an old epoch: Frame, tests of `--serve`"},
      {51, "dataset: comes with training"},
  };
}
}  // namespace switchyard::tests
