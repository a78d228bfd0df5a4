// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/calibrate.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "comm/group/collective.hpp"
#include "experts/index.hpp"
#include "runtime/bench/timing.hpp"

namespace switchyard::runtime {
namespace {
using bench::Stopwatch;
constexpr std::int64_t kShortest = 64;
constexpr int kFewest = 5;  // repetitions of a size
constexpr int kMostOften = 200;
constexpr int kBurst = 32;  // messages, to find what one costs a processor
// From here on messages are exchanged too, in so many rounds that are not counted and at most so
// many that are.
constexpr std::int64_t kExchanged = 64 << 10;
constexpr int kFirstRounds = 3;
constexpr int kMostRounds = 32;
// Between two messages, for a link that lets bursts pass: 64 KiB at 26 Mbit/s.
constexpr double kPause = 0.02;

/// Two ranks and their buffers; the others stand aside.
class Pair {
 public:
  Pair(comm::Group& group, comm::Channel channel, int low, int high)
      : group_(group), channel_(channel), low_(low), high_(high) {}

  [[nodiscard]] bool mine() const { return group_.rank() == low_ || group_.rank() == high_; }
  [[nodiscard]] int other() const { return group_.rank() == low_ ? high_ : low_; }

  /// Seconds one way; 0 on the rank that answers.
  double ping_pong(std::int64_t bytes) {
    const Stopwatch pause;
    while (group_.rank() == low_ && pause.seconds() < kPause) {
    }
    const Stopwatch watch;
    if (group_.rank() == low_) {
      send(bytes);
      receive(bytes);
      return watch.seconds() / 2;
    }
    receive(bytes);
    send(bytes);
    return 0;
  }

  /// Seconds a round, in the mean: no round waits for anything but the one before.
  double exchange(std::int64_t bytes, int rounds) {
    Stopwatch watch;
    for (int round = -kFirstRounds; round < rounds; ++round) {
      if (round == 0) watch = {};
      std::array messages{group_.receive(other(), channel_, take(in_, bytes), one(bytes)),
                          group_.send(other(), channel_, take(out_, bytes), one(bytes))};
      group_.wait_all(messages);
      in_ = messages[0].take();
      out_ = messages[1].take();
    }
    return watch.seconds() / rounds;
  }

  /// One rank sends many messages, the other answers when all are there.
  double stream(std::int64_t bytes, int count) {
    std::vector<comm::Buffer> buffers;
    for (int i = 0; i < count; ++i) {
      buffers.emplace_back(at(bytes));
      std::ranges::fill(buffers.back().bytes(), std::byte{1});
    }
    const Stopwatch watch;
    std::vector<comm::Pending> messages;
    for (comm::Buffer& buffer : buffers) {
      messages.push_back(group_.rank() == low_
                             ? group_.send(high_, channel_, std::move(buffer), one(bytes))
                             : group_.receive(low_, channel_, std::move(buffer), one(bytes)));
    }
    group_.wait_all(messages);
    if (group_.rank() == low_) {
      receive(kShortest);
    } else {
      send(kShortest);
    }
    return watch.seconds();
  }

 private:
  static comm::Extent one(std::int64_t bytes) { return {.row_bytes = 1, .rows = bytes}; }
  static comm::Buffer take(comm::Buffer& buffer, std::int64_t bytes) {
    if (buffer.size() < at(bytes)) {
      buffer.resize(at(bytes));
      std::ranges::fill(buffer.bytes(), std::byte{1});
    }
    return std::move(buffer);
  }
  void send(std::int64_t bytes) {
    auto message = group_.send(other(), channel_, take(out_, bytes), one(bytes));
    group_.wait(message);
    out_ = message.take();
  }
  void receive(std::int64_t bytes) {
    auto message = group_.receive(other(), channel_, take(in_, bytes), one(bytes));
    group_.wait(message);
    in_ = message.take();
  }

