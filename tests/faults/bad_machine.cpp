// SPDX-License-Identifier: Apache-2.0
// Bad inputs that are the machine's or somebody else's: 34 to 36 launching, 48 to 50 what ranks
// send, 69, 70 and 74 limits of what a save may use.
#include <filesystem>
#include <sys/mount.h>

#include "tests/faults/bad_inputs.hpp"

namespace switchyard::tests {
namespace {
namespace fs = std::filesystem;

/// A supervised run, started with these words of `env`.
BadStart supervised(std::vector<std::string> environment, const std::string& ranks,
                    const std::string& says) {
  environment.insert(environment.begin(), "env");
  auto words = tiny({});
  words.insert(words.begin(), {"supervise", "--ranks", ranks, "--"});
  return {.words = std::move(words),
          .says = says,
          .before = std::move(environment),
          .by_mpirun = false};
}

/// What each rank is started through: a shell that lowers a limit.
std::vector<std::string> limited(const std::string& limit) {
  return {"bash", "-c", "ulimit " + limit + "; exec \"$@\"", "bash"};
}

/// A small disk, for as long as this process lives. Only root can make one.
std::string small_disk() {
  struct Disk {
    std::string path = scratch("small_disk");
    Disk() {
      fs::create_directories(path);
      if (::mount("none", path.c_str(), "tmpfs", 0, "size=64k") != 0) {
        throw std::runtime_error("cannot mount a tmpfs");
      }
    }
    ~Disk() { ::umount2(path.c_str(), MNT_DETACH); }
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
  };
  static const Disk disk;
  return disk.path;
}

std::string made(const std::string& name) {
  fs::remove_all(scratch(name));
  return scratch(name);
}

std::vector<std::string> stateful(const std::string& folder, const std::vector<std::string>& more) {
  auto words =
      tiny({"--layers", "1", "--steps", "1", "--warmup", "0", "--stateful", "--save-to", folder});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// 100 MB of it.
std::vector<std::string> large_state(const std::string& folder) {
  return {"run",
          "--model",
          "olmoe",
          "--set",
          "hidden_size=512",
          "--set",
          "moe_intermediate_size=256",
          "--tokens",
          "16",
          "--layers",
          "1",
          "--steps",
          "1",
          "--warmup",
          "0",
          "--node-queue",
          "off",
          "--stateful",
          "--save-to",
          folder};
}

std::vector<BadCase> launching() {
  return {
      {.number = 34,
       .name = "RootWithoutItsOptIn",
       .status = 2,
       .start =
           [](int ranks) {
             return supervised(
                 {"-u", "OMPI_ALLOW_RUN_AS_ROOT"}, std::to_string(ranks),
                 "supervise: mpirun refuses to run as root, want another user, or both variables "
                 "OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 if root is meant");
           },
       .root = true},
      {35, "MpirunMissing", 2,
       [](int ranks) {
         return supervised({"PATH=/nowhere"}, std::to_string(ranks),
                           "supervise: mpirun is not in PATH, want Open MPI's (Debian: "
                           "openmpi-bin)");
       }},
      {36,
       "NoRanks",
       2,
       [](int) {
         return supervised({}, "0", "--ranks: got '0', want a whole number from 1 to 1048576");
       },
       {1}},
      {36,
       "RanksThatAreNoNumber",
       2,
       [](int) {
         return supervised({}, "two", "--ranks: got 'two', want a whole number from 1 to 1048576");
       },
       {1}},
  };
}

std::vector<BadCase> messages() {
  return {
      {48, "MoreElementsThanAnExchangeCounts", 2,
       [](int) {
         return BadStart{{"run", "--model", "olmoe", "--set", "hidden_size=8", "--tokens",
                          "300000000000", "--memory-per-rank", "1"},
                         "--tokens: got 300000000000, want at most about #, whose rows fit into "
                         "memory"};
       }},
      {49,
       "HeaderFlippedOnItsWay",
       70,
       [](int ranks) {
         return BadStart{
             tiny({"--transport", "p2p", "--inject", "corrupt@rank=1,step=1"}),
             "frame from rank 1 to rank " + std::to_string(2 % ranks) + ": crc is #, want #"};
       },
       {2, 4}},
  };
}

std::vector<BadCase> limits() {
  return {
      {.number = 69,
       .name = "DiskFull",
       .status = 74,
       .start =
           [](int) {
             const std::string disk = small_disk();
             return BadStart{stateful(disk, {"--set", "hidden_size=64"}),
                             "step 1, the last, is not saved: checkpoint: " + disk +
                                 " has room for 1 MB, want 1 MB: No space left on device"};
           },
       .root = true},
      {70, "FileSizeLimited", 74,
       [](int) {
         return BadStart{.words = {"checkpoint", "import", data("golden/models/mixtral-tiny"),
                                   "--output", made("file_size")},
                         .says = "checkpoint: cannot write " + scratch("file_size") +
                                 "/.stage-000000000000-1/shard-00000-of-00001.sy: File too large",
                         .before = limited("-f 64")};
       }},
      {70, "FileSizeLimitedOfARun", 74,
       [](int ranks) {
         return BadStart{
             .words = large_state(made("file_size_run")),
             .says = "step 1, the last, is not saved: rank 0: checkpoint: cannot write " +
                     scratch("file_size_run") + "/.stage-000000000001-1/shard-00000-of-0000" +
                     std::to_string(ranks) + ".sy: File too large" +
                     (ranks == 1   ? ""
                      : ranks == 2 ? " (and 1 other rank)"
                                   : " (and 3 other ranks)"),
             .before = limited("-f 20480")};
       }},
      {74, "NoFileHandleLeft", 74,
       [](int) {
         return BadStart{.words = {"checkpoint", "import", data("golden/models/mixtral-tiny"),
                                   "--output", made("handles")},
                         .says = "checkpoint: cannot open " + data("golden/models/mixtral-tiny/") +
                                 "model-00002-of-00002.safetensors: Too many open files",
                         .before = limited("-n 4")};
       }},
  };
}
}  // namespace

std::vector<BadCase> bad_machine() {
  std::vector<BadCase> all = launching();
  for (const auto& more : {messages(), limits()}) all.insert(all.end(), more.begin(), more.end());
  return all;
}
}  // namespace switchyard::tests
