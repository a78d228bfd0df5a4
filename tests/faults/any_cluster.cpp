// SPDX-License-Identifier: Apache-2.0
// F12: what was saved at N ranks is read at M. Every pair of 1 to 8 ranks, then COUNT random
// placements with replicas and uneven experts: every tensor bit-equal, the next step's digest too,
// and what is saved again has the same content. Ranks are threads.
//
//   any_cluster [COUNT=500] [SEED=1] [LARGE_MB=256]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "experts/synthetic.hpp"
#include "runtime/checkpoint/store.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "runtime/layer/coordinator.hpp"
#include "runtime/run/saving.hpp"
#include "runtime/run/token_source.hpp"
#include "runtime/state/run_state.hpp"

namespace {
using namespace switchyard;  // NOLINT(google-build-using-namespace): a program of its own
using runtime::Placement;
using runtime::RunState;

constexpr std::int64_t kExperts = 11;
constexpr std::int64_t kLayers = 2;
constexpr std::int64_t kTokens = 29;
constexpr std::int64_t kSteps = 2;
constexpr std::uint64_t kSeed = 5;

experts::BlockSpec block_of() {
  experts::BlockSpec block;
  block.router.hidden = block.expert.hidden = 40;
  block.router.experts = kExperts;
  block.router.top_k = 3;
  block.expert.width = 24;
  block.expert.biases = true;
  block.shared = block.expert;
  return block;
}

/// Every expert somewhere, some of them more than once, and ranks as full or empty as it comes.
Placement random_placement(std::mt19937_64& random, int ranks) {
  std::vector<std::vector<std::int32_t>> lists(static_cast<std::size_t>(ranks));
  for (std::int32_t expert = 0; expert < kExperts; ++expert) {
    std::vector<std::size_t> order(lists.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), random);
    const std::size_t copies = 1 + random() % std::min<std::size_t>(3, lists.size());
    for (std::size_t i = 0; i < copies; ++i) lists[order[i]].push_back(expert);
  }
  return Placement::from_lists(std::move(lists), kExperts);
}

/// A rank's layers with their state, not yet set.
struct Rank {
  Rank(const Placement& placement, int rank) : state(placement, rank) {
    for (std::int64_t layer = 0; layer < kLayers; ++layer) {
      sources.push_back(
          state.add(block_of(), layer,
                    std::make_shared<experts::SyntheticSource>(
                        block_of(), kSeed, static_cast<std::uint32_t>(layer), true, true)));
    }
  }
  RunState state;
  std::vector<std::shared_ptr<runtime::LayerState>> sources;
};

runtime::Coordinator layers_of(comm::Group& group, const Placement& placement, Rank& rank) {
  std::vector<std::unique_ptr<runtime::MoeLayer>> layers;
  runtime::LayerOptions options;
  options.transport = "p2p";
  options.node_queue = false;
  const auto engine = std::make_shared<runtime::Engine>(group, runtime::engine_options(options));
  for (const auto& source : rank.sources) {
    options.layer = source->layer();
    layers.push_back(
        std::make_unique<runtime::MoeLayer>(group, block_of(), source, placement, options, engine));
  }
  return {group, std::move(layers)};
}

std::uint64_t digest_of_step(comm::Group& group, runtime::Coordinator& layers, std::int64_t step) {
  const auto share = runtime::share_of(kTokens, group.rank(), group.size());
  experts::Matrix tokens(share.count, block_of().router.hidden);
  experts::fill_tokens(kSeed, step, share.first, tokens.view());
  const experts::Matrix output = layers.step(step, share.first, tokens.view(), {});
  const std::uint64_t mine = runtime::step_digest(share.first, output.view());
  std::uint64_t sum = 0;
  for (const auto& rank : comm::allgather_values<std::uint64_t>(group, std::span(&mine, 1))) {
    sum += rank[0];
  }
  return sum;
}

/// What must come back: tensors after kSteps steps, and the digest of the step after them.
struct Wanted {
  std::map<std::string, std::vector<float>> tensors;
  std::uint64_t next_step = 0;
};