  comm::Group& group_;
  comm::Channel channel_;
  int low_, high_;
  comm::Buffer in_, out_;
};

/// The largest of all ranks: those that stood aside have 0.
double agreed(comm::Group& group, double mine) {
  double most = 0;
  for (const auto& one : comm::allgather_values<double>(group, {&mine, 1})) {
    most = std::max(most, one[0]);
  }
  return most;
}

/// The lower quarter of as many repetitions as the time allows: what others do to the machine only
/// ever makes them longer. The same on all ranks.
/// @param pause  seconds between two
template <class Once>
double repeated(comm::Group& group, bool mine, double seconds, Once&& once, double pause = 0) {
  double first = 0;
  if (mine) first = once();
  if (mine) first = once();  // the first one connected
  first = agreed(group, first);
  const auto often =
      std::clamp(static_cast<int>(seconds / std::max(first + pause, 1e-7)), kFewest, kMostOften);
  std::vector<double> times;
  for (int i = 0; i < often && mine; ++i) times.push_back(once());
  std::ranges::sort(times);
  return agreed(group, mine ? times[times.size() / 4] : 0);
}

struct TierTimes {
  std::vector<MessageTime> sizes;
  double message_s = 0;
};

/// @param wire  between nodes: a stream shows what a limited link gives in the long run. In memory
/// it
///              would show which of its buffers are in a cache.
TierTimes measure_pair(comm::Group& group, int low, int high, bool wire,
                       const CalibrateSettings& settings) {
  Pair pair(group, group.new_channel(), low, high);
  const auto measure = [&](auto&& once, double pause = 0) {
    return repeated(group, pair.mine(), settings.seconds, once, pause);
  };
  /// Of one more message of so many that follow each other.
  const auto each = [&](std::int64_t bytes, int few, int many) {
    const double all = measure([&] { return pair.stream(bytes, many); });
    const double some = measure([&] { return pair.stream(bytes, few); });
    return std::max(0.0, (all - some) / (many - few));
  };
  TierTimes times;
  const std::int64_t most = settings.most_bytes > 0 ? settings.most_bytes : std::int64_t{4} << 20U;
  for (std::int64_t bytes = kShortest; bytes <= most; bytes *= bytes < kExchanged ? 4 : 2) {
    MessageTime& time = times.sizes.emplace_back();
    time.bytes = bytes;
    time.one_way_s = measure([&] { return pair.ping_pong(bytes); }, kPause);
    if (bytes >= kExchanged || bytes * 4 > most) {
      const int rounds = std::clamp(
          static_cast<int>(2 * settings.seconds / std::max(time.one_way_s, 1e-7)), 4, kMostRounds);
      time.exchange_s = agreed(group, pair.mine() ? pair.exchange(bytes, rounds) : 0);
    }
    if (times.sizes.size() >= 3 && time.one_way_s > settings.seconds) break;  // slow enough to fit
  }
  if (wire) times.sizes.back().stream_s = each(times.sizes.back().bytes, 2, 6);
  times.message_s = each(kShortest, 1, kBurst);
  return times;
}

/// Every rank of `ranks` sends each other one so many bytes at once; seconds of the slowest.
double flood(comm::Group& group, const std::vector<int>& ranks, std::int64_t bytes,
             double seconds) {
  const comm::Channel channel = group.new_channel();
  const bool mine = std::ranges::find(ranks, group.rank()) != ranks.end();
  const comm::Extent extent{.row_bytes = 1, .rows = bytes};
  return repeated(group, mine, seconds, [&] {
    std::vector<comm::Pending> messages;
    std::vector<comm::Buffer> out;
    for (const int rank : ranks) {
      if (rank == group.rank()) continue;
      comm::Buffer in(at(bytes));
      out.emplace_back(at(bytes));
      std::ranges::fill(in.bytes(), std::byte{1});
      std::ranges::fill(out.back().bytes(), std::byte{1});
      messages.push_back(group.receive(rank, channel, std::move(in), extent));
    }
    const Stopwatch watch;
    auto next = out.begin();
    for (const int rank : ranks) {
      if (rank != group.rank())
        messages.push_back(group.send(rank, channel, std::move(*next++), extent));
    }
    group.wait_all(messages);
    return watch.seconds();
  });
}

/// A size whose time is that of its bytes and not of its latency, but no longer than need be.
std::int64_t flood_bytes(const std::vector<MessageTime>& times) {
  for (const MessageTime& time : times) {
    if (time.one_way_s > 20 * times.front().one_way_s) return time.bytes;
  }
  return times.back().bytes;
}

void append(std::vector<Residual>& all, std::vector<Residual> more) {
  all.insert(all.end(), more.begin(), more.end());
}

/// Ranks of one node: two of them, then all at once.
void measure_inside(comm::Group& group, const CalibrateSettings& settings,
                    const std::vector<int>& ranks, Calibration& result) {
  const TierTimes times = measure_pair(group, ranks[0], ranks[1], false, settings);
  TierCost cost = fit_tier(times.sizes);
  cost.message_s = times.message_s;
  append(result.residuals, residuals_of(times.sizes, cost, "node"));
  result.exchange_ratio = cost.half_duplex ? 2 : cost.exchange_ratio;
  cost.exchange_ratio = 1;  // copies share memory, which has a figure of its own
  if (ranks.size() > 2) {
    const std::int64_t bytes = flood_bytes(times.sizes);
    const double seconds = flood(group, ranks, bytes, settings.seconds);
    const auto mates = static_cast<double>(ranks.size() - 1);
    const double sent = mates * static_cast<double>(bytes);
    const double both = cost.half_duplex ? 2 : 1;
    const double alone = cost.latency_of(bytes) + both * sent / cost.bandwidth_of(bytes);
    const bool shared = seconds > (1 + kStepError) * alone;
    if (shared) {
      cost.total_bytes_per_s = sent * (mates + 1) / (seconds - cost.latency_of(bytes));
    }
    result.residuals.push_back({"node, all to all of " + std::to_string(bytes) + " bytes", seconds,
                                shared ? seconds : alone, shared});
  }
  // The node is one socket here, so its inside is that of the socket; who shares a core is not
  // known.
  for (std::size_t tier = 0; tier < 3; ++tier) result.machine.tiers[tier] = cost;
  result.machine.tiers[0].total_bytes_per_s = 0;
}

/// The first ranks of two nodes, then the first of every node at once.
void measure_outside(comm::Group& group, const CalibrateSettings& settings,
                     const comm::NodeMap& map, Calibration& result) {
  const TierTimes times =
      measure_pair(group, map.ranks_of[0].front(), map.ranks_of[1].front(), true, settings);
  TierCost cost = fit_tier(times.sizes);
  cost.message_s = times.message_s;
  append(result.residuals, residuals_of(times.sizes, cost, "rack"));
  result.machine.tiers[3] = cost;
  result.machine.tiers[4] = {.bytes_per_s = cost.bytes_per_s, .half_duplex = cost.half_duplex};
  result.exchange_ratio = cost.half_duplex ? 2 : cost.exchange_ratio;
  if (map.nodes < 3) return;
  std::vector<int> ranks;
  for (const auto& node : map.ranks_of) ranks.push_back(node.front());
  const std::int64_t bytes = flood_bytes(times.sizes);
  const double sent = static_cast<double>(bytes) * (map.nodes - 1);
  const double shared = cost.both_bytes_per_s(map.nodes - 1);
  const double both = cost.half_duplex ? 2 : shared > 0 ? 2 * cost.bytes_per_s / shared : 1;
  result.residuals.push_back({"rack, all to all of " + std::to_string(bytes) + " bytes",
                              flood(group, ranks, bytes, settings.seconds),
                              cost.latency_of(bytes) + both * sent / cost.bandwidth_of(bytes),
                              false});
}

/// Points of the shape, and from them what holds for any: operations from the most rows, reading
/// from the fewest.
void measure_kernels(comm::Group& group, const bench::FfnSettings& settings, Calibration& result) {
  const bench::FfnReport report = bench::bench_ffn(group, settings);
  std::map<experts::DType, std::vector<const bench::FfnResult*>> of_type;
  for (const auto& row : report.results) of_type[row.weights].push_back(&row);
  for (auto& [type, rows] : of_type) {
    std::ranges::sort(rows, {}, [](const auto* row) { return row->rows; });
    KernelRate shape{
        .type = type, .hidden = settings.expert.hidden, .width = settings.expert.width};
    for (const auto* row : rows) shape.points.push_back({row->rows, 1e-6 * row->cpu_us_median});
    const double weights = 3.0 * static_cast<double>(shape.hidden * shape.width);
    const auto& few = shape.points.front();
    const auto& many = shape.points.back();
    KernelRate any{.type = type};
    any.flops_per_s = 2 * weights * static_cast<double>(many.rows) / many.seconds;
    any.bytes_per_s =
        static_cast<double>(experts::bytes_of(type, 3 * shape.hidden * shape.width)) / few.seconds;
    result.machine.rates.push_back(any);
    for (const auto& point : shape.points) {
      const bool used = &point == &few || &point == &many;
      result.residuals.push_back(
          {std::string(experts::name_of(type)) + " expert, " + std::to_string(point.rows) +
               " rows by the rate of any shape",
           point.seconds,
           result.machine.expert_seconds(type, shape.hidden, shape.width, point.rows), used});
    }
    result.machine.rates.push_back(std::move(shape));
  }
}
}  // namespace

Calibration calibrate(comm::Group& group, const CalibrateSettings& settings,
                      const std::function<void(std::string)>& progress) {
  const auto say = [&](const std::string& what) {
    if (progress) progress(what);
  };
  const comm::NodeMap& map = group.nodes();
  Calibration result;
  Machine& machine = result.machine;
  machine.name = settings.name;
  machine.source = settings.source;
  machine.nodes = map.nodes;
  machine.processors = settings.processors;
  std::size_t largest = 0;
  for (std::size_t node = 0; node < map.ranks_of.size(); ++node) {
    if (map.ranks_of[node].size() > map.ranks_of[largest].size()) largest = node;
  }
  machine.ranks_per_node = static_cast<int>(map.ranks_of[largest].size());
  machine.cores_per_node = std::max(1, group.processors());
  for (TierCost& cost : machine.tiers) cost.bytes_per_s = 1e18;  // where nobody can measure
  if (machine.ranks_per_node > 1) {
    say("messages inside a node");
    measure_inside(group, settings, map.ranks_of[largest], result);
  }
  if (machine.nodes > 1) {
    say("messages between nodes");
    measure_outside(group, settings, map, result);
  }
  if (!settings.kernels.rows.empty()) {
    say("experts");
    measure_kernels(group, settings.kernels, result);
  }
  // What rank 0 measured is what all know: processor times differ.
  const std::string mine = to_text(machine);
  const auto bytes = comm::broadcast(group, std::as_bytes(std::span(mine)));
  std::string text(bytes.size(), ' ');
  std::ranges::transform(bytes, text.begin(),
                         [](std::byte byte) { return static_cast<char>(byte); });
  machine = machine_from_text(text, settings.name);
  return result;
}
}  // namespace switchyard::runtime
