// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace/payload.hpp"

#include <cstring>
#include <new>
#include <stdexcept>
#include <zlib.h>

#include "experts/index.hpp"
#include "runtime/trace/format.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::uint16_t kNone = 65535;
constexpr int kLevel = 6;  // of zlib: part of what makes two files of one trace the same

/// Appends the lowest byte of every value, then the next one of every value, and so on.
template <class Stored, class Value, class Convert>
void put_planes(std::string& bytes, const std::vector<Value>& values, Convert&& convert) {
  const std::size_t begin = bytes.size();
  const std::size_t count = values.size();
  bytes.resize(begin + count * sizeof(Stored));
  for (std::size_t i = 0; i < count; ++i) {
    const Stored value = convert(values[i]);
    char each[sizeof(Stored)];
    std::memcpy(each, &value, sizeof value);
    for (std::size_t b = 0; b < sizeof value; ++b) bytes[begin + b * count + i] = each[b];
  }
}

/// The other way round. @param begin  moves on behind them
template <class Stored, class Value, class Convert>
void take_planes(const std::string& bytes, std::size_t& begin, std::size_t count,
                 std::vector<Value>& values, Convert&& convert) {
  values.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    char each[sizeof(Stored)];
    for (std::size_t b = 0; b < sizeof(Stored); ++b) each[b] = bytes[begin + b * count + i];
    Stored value{};
    std::memcpy(&value, each, sizeof value);
    values[i] = convert(value);
  }
  begin += count * sizeof(Stored);
}
}  // namespace

std::optional<std::int64_t> payload_bytes(const TraceInfo& info, std::int64_t tokens) {
  if (info.detail == TraceDetail::kCounts)
    return info.experts * std::int64_t{sizeof(std::uint64_t)};
  const std::int64_t token = info.top_k * (info.detail == TraceDetail::kWeights ? 6 : 2);
  if (tokens > kMostTracePayload / token) return std::nullopt;
  return tokens * token;
}

std::string payload_of(const TraceInfo& info, const TraceLayer& layer) {
  if (!payload_bytes(info, layer.tokens)) {
    throw std::invalid_argument("trace: " + std::to_string(layer.tokens) + " tokens of " +
                                std::to_string(info.top_k) + " slots in one step, want at most " +
                                std::to_string(kMostTracePayload) + " bytes of them");
  }
  std::string bytes;
  if (info.detail == TraceDetail::kCounts) {
    put_planes<std::uint64_t>(bytes, layer.counts,
                              [](std::int64_t count) { return static_cast<std::uint64_t>(count); });
    return bytes;
  }
  put_planes<std::uint16_t>(bytes, layer.chosen, [](std::int32_t expert) {
    return expert < 0 ? kNone : static_cast<std::uint16_t>(expert);
  });
  if (info.detail == TraceDetail::kWeights) {
    put_planes<float>(bytes, layer.weights, [](float weight) { return weight; });
  }
  return bytes;
}

TraceLayer layer_of(const TraceInfo& info, std::int64_t tokens, const std::string& payload) {
  TraceLayer layer;
  layer.tokens = tokens;
  std::size_t begin = 0;
  if (info.detail == TraceDetail::kCounts) {
    take_planes<std::uint64_t>(
        payload, begin, at(info.experts), layer.counts,
        [](std::uint64_t count) { return static_cast<std::int64_t>(count); });
    return layer;
  }
  const std::size_t slots = at(tokens * info.top_k);
  std::int32_t beyond = kNoExpert;  // an id that is none: nothing may count by it
  take_planes<std::uint16_t>(payload, begin, slots, layer.chosen, [&](std::uint16_t expert) {
    if (expert == kNone) return kNoExpert;
    if (expert >= info.experts) beyond = expert;
    return static_cast<std::int32_t>(expert);
  });
  if (info.detail == TraceDetail::kWeights) {
    take_planes<float>(payload, begin, slots, layer.weights, [](float weight) { return weight; });
  }
  layer.counts = beyond == kNoExpert ? counts_of(layer.chosen, info.experts)
                                     : std::vector<std::int64_t>(at(info.experts));
  return layer;
}

std::string deflated(const std::string& payload) {
  uLongf size = ::compressBound(static_cast<uLong>(payload.size()));
  std::string stored(size, '\0');
  if (::compress2(reinterpret_cast<Bytef*>(stored.data()), &size,
                  reinterpret_cast<const Bytef*>(payload.data()),
                  static_cast<uLong>(payload.size()), kLevel) != Z_OK) {
    throw std::bad_alloc();
  }
  stored.resize(size);
  return stored;
}

std::optional<std::string> inflated(std::span<const std::byte> stored, std::int64_t bytes) {
  std::string payload(at(bytes) + 1, '\0');  // room for one too many, which gives it away
  uLongf size = static_cast<uLongf>(payload.size());
  uLong taken = static_cast<uLong>(stored.size());
  const int result = ::uncompress2(reinterpret_cast<Bytef*>(payload.data()), &size,
                                   reinterpret_cast<const Bytef*>(stored.data()), &taken);
  if (result == Z_MEM_ERROR) throw std::bad_alloc();
  if (result != Z_OK || size != static_cast<uLongf>(bytes) || taken != stored.size()) {
    return std::nullopt;
  }
  payload.resize(at(bytes));
  return payload;
}

std::int64_t most_inflated(std::int64_t stored) {
  return stored * 1032 + 64;  // a bit of deflate gives at most 129 bytes
}
}  // namespace switchyard::runtime