Wanted wanted() {
  Wanted want;
  comm::run_local(1, [&](comm::Group& group) {
    const Placement placement = Placement::linear(kExperts, 1);
    Rank rank(placement, 0);
    rank.state.begin();
    auto layers = layers_of(group, placement, rank);
    for (std::int64_t step = 0; step < kSteps; ++step) {
      const std::uint64_t digest = digest_of_step(group, layers, step);
      rank.state.change({.seed = kSeed, .step = step, .digest = digest}, layers);
    }
    for (const auto& layer : rank.state.layers()) {
      for (const auto& tensor : layer->tensors()) {
        want.tensors[tensor.name].assign(tensor.all().begin(), tensor.all().end());
      }
    }
    want.next_step = digest_of_step(group, layers, kSteps);
  });
  return want;
}

void require(bool good, const std::string& what) {
  if (!good) throw std::runtime_error(what);
}

void compare(const RunState& state, const Wanted& want) {
  for (const auto& layer : state.layers()) {
    for (const auto& tensor : layer->tensors()) {
      const auto& numbers = want.tensors.at(tensor.name);
      require(numbers.size() == tensor.all().size() &&
                  std::memcmp(numbers.data(), tensor.values, tensor.all().size_bytes()) == 0,
              tensor.name + " is another one");
    }
  }
}

/// Saves at as many ranks as the placement has. @return  the content that the manifest names
std::string save(const std::string& folder, const Placement& placement,
                 const std::function<void(comm::Group&, Rank&)>& fill) {
  std::filesystem::remove_all(folder);
  const auto files = runtime::posix_file_system();
  comm::run_local(placement.ranks(), [&](comm::Group& group) {
    Rank rank(placement, group.rank());
    fill(group, rank);
    runtime::CheckpointStore store(group, *files, folder, {.run_id = "any-cluster"});
    runtime::CheckpointInfo info;
    info.step = kSteps;
    info.run_id = "any-cluster";
    const auto result = store.save(info, runtime::pieces_of(rank.state));
    require(result.saved, "not saved: " + result.problem);
  });
  return runtime::StoredCheckpoint(*files, folder, kSteps).manifest().content_sha256;
}

void load(comm::Group& group, const std::string& folder, Rank& rank) {
  const auto files = runtime::posix_file_system();
  const auto loaded = runtime::load_newest(
      group, *files, folder, [](const std::string& note) { throw std::runtime_error(note); },
      [&](runtime::StoredCheckpoint& stored) { runtime::read_state(stored, rank.state); });
  require(loaded.has_value(), "nothing is saved");
}

/// N -> M -> N.
void there_and_back(const std::string& folder, const Wanted& want, const Placement& at,
                    const Placement& then) {
  const auto known = [&](comm::Group&, Rank& rank) {
    for (const auto& layer : rank.state.layers()) {
      for (const auto& tensor : layer->tensors()) {
        std::ranges::copy(want.tensors.at(tensor.name), tensor.values);
      }
    }
  };
  const std::string first = save(folder + "/first", at, known);
  const auto checked = [&](const std::string& from, bool step) {
    return [&want, from, step](comm::Group& group, Rank& rank) {
      load(group, from, rank);
      compare(rank.state, want);
      if (!step) return;
      const Placement& placement = rank.state.placement();
      auto layers = layers_of(group, placement, rank);
      require(digest_of_step(group, layers, kSteps) == want.next_step, "the next step is another");
    };
  };
  const std::string second = save(folder + "/second", then, checked(folder + "/first", true));
  const std::string third = save(folder + "/third", at, checked(folder + "/second", false));
  require(first == second && second == third, "content " + first + ", " + second + ", " + third);
}

double megabytes(const char* field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return std::stod(line.substr(std::strlen(field))) / 1024;
  }
  return 0;
}

/// A rank's part of a state of so many MiB, unset.
std::unique_ptr<RunState> large_state(const Placement& placement, int rank, std::int64_t large_mb) {
  experts::BlockSpec block = block_of();
  block.expert.hidden = block.router.hidden = 1024;
  block.expert.width = large_mb * (1 << 20) / (kExperts * 3 * 1024 * 4);
  block.shared.reset();
  auto state = std::make_unique<RunState>(placement, rank);
  static_cast<void>(state->add(
      block, 0, std::make_shared<experts::SyntheticSource>(block, kSeed, 0U, false, false)));
  return state;
}

