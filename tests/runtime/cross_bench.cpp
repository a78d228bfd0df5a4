// SPDX-License-Identifier: Apache-2.0
/// @file
/// Exchanges between nodes, measured: real plans over real links, with the experts' time slept
/// instead of computed, so that ranks that share a core still have one each. Run it in
/// tests/comm/netns.sh. Every result of every round is checked; bytes come from interface counters.
///
///   cross_bench [--tokens N] [--hidden N] [--compute-ms MS] [--rounds N] [--check] CONFIG...
///   CONFIG: TRANSPORT[:STAGES[:WIRE]], such as auto p2p two-level:8 two-level:4:bfloat16
///
/// Prints the median time of the slowest rank, and bytes that left nodes over those of the plan.
/// --check: fails where they differ by more than 5 %, or a result is wrong.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/exchange/cost.hpp"
#include "comm/exchange/exchange.hpp"
#include "comm/group/collective.hpp"
#include "comm/group/mpi_group.hpp"
#include "experts/synthetic.hpp"
#include "runtime/layer/plan.hpp"
#include "runtime/layer/stages.hpp"

namespace switchyard {
namespace {
using Clock = std::chrono::steady_clock;

struct Settings {
  std::int64_t tokens = 32;  ///< a rank
  std::int64_t hidden = 2048;
  std::int64_t experts = 64;
  std::int64_t top_k = 8;
  double compute_ms = 0;  ///< of all experts of a rank
  int rounds = 7;
  bool check = false;
  std::vector<std::string> configs;
};

/// Where a round's time goes that is not the experts'.
struct Waits {
  double dispatch_ms = 0;
  double rows_ms = 0;  ///< for rows of a stage
  double collect_ms = 0;
};

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

struct Contender {
  std::string name;
  comm::WireType wire = comm::WireType::kFloat32;
  std::unique_ptr<comm::Exchange> exchange;
  std::vector<double> ms;
  double counted_bytes = 0;  ///< all nodes, all rounds
  double planned_bytes = 0;  ///< rows deduplicated a node, and results
  std::int64_t wrong = 0;
  Waits waits;  ///< all rounds, this rank
};

comm::ExchangeOptions options_from(const std::string& config) {
  std::istringstream words(config);
  comm::ExchangeOptions options;
  std::string part;
  std::getline(words, options.transport, ':');
  if (std::getline(words, part, ':')) options.stages = std::stoi(part);
  if (std::getline(words, part, ':')) options.wire = comm::wire_type_from(part);
  return options;
}

/// Bytes that this namespace has sent over eth0; 0 without one.
double sent_bytes() {
  std::ifstream file("/proc/net/dev");
  for (std::string line; std::getline(file, line);) {
    const auto found = line.find("eth0:");
    if (found == std::string::npos) continue;
    std::istringstream fields(line.substr(found + 5));
    double value = 0;
    for (int i = 0; i < 9; ++i) fields >> value;
    return value;
  }
  return 0;
}

double sum_of(comm::Group& group, double mine) {
  double sum = 0;
  for (const auto& one : comm::allgather_values<double>(group, {&mine, 1})) sum += one[0];
  return sum;
}

class Bench {
 public:
  Bench(comm::Group& group, const Settings& settings)
      : group_(group),
        settings_(settings),
        placement_(runtime::Placement::linear(settings.experts, group.size())),
        tokens_(static_cast<std::size_t>(settings.tokens * settings.hidden)) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const std::size_t mixed = (i + 977 * static_cast<std::size_t>(group.rank())) * 2654435761U;
      tokens_[i] = 0.25F + static_cast<float>(mixed % 4096) / 4096.0F;
    }
  }

  void round(Contender& contender, std::int64_t step, bool counted) {
    const auto mine = group_.rank();
    experts::RouterSpec spec;
    spec.experts = settings_.experts;
    spec.top_k = settings_.top_k;
    const auto routing =
        experts::synthetic_routing(spec, 0, 1, step, 0, mine * settings_.tokens, settings_.tokens);
    auto plan = runtime::make_plan(routing, placement_, mine, 0, settings_.tokens, 0, false);
    comm::Exchange& exchange = *contender.exchange;
    const int stages = exchange.stages();
    if (stages > 1) cutter_.cut(plan, placement_, stages);
    plan.offer.base = reinterpret_cast<const std::byte*>(tokens_.data());
    plan.offer.row_bytes = settings_.hidden * 4;

    comm::barrier(group_);
    const double before = total_sent();
    comm::barrier(group_);
    const auto start = Clock::now();
    const auto& delivery = exchange.dispatch(plan.offer);
    const auto slots = exchange.open_returns(plan.offer.row_bytes);
    Waits waits;
    waits.dispatch_ms = ms_since(start);
    compute(exchange, delivery, slots, stages, waits);
    const auto last = Clock::now();
    const auto results = exchange.collect();
    waits.collect_ms = ms_since(last);
    const double own_ms = ms_since(start);
    comm::barrier(group_);
    const double after = total_sent();
    contender.wrong += wrong_results(plan, routing, results, contender.wire);
    double slowest = 0;
    for (const auto& one : comm::allgather_values<double>(group_, {&own_ms, 1})) {
      slowest = std::max(slowest, one[0]);
    }
    const double planned = sum_of(group_, planned_bytes(plan, contender.wire));
    if (!counted) return;
    contender.waits.dispatch_ms += waits.dispatch_ms;
    contender.waits.rows_ms += waits.rows_ms;
    contender.waits.collect_ms += waits.collect_ms;
    contender.ms.push_back(slowest);
    contender.counted_bytes += after - before;
    contender.planned_bytes += planned;
  }

