// SPDX-License-Identifier: Apache-2.0
#include "runtime/report/trace_file.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <type_traits>
#include <unistd.h>
#include <vector>

#include "comm/group/collective.hpp"

namespace switchyard::runtime {
namespace {
/// An event as it travels: times on rank 0's clock, names as numbers of the rank's own list.
struct Record {
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
  std::int64_t a = -1;
  std::int64_t b = -1;
  std::int32_t step = -1;
  std::int32_t layer = -1;
  std::int32_t lane = 0;
  std::int32_t kind = 0;
  std::int32_t name = 0;
  std::int32_t detail = 0;
  std::int64_t reserved = 0;
};
static_assert(sizeof(Record) == 64 && std::is_trivially_copyable_v<Record>);

/// What a rank says about itself ahead of its events.
struct RankHeader {
  std::array<char, 64> host{};
  std::int64_t offset_ns = 0;
  std::int64_t error_ns = 0;
  std::int64_t events = 0;
  std::int64_t dropped = 0;
  std::int64_t first_ns = 0;  ///< earliest begin; of no events the largest number there is
  std::int64_t lanes = 0;
};

/// This rank's events, ready to travel.
struct Packed {
  RankHeader header;
  std::vector<Record> records;  ///< by lane, and in each by time, what encloses first
  std::string names;            ///< each ends with a zero
};

class NameList {
 public:
  std::int32_t number(std::string_view name) {
    const auto found = std::ranges::find(names_, name);
    if (found != names_.end()) return static_cast<std::int32_t>(found - names_.begin());
    names_.emplace_back(name);
    return static_cast<std::int32_t>(names_.size() - 1);
  }
  [[nodiscard]] std::string joined() const {
    std::string all;
    for (const std::string_view name : names_) all.append(name).push_back('\0');
    return all;
  }