/// Saves it at two ranks.
void save_large(const std::string& folder, std::int64_t large_mb) {
  const auto files = runtime::posix_file_system();
  const Placement two = Placement::linear(kExperts, 2);
  comm::run_local(2, [&](comm::Group& group) {
    const auto state = large_state(two, group.rank(), large_mb);
    state->begin();
    runtime::CheckpointStore store(group, *files, folder + "/large", {.run_id = "large"});
    runtime::CheckpointInfo info;
    info.step = 1;
    info.run_id = "large";
    require(store.save(info, runtime::pieces_of(*state)).saved, "not saved");
  });
}

/// Memory beside the state itself while rank 3 of 5 reads its part, in a process that has done
/// nothing else.
double read_large(const std::string& folder, std::int64_t large_mb) {
  const auto files = runtime::posix_file_system();
  const Placement five = Placement::round_robin(kExperts, 5);
  const auto state = large_state(five, 3, large_mb);
  for (const auto& tensor : state->layers()[0]->tensors()) {
    std::ranges::fill(tensor.all(), 1.0F);  // its pages are there
  }
  std::ofstream("/proc/self/clear_refs") << "5";  // the height is counted from here
  const double before = megabytes("VmRSS:");
  runtime::StoredCheckpoint stored(*files, folder + "/large", 1);
  runtime::read_state(stored, *state);
  return megabytes("VmHWM:") - before;
}

/// The same by another process: this one has freed memory that it would use again.
double extra_megabytes(const std::string& program, const std::string& folder,
                       std::int64_t large_mb) {
  const std::string line = "'" + program + "' --read '" + folder + "' " + std::to_string(large_mb);
  std::FILE* const pipe = ::popen(line.c_str(), "r");
  require(pipe != nullptr, "cannot start " + program);
  double extra = 0;
  const int read = std::fscanf(pipe, "%lf", &extra);
  require(::pclose(pipe) == 0 && read == 1, "no answer of " + line);
  return extra;
}

int run(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "--read") {
    std::printf("%.2f\n", read_large(argv[2], std::stoll(argv[3])));
    return 0;
  }
  const int count = argc > 1 ? std::stoi(argv[1]) : 500;
  const std::uint64_t seed = argc > 2 ? std::stoull(argv[2]) : 1;
  const std::int64_t large = argc > 3 ? std::stoll(argv[3]) : 256;
  const std::string folder =
      std::filesystem::temp_directory_path() / ("any-cluster-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const Wanted want = wanted();
  int bad = 0;
  const auto attempt = [&](const std::string& what, const Placement& at, const Placement& then) {
    try {
      there_and_back(folder, want, at, then);
      return 1;
    } catch (const std::exception& error) {
      std::printf("F12: %s, seed %llu: %s\n", what.c_str(), static_cast<unsigned long long>(seed),
                  error.what());
      ++bad;
      return 0;
    }
  };
  int pairs = 0;
  for (int n = 1; n <= 8; ++n) {
    for (int m = 1; m <= 8; ++m) {
      pairs += attempt("saved at " + std::to_string(n) + ", read at " + std::to_string(m),
                       Placement::linear(kExperts, n), Placement::round_robin(kExperts, m));
    }
  }
  std::mt19937_64 random(seed);
  int placements = 0;
  for (int i = 0; i < count; ++i) {
    const Placement at = random_placement(random, 1 + static_cast<int>(random() % 14));
    const Placement then = random_placement(random, 1 + static_cast<int>(random() % 14));
    placements += attempt("random placement " + std::to_string(i), at, then);
  }
  save_large(folder, large);
  const double extra = extra_megabytes(argv[0], folder, large);
  if (extra > 64) ++bad;
  std::filesystem::remove_all(folder);
  std::printf(
      "F12: %d of 64 pairs and %d of %d random placements with replicas: every tensor, the next "
      "step's digest and N -> M -> N content equal; reading took %.1f MiB beside a state of %lld "
      "MiB "
      "saved\n",
      pairs, placements, count, extra, static_cast<long long>(large));
  return bad == 0 ? 0 : 1;
}
}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "any_cluster: %s\n", error.what());
    return 70;
  }
}