 private:
  /// The first rank of each node reads the counter of all its ranks.
  double total_sent() {
    const bool first = group_.nodes().local_of[static_cast<std::size_t>(group_.rank())] == 0;
    return sum_of(group_, first ? sent_bytes() : 0);
  }

  /// Result of expert e: the row, with e added to its first value.
  void compute(comm::Exchange& exchange, const comm::Delivery& delivery,
               std::span<std::byte* const> slots, int stages, Waits& waits) {
    const auto mine = placement_.experts_of(group_.rank());
    const auto experts = static_cast<std::int64_t>(mine.size());
    const auto row_bytes = static_cast<std::size_t>(settings_.hidden * 4);
    const std::chrono::duration<double, std::milli> share(
        settings_.compute_ms / static_cast<double>(std::max<std::int64_t>(experts, 1)));
    for (int stage = 0; stage < stages; ++stage) {
      const auto start = Clock::now();
      exchange.await_stage(stage);
      waits.rows_ms += ms_since(start);
      for (auto e = runtime::first_of_stage(stage, experts, stages);
           e < runtime::first_of_stage(stage + 1, experts, stages); ++e) {
        if (settings_.compute_ms > 0) std::this_thread::sleep_for(share);
        for (std::size_t from = 0; from < delivery.notes.size(); ++from) {
          const auto count = static_cast<std::size_t>(delivery.results[from]);
          for (std::size_t j = 0; j < count; ++j) {
            runtime::Entry entry{};
            std::memcpy(&entry, delivery.notes[from].data() + j * sizeof entry, sizeof entry);
            if (entry.expert != mine[static_cast<std::size_t>(e)]) continue;
            const auto row = delivery.row_offsets[from] + entry.row;
            std::byte* const to = slots[from] + j * row_bytes;
            std::memcpy(to, delivery.rows[static_cast<std::size_t>(row)], row_bytes);
            float first = 0;
            std::memcpy(&first, to, sizeof first);
            first += static_cast<float>(entry.expert);
            std::memcpy(to, &first, sizeof first);
          }
        }
        exchange.progress();
      }
      exchange.release_stage(stage);
    }
  }

  std::int64_t wrong_results(const runtime::DispatchPlan& plan, const experts::Routing& routing,
                             std::span<const std::byte* const> results, comm::WireType wire) {
    std::int64_t wrong = 0;
    for (int r = 0; r < group_.size(); ++r) {
      const auto rank = static_cast<std::size_t>(r);
      for (auto j = plan.result_offsets[rank]; j < plan.result_offsets[rank + 1]; ++j) {
        const auto slot = plan.result_slots[static_cast<std::size_t>(j)];
        const float* const row = tokens_.data() + slot / settings_.top_k * settings_.hidden;
        std::vector<float> got(static_cast<std::size_t>(settings_.hidden));
        std::memcpy(got.data(),
                    results[rank] +
                        (j - plan.result_offsets[rank]) * static_cast<std::int64_t>(got.size()) * 4,
                    got.size() * 4);
        const auto expert = static_cast<float>(routing.experts[static_cast<std::size_t>(slot)]);
        // Rounded on both ways. Values of a row are below 1.25, those of a result below 66.
        bool good = true;
        for (std::size_t c = 0; c < got.size(); ++c) {
          const float want = row[c] + (c == 0 ? expert : 0);
          const double room = comm::error_bound(wire, 1.26, 1.26) +
                              comm::error_bound(wire, std::abs(want) + 0.1, expert + 1.3);
          good = good && std::abs(static_cast<double>(got[c] - want)) <= room;
        }
        wrong += good ? 0 : 1;
      }
    }
    return wrong;
  }

