// SPDX-License-Identifier: Apache-2.0
// Owns trace.proto: header, frames and trailer. What is inside a frame is in payload.cpp.
#include "runtime/trace/format.hpp"

#include <bit>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "comm/base/crc32c.hpp"
#include "runtime/trace/payload.hpp"
#include "runtime/trace/trace.pb.h"

namespace switchyard::runtime {
namespace {
static_assert(std::endian::native == std::endian::little);
constexpr char kHeadMagic[] = "SYTRAC01";
constexpr char kFrameMagic[] = "SYFR";
constexpr char kEndMagic[] = "SYTEND01";

template <class Number>
void put(std::string& bytes, Number value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class Number>
Number number_at(std::span<const std::byte> bytes, std::size_t place) {
  Number value{};
  std::memcpy(&value, bytes.data() + place, sizeof value);
  return value;
}

/// A count that may not be what a signed number holds: the largest one then, which is refused.
std::int64_t count_at(std::span<const std::byte> bytes, std::size_t place) {
  const auto value = number_at<std::uint64_t>(bytes, place);
  return value > (std::uint64_t{1} << 62U) ? std::int64_t{1} << 62
                                           : static_cast<std::int64_t>(value);
}

std::uint32_t sum_of(std::string_view bytes) {
  return comm::crc32c(std::as_bytes(std::span(bytes)));
}

bool begins_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

std::string hex(std::uint32_t value) {
  char text[16];
  std::snprintf(text, sizeof text, "%08x", value);
  return text;
}

/// The last four bytes are the checksum of those before.
void require_sum(std::span<const std::byte> bytes, std::string_view what, const TracePlace& place) {
  const std::size_t end = bytes.size() - 4;
  const auto want = number_at<std::uint32_t>(bytes, end);
  const std::uint32_t got = comm::crc32c(bytes.first(end));
  if (got == want) return;
  place.refuse(std::string(what) + " is damaged: checksum, got " + hex(got) + ", want " +
               hex(want));
}

trace::v1::Detail detail_of(TraceDetail detail) {
  switch (detail) {
    case TraceDetail::kCounts:
      return trace::v1::COUNTS;
    case TraceDetail::kExperts:
      return trace::v1::EXPERTS;
    case TraceDetail::kWeights:
      break;
  }
  return trace::v1::WEIGHTS;
}

TraceInfo info_of(const trace::v1::Header& message, const TracePlace& place) {
  TraceInfo info;
  info.layers = message.layers();
  info.experts = message.experts();
  info.top_k = message.top_k();
  info.layer_numbers.assign(message.layer_number().begin(), message.layer_number().end());
  info.model = message.model();
  info.provenance = message.provenance();
  switch (message.detail()) {
    case trace::v1::COUNTS:
      break;
    case trace::v1::EXPERTS:
      info.detail = TraceDetail::kExperts;
      break;
    case trace::v1::WEIGHTS:
      info.detail = TraceDetail::kWeights;
      break;
    default:
      place.refuse("detail, got " + std::to_string(message.detail()) + ", want 1 to 3");
  }
  if (const auto wrong = wrong_with(info)) place.refuse("header: " + *wrong);
  return info;
}
}  // namespace

void TracePlace::refuse(const std::string& what) const {
  throw std::invalid_argument(file + ": byte " + std::to_string(offset) + ": " + what);
}

std::string encode_trace_header(const TraceInfo& info) {
  if (const auto wrong = wrong_with(info)) throw std::invalid_argument("trace: " + *wrong);
  trace::v1::Header message;
  message.set_format_version(kTraceVersion);
  message.set_min_reader_version(kTraceVersion);
  message.set_detail(detail_of(info.detail));
  message.set_layers(static_cast<std::uint32_t>(info.layers));
  message.set_experts(static_cast<std::uint32_t>(info.experts));
  message.set_top_k(static_cast<std::uint32_t>(info.top_k));
  for (const std::int64_t number : info.layer_numbers) {
    message.add_layer_number(static_cast<std::uint32_t>(number));
  }
  message.set_model(info.model);
  message.set_provenance(info.provenance);
  const std::string body = message.SerializeAsString();
  if (std::ssize(body) > kMostTraceHeader) {
    throw std::invalid_argument("trace: header of " + std::to_string(body.size()) +
                                " bytes, want at most " + std::to_string(kMostTraceHeader));
  }
  std::string bytes(kHeadMagic);
  put(bytes, static_cast<std::uint32_t>(body.size()));
  bytes += body;
  put(bytes, sum_of(bytes));
  return bytes;
}

std::int64_t trace_header_length(std::span<const std::byte> head, std::int64_t file,
                                 const TracePlace& place) {
  if (!begins_with(head, kHeadMagic)) {
    place.refuse("got a file that does not begin with " + std::string(kHeadMagic) +
                 ", want a routing trace");
  }
  const std::int64_t length = number_at<std::uint32_t>(head, sizeof kHeadMagic - 1);
  const std::int64_t room = file - std::int64_t{kTraceHead + 4};
  if (length > kMostTraceHeader || length > room) {
    TracePlace{place.file, kTraceHead - 4}.refuse("header of " + std::to_string(length) +
                                                  " bytes, want at most " +
                                                  std::to_string(std::min(room, kMostTraceHeader)));
  }
  return length;
}

TraceInfo decode_trace_header(std::span<const std::byte> header, const TracePlace& place) {
  require_sum(header, "header", place);
  const auto body = header.subspan(kTraceHead, header.size() - kTraceHead - 4);
  trace::v1::Header message;
  const TracePlace inside{place.file, place.offset + std::int64_t{kTraceHead}};
  if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    inside.refuse("header, got bytes that are no message Header of trace.proto");
  }
  if (message.min_reader_version() > kTraceVersion) {
    inside.refuse("format version " + std::to_string(message.format_version()) +
                  ", whose readers have version " + std::to_string(message.min_reader_version()) +
                  " or later, want at most " + std::to_string(kTraceVersion) +
                  ": a newer switchyard wrote this");
  }
  return info_of(message, inside);
}

std::string encode_trace_layer(const TraceInfo& info, const TraceFrame& frame,
                               const TraceLayer& layer) {
  const std::string payload = payload_of(info, layer);
  const std::string stored = deflated(payload);
  std::string bytes(kFrameMagic);
  put(bytes, static_cast<std::uint32_t>(frame.layer));
  put(bytes, static_cast<std::uint64_t>(frame.step));
  put(bytes, static_cast<std::uint64_t>(layer.tokens));
  put(bytes, static_cast<std::uint64_t>(payload.size()));
  put(bytes, static_cast<std::uint64_t>(stored.size()));
  put(bytes, sum_of(stored));
  put(bytes, sum_of(bytes));
  return bytes + stored;
}

TraceFrame decode_trace_frame(std::span<const std::byte> bytes, const TraceInfo& info,
                              std::int64_t left, const TracePlace& place) {
  if (!begins_with(bytes, kFrameMagic)) {
    place.refuse("got neither a frame nor the trailer, want " + std::string(kFrameMagic) + " or " +
                 std::string(kEndMagic));
  }
  require_sum(bytes, "frame", place);
  TraceFrame frame;
  frame.layer = number_at<std::uint32_t>(bytes, 4);
  frame.step = count_at(bytes, 8);
  frame.tokens = count_at(bytes, 16);
  frame.payload = count_at(bytes, 24);
  frame.stored = count_at(bytes, 32);
  frame.checksum = number_at<std::uint32_t>(bytes, 40);
  const auto want = payload_bytes(info, frame.tokens);
  if (!want || frame.payload != *want) {
    place.refuse(
        "payload of " + std::to_string(frame.payload) + " bytes for " +
        std::to_string(frame.tokens) + " tokens, want " +
        (want ? std::to_string(*want)
              : "fewer tokens, of at most " + std::to_string(kMostTracePayload) + " bytes"));
  }
  if (frame.stored > left) {
    place.refuse("frame of " + std::to_string(frame.stored) + " stored bytes, want at most the " +
                 std::to_string(left) + " that the file has left: it has been cut");
  }
  if (frame.payload > most_inflated(frame.stored)) {
    place.refuse("payload of " + std::to_string(frame.payload) + " bytes stored in " +
                 std::to_string(frame.stored) + ", want at most " +
                 std::to_string(most_inflated(frame.stored)));
  }
  return frame;
}

TraceLayer decode_trace_layer(const TraceInfo& info, const TraceFrame& frame,
                              std::span<const std::byte> stored, const TracePlace& place) {
  const std::uint32_t got = comm::crc32c(stored);
  if (got != frame.checksum) {
    place.refuse("payload is damaged: checksum, got " + hex(got) + ", want " + hex(frame.checksum));
  }
  const auto payload = inflated(stored, frame.payload);
  if (!payload) place.refuse("payload, got bytes that are no zlib stream of the length given");
  TraceLayer layer = layer_of(info, frame.tokens, *payload);
  if (const auto wrong = wrong_with(info, layer)) {
    place.refuse("step " + std::to_string(frame.step) + ", layer " + std::to_string(frame.layer) +
                 ": " + *wrong);
  }
  return layer;
}

std::string encode_trace_trailer(const TraceTrailer& trailer) {
  std::string bytes(kEndMagic);
  put(bytes, static_cast<std::uint64_t>(trailer.steps));
  put(bytes, static_cast<std::uint64_t>(trailer.frames));
  put(bytes, trailer.content);
  put(bytes, sum_of(bytes));
  return bytes;
}

bool is_trace_trailer(std::span<const std::byte> bytes) {
  return begins_with(bytes, kEndMagic);
}

TraceTrailer decode_trace_trailer(std::span<const std::byte> bytes, const TracePlace& place) {
  require_sum(bytes, "trailer", place);
  return {.steps = count_at(bytes, 8),
          .frames = count_at(bytes, 16),
          .content = number_at<std::uint32_t>(bytes, 24)};
}
}  // namespace switchyard::runtime