 private:
  std::vector<std::string_view> names_;  ///< a dozen: searched in a line
};

Packed pack(const Timeline& timeline, const comm::AlignedClock& clock) {
  Packed packed;
  NameList names;
  for (int lane = 0; lane < timeline.threads(); ++lane) {
    for (const TimelineEvent& event : timeline.events(lane)) {
      packed.records.push_back({.begin_ns = clock.root_ns(event.begin),
                                .end_ns = clock.root_ns(event.end),
                                .a = event.a,
                                .b = event.b,
                                .step = event.step,
                                .layer = event.layer,
                                .lane = lane,
                                .kind = static_cast<std::int32_t>(event.kind),
                                .name = names.number(event.name),
                                .detail = names.number(event.detail)});
    }
  }
  std::ranges::stable_sort(packed.records, {}, [](const Record& r) {
    return std::tuple(r.lane, r.begin_ns, -r.end_ns, r.kind);
  });
  packed.names = names.joined();
  RankHeader& header = packed.header;
  ::gethostname(header.host.data(), header.host.size() - 1);
  header.offset_ns = clock.offset_ns();
  header.error_ns = clock.error_ns();
  header.events = static_cast<std::int64_t>(packed.records.size());
  header.dropped = timeline.dropped();
  header.lanes = timeline.threads();
  header.first_ns = std::numeric_limits<std::int64_t>::max();
  for (const Record& r : packed.records) header.first_ns = std::min(header.first_ns, r.begin_ns);
  return packed;
}

std::string quoted(const std::string& text) {
  // A host may be called anything; replaced rather than refused.
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

/// Text in pieces, so that neither a small event is a write nor the file a string.
class Out {
 public:
  explicit Out(const std::function<void(std::string_view)>& sink) : sink_(sink) {}
  template <class... Values>
  void add(const char* format, Values... values) {
    std::array<char, 512> text{};
    const int length = std::snprintf(text.data(), text.size(), format, values...);
    add(std::string_view(text.data(), static_cast<std::size_t>(std::max(length, 0))));
  }
  void add(std::string_view text) {
    text_ += text;
    if (text_.size() > kPiece) flush();
  }
  /// Microseconds with their nanoseconds, exactly.
  void add_us(const char* key, std::int64_t ns) {
    const char* const sign = ns < 0 ? "-" : "";
    const long long size = ns < 0 ? -ns : ns;
    add(",\"%s\":%s%lld.%03lld", key, sign, size / 1000, size % 1000);
  }
  void flush() {
    if (!text_.empty()) sink_(text_);
    text_.clear();
  }

 private:
  static constexpr std::size_t kPiece = std::size_t{1} << 20;
  const std::function<void(std::string_view)>& sink_;
  std::string text_;
};

/// "expert 12", and "expert 12, first half" of an "expert, first half".
std::string task_title(std::string name, long long expert) {
  if (expert < 0) return name;
  return name.insert(std::min(name.find(','), name.size()), " " + std::to_string(expert));
}

/// What rank 0 knows of a rank while it writes its events.
struct Writer {
  Out& out;
  int rank = 0;
  std::int64_t origin_ns = 0;
  std::vector<std::string> names;

  void start(const char* phase, const Record& record, const std::string& name) const {
    out.add(",\n{\"ph\":\"%s\",\"pid\":%d,\"tid\":%d,\"name\":%s", phase, rank, record.lane,
            quoted(name).c_str());
    out.add_us("ts", record.begin_ns - origin_ns);
  }
  [[nodiscard]] const std::string& name(std::int32_t number) const {
    return names.at(static_cast<std::size_t>(number));
  }

  void span(const Record& record, const std::string& title, const char* category) const {
    start("X", record, title);
    out.add_us("dur", std::max<std::int64_t>(record.end_ns - record.begin_ns, 0));
    out.add(",\"cat\":\"%s\",\"args\":{", category);
  }
  /// Ends the arguments.
  void place(const Record& record) const {
    if (record.step >= 0) out.add("\"step\":%d,", record.step);
    if (record.layer >= 0) out.add("\"layer\":%d,", record.layer);
    out.add("\"rank\":%d}}", rank);
  }

  void write(const Record& record) const {
    const auto a = static_cast<long long>(record.a);
    switch (static_cast<EventKind>(record.kind)) {
      case EventKind::kStep:
        span(record, "step " + std::to_string(record.step), "step");
        return place(record);
      case EventKind::kLayer:
        span(record, "layer " + std::to_string(record.layer), "layer");
        return place(record);
      case EventKind::kPhase:
        span(record, name(record.name), "phase");
        return place(record);
      case EventKind::kWait:
        span(record, "wait for " + (a >= 0 ? "rank " + std::to_string(a) : name(record.detail)),
             "wait");
        out.add("\"phase\":%s,\"for\":%s,", quoted(name(record.name)).c_str(),
                quoted(name(record.detail)).c_str());
        if (a >= 0) out.add("\"last_rank\":%lld,", a);
        return place(record);
      case EventKind::kTask:
        span(record, task_title(name(record.name), a), "task");
        if (a >= 0) out.add("\"expert\":%lld,", a);
        out.add("\"rows\":%lld,\"thread\":%d,", static_cast<long long>(record.b), record.lane);
        return place(record);
      case EventKind::kCounter:
        start("C", record, name(record.name));
        return out.add(",\"args\":{\"value\":%lld}}", a);
    }
  }
};

void write_head(Out& out, const std::vector<RankHeader>& headers, const TraceSummary& summary) {
  out.add("{\"displayTimeUnit\":\"ms\",\n\"otherData\":{\"program\":\"switchyard\",\"ranks\":%zu,",
          headers.size());
  out.add("\"events\":%lld,\"dropped_events\":%lld", static_cast<long long>(summary.events),
          static_cast<long long>(summary.dropped));
  out.add_us("clock_error_us", summary.clock_error_ns);
  out.add(",\n\"per_rank\":[");
  for (std::size_t r = 0; r < headers.size(); ++r) {
    const RankHeader& rank = headers[r];
    out.add("%s\n{\"rank\":%zu,\"host\":%s", r == 0 ? "" : ",", r,
            quoted(rank.host.data()).c_str());
    out.add_us("clock_offset_us", rank.offset_ns);
    out.add_us("clock_error_us", rank.error_ns);
    out.add(",\"events\":%lld,\"dropped_events\":%lld}", static_cast<long long>(rank.events),
            static_cast<long long>(rank.dropped));
  }
  out.add("]},\n\"traceEvents\":[\n");
  for (std::size_t r = 0; r < headers.size(); ++r) {
    const std::string process =
        "rank " + std::to_string(r) + " (" + std::string(headers[r].host.data()) + ")";
    out.add("%s{\"ph\":\"M\",\"pid\":%zu,\"tid\":0,\"name\":\"process_name\",", r == 0 ? "" : ",\n",
            r);
    out.add("\"args\":{\"name\":%s}},\n", quoted(process).c_str());
    out.add("{\"ph\":\"M\",\"pid\":%zu,\"tid\":0,\"name\":\"process_sort_index\",", r);
    out.add("\"args\":{\"sort_index\":%zu}}", r);
    for (std::int64_t lane = 0; lane < headers[r].lanes; ++lane) {
      out.add(",\n{\"ph\":\"M\",\"pid\":%zu,\"tid\":%lld,\"name\":\"thread_name\",", r,
              static_cast<long long>(lane));
      out.add("\"args\":{\"name\":\"%s\"}}",
              lane == 0 ? "coordinator" : ("worker " + std::to_string(lane)).c_str());
    }
  }
}

std::vector<std::string> split(std::span<const std::byte> joined) {
  std::vector<std::string> names(1);
  for (const std::byte byte : joined) {
    if (byte == std::byte{0}) {
      names.emplace_back();
    } else {
      names.back().push_back(static_cast<char>(byte));
    }
  }
  return names;
}

/// Over all ranks, and when the first event began.
struct Whole {
  TraceSummary summary;
  std::int64_t origin_ns = std::numeric_limits<std::int64_t>::max();
};

Whole sum_up(const std::vector<RankHeader>& headers) {
  Whole whole;
  for (const RankHeader& rank : headers) {
    whole.summary.events += rank.events;
    whole.summary.dropped += rank.dropped;
    whole.summary.clock_error_ns = std::max(whole.summary.clock_error_ns, rank.error_ns);
    whole.origin_ns = std::min(whole.origin_ns, rank.first_ns);
  }
  return whole;
}

void write_tail(Out& out) {
  out.add("\n]}\n");
  out.flush();
}
}  // namespace

TraceSummary write_trace(comm::Group& group, const Timeline& timeline,
                         const comm::AlignedClock& clock,
                         const std::function<void(std::string_view)>& sink) {
  const Packed mine = pack(timeline, clock);
  std::vector<RankHeader> headers;
  for (const auto& rank : comm::allgather_values<RankHeader>(group, std::span(&mine.header, 1))) {
    headers.push_back(rank[0]);
  }
  const Whole whole = sum_up(headers);
  const auto names = comm::gather(group, std::as_bytes(std::span(mine.names)));
  Out out(sink);
  if (group.rank() == 0) write_head(out, headers, whole.summary);
  Writer writer{.out = out, .origin_ns = whole.origin_ns, .names = {}};
  int named = -1;
  comm::stream_to_root(group, std::as_bytes(std::span(mine.records)),
                       [&](int rank, std::span<const std::byte> bytes) {
                         if (rank != named) {
                           writer.names = split(names[static_cast<std::size_t>(rank)]);
                         }
                         writer.rank = named = rank;
                         for (; bytes.size() >= sizeof(Record);
                              bytes = bytes.subspan(sizeof(Record))) {
                           Record record;
                           std::memcpy(&record, bytes.data(), sizeof record);
                           writer.write(record);
                         }
                       });
  if (group.rank() == 0) write_tail(out);
  return whole.summary;
}

TraceSummary write_trace(const std::vector<std::unique_ptr<Timeline>>& ranks,
                         const std::function<void(std::string_view)>& sink) {
  const comm::AlignedClock clock;
  std::vector<RankHeader> headers;
  for (const auto& timeline : ranks) headers.push_back(pack(*timeline, clock).header);
  const Whole whole = sum_up(headers);
  Out out(sink);
  write_head(out, headers, whole.summary);
  Writer writer{.out = out, .origin_ns = whole.origin_ns, .names = {}};
  for (const auto& timeline : ranks) {
    const Packed packed = pack(*timeline, clock);
    writer.names = split(std::as_bytes(std::span(packed.names)));
    for (const Record& record : packed.records) writer.write(record);
    ++writer.rank;
  }
  write_tail(out);
  return whole.summary;
}

TraceRecorder::TraceRecorder(comm::Group& group, int threads, std::int64_t events) : group_(group) {
  if (events > 0) timeline_.emplace(threads, events);
}

TraceRecorder::~TraceRecorder() {
  if (timeline_ && group_.deadline().recorder() == &*timeline_) group_.deadline().record(nullptr);
}

void TraceRecorder::start() {
  if (!timeline_) return;
  clock_.measure(group_);
  timeline_->clear();
  group_.deadline().record(&*timeline_);
}

TraceSummary TraceRecorder::finish(const std::function<void(std::string_view)>& sink) {
  if (!timeline_) return {};
  group_.deadline().record(nullptr);
  clock_.measure(group_);
  return write_trace(group_, *timeline_, clock_, sink);
}
}  // namespace switchyard::runtime