  /// What this rank's tokens must take to other nodes and back.
  double planned_bytes(const runtime::DispatchPlan& plan, comm::WireType wire) {
    const auto& map = group_.nodes();
    const int own = map.node_of[static_cast<std::size_t>(group_.rank())];
    const auto row_bytes = static_cast<double>(comm::wire_bytes(wire, settings_.hidden));
    double rows = 0;
    for (int node = 0; node < map.nodes; ++node) {
      if (node == own) continue;
      std::set<std::int64_t> distinct;
      for (const int r : map.ranks_of[static_cast<std::size_t>(node)]) {
        const auto i = static_cast<std::size_t>(r);
        for (auto at = plan.offer.row_offsets[i]; at < plan.offer.row_offsets[i + 1]; ++at) {
          distinct.insert(plan.offer.rows[static_cast<std::size_t>(at)]);
        }
        rows += static_cast<double>(plan.offer.results[i]);
      }
      rows += static_cast<double>(distinct.size());
    }
    return rows * row_bytes;
  }

  comm::Group& group_;
  const Settings& settings_;
  runtime::Placement placement_;
  std::vector<float> tokens_;
  runtime::StageCutter cutter_;
};

Settings settings_from(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--check") {
      settings.check = true;
    } else if (word.starts_with("--") && i + 1 < argc) {
      const double value = std::strtod(argv[++i], nullptr);
      if (word == "--tokens") settings.tokens = static_cast<std::int64_t>(value);
      if (word == "--hidden") settings.hidden = static_cast<std::int64_t>(value);
      if (word == "--compute-ms") settings.compute_ms = value;
      if (word == "--rounds") settings.rounds = static_cast<int>(value);
    } else {
      settings.configs.push_back(word);
    }
  }
  if (settings.configs.empty()) settings.configs = {"p2p", "alltoallv", "two-level"};
  return settings;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

int bench(comm::Group& group, const Settings& settings) {
  constexpr int kWarmup = 2;
  Bench bench(group, settings);
  std::vector<Contender> contenders;
  for (const std::string& config : settings.configs) {
    const comm::RoundShape shape{.rows = static_cast<double>(settings.tokens),
                                 .copies = static_cast<double>(settings.top_k),
                                 .row_bytes = settings.hidden * 4,
                                 .places = static_cast<double>(settings.experts) / group.size(),
                                 .work_s = settings.compute_ms / 1e3};
    const auto choice = comm::choose_exchange(group, options_from(config), shape);
    if (group.rank() == 0 && !choice.why.empty()) {
      std::printf("%s: %s\n", config.c_str(), choice.why.c_str());
    }
    const auto options = choice.options;
    contenders.push_back({.name = config,
                          .wire = options.wire,
                          .exchange = comm::make_exchange(group, options),
                          .ms = {},
                          .waits = {}});
  }
  for (int i = -kWarmup; i < settings.rounds; ++i) {
    for (Contender& one : contenders) bench.round(one, std::max(i, 0), i >= 0);
  }
  bool good = true;
  if (group.rank() == 0) {
    std::printf(
        "%d ranks on %d nodes, %lld tokens a rank, rows of %lld floats, %.0f ms of experts\n",
        group.size(), group.nodes().nodes, static_cast<long long>(settings.tokens),
        static_cast<long long>(settings.hidden), settings.compute_ms);
    std::printf("%-26s %9s %9s %9s %9s %12s %8s %6s  %s\n", "exchange", "ms median", "ms min",
                "ms max", "x first", "bytes/round", "of plan", "wrong",
                "mean ms in dispatch, for rows, in collect");
  }
  for (Contender& one : contenders) {
    const double of_plan = one.planned_bytes > 0 ? one.counted_bytes / one.planned_bytes : 1;
    const double wrong = sum_of(group, static_cast<double>(one.wrong));
    const bool deduplicated = one.name.starts_with("two-level") && group.nodes().nodes > 1;
    if (wrong > 0 || (deduplicated && std::abs(of_plan - 1) > 0.05)) good = false;
    const double share = static_cast<double>(settings.rounds) * group.size();
    const double dispatch_ms = sum_of(group, one.waits.dispatch_ms) / share;
    const double rows_ms = sum_of(group, one.waits.rows_ms) / share;
    const double collect_ms = sum_of(group, one.waits.collect_ms) / share;
    if (group.rank() != 0) continue;
    std::printf("%-26s %9.2f %9.2f %9.2f %9.2f %12.0f %8.3f %6.0f  %.1f %.1f %.1f\n",
                one.name.c_str(), median(one.ms), *std::ranges::min_element(one.ms),
                *std::ranges::max_element(one.ms), median(contenders[0].ms) / median(one.ms),
                one.counted_bytes / settings.rounds, of_plan, wrong, dispatch_ms, rows_ms,
                collect_ms);
  }
  return settings.check && !good ? 1 : 0;
}
}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  const switchyard::comm::Environment environment;
  try {
    const auto group = switchyard::comm::MpiGroup::world();
    return switchyard::bench(*group, switchyard::settings_from(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "cross_bench: " << error.what() << std::endl;
    switchyard::comm::Environment::abort(70);
  }
}
