// SPDX-License-Identifier: Apache-2.0
// Routing traces, and what they are made from.
#include <vector>

#include "comm/base/crc32c.hpp"
#include "runtime/trace/format.hpp"
#include "runtime/trace/import.hpp"
#include "runtime/trace/load_table.hpp"
#include "runtime/trace/reader.hpp"
#include "tests/fuzz/targets.hpp"

namespace switchyard::fuzz {
namespace {
template <class Number>
Number number_at(const std::vector<std::byte>& bytes, std::size_t place) {
  Number value{};
  std::memcpy(&value, bytes.data() + place, sizeof value);
  return value;
}

/// The checksum of [begin, end) at `place`.
std::uint32_t sum(std::vector<std::byte>& bytes, std::size_t begin, std::size_t end,
                  std::size_t place) {
  const std::uint32_t value = comm::crc32c(Bytes(bytes).subspan(begin, end - begin));
  std::memcpy(bytes.data() + place, &value, sizeof value);
  return value;
}

/// A trace with all checksums set right as far as its frames go, so that what they cover is
/// reached.
std::vector<std::byte> mended(Bytes given) {
  std::vector<std::byte> bytes(given.begin(), given.end());
  if (bytes.size() < 16) return bytes;
  std::size_t at = runtime::kTraceHead + number_at<std::uint32_t>(bytes, 8);
  if (at > bytes.size() - 4) return bytes;
  sum(bytes, 0, at, at);
  at += 4;
  std::uint32_t content = comm::crc32c(Bytes(bytes).first(at));
  while (at + runtime::kTraceFrame <= bytes.size() &&
         std::memcmp(bytes.data() + at, "SYFR", 4) == 0) {
    const auto stored = number_at<std::uint64_t>(bytes, at + 32);
    if (stored > bytes.size() - at - runtime::kTraceFrame) return bytes;
    const std::size_t payload = at + runtime::kTraceFrame;
    sum(bytes, payload, payload + stored, at + 40);
    sum(bytes, at, at + 44, at + 44);
    content = comm::crc32c(Bytes(bytes).subspan(at, runtime::kTraceFrame), content);
    at = payload + stored;
  }
  if (bytes.size() - at < runtime::kTraceTrailer) return bytes;
  std::memcpy(bytes.data() + at + 24, &content, sizeof content);
  sum(bytes, at, at + 28, at + 28);
  return bytes;
}
}  // namespace

/// First byte odd: with all checksums right.
void routing_trace(Bytes bytes) {
  Input input(bytes);
  const bool mend = input.number<std::uint8_t>() % 2 == 1;
  const MemoryFile file(mend ? Bytes(mended(input.rest())) : input.rest());
  may_refuse([&] {
    runtime::TraceReader trace(file.path());
    for (std::int64_t step = 0; step < trace.steps(); ++step) {
      for (const auto& layer : trace.read(step).layers) {
        require(!runtime::wrong_with(trace.info(), layer), "a layer that is not sound");
      }
    }
  });
}

/// First byte: which format.
void trace_text(Bytes bytes) {
  Input input(bytes);
  const int format = input.between(0, 2);
  const runtime::ImportSettings settings{.experts = 0, .top_k = 2, .model = ""};
  if (format == 2) {
    const MemoryFile file(input.rest());
    may_refuse([&] { runtime::import_megatron({file.path()}, {}, "/dev/null"); });
    return;
  }
  may_refuse([&] {
    const std::string text = input.text();
    const runtime::RoutingTrace trace =
        format == 0 ? runtime::trace_of(runtime::parse_load_table(text, "fuzz"), 4)
                    : runtime::import_sglang(text, "fuzz", settings);
    for (const auto& step : trace.steps) {
      for (const auto& layer : step.layers) {
        if (format == 1)
          require(!runtime::wrong_with(trace.info, layer), "a layer that is not sound");
      }
    }
  });
}
}  // namespace switchyard::fuzz
