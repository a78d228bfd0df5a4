// SPDX-License-Identifier: Apache-2.0
#include "runtime/packing/packing.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <span>
#include <stdexcept>

#include "comm/group/collective.hpp"
#include "runtime/packing/pack_cache.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
/// Of the room that is left, what is packed ahead; the rest is for pages of the checkpoint.
constexpr std::int64_t kAheadParts = 7;
constexpr std::int64_t kAllParts = 8;

/// What has to fit for experts that are packed as they are needed, or mapped.
std::int64_t least(const PackRequest& request, const RankMemory& need) {
  const std::int64_t rooms = request.cached ? 1 : request.threads;
  return need.rest + rooms * need.expert;
}

/// Whether experts may be packed as they are needed, or are mapped.
bool may_wait(const PackRequest& request) {
  return request.cached || request.mode == PackMode::kLazy ||
         (request.mode == PackMode::kAuto && !request.made_up);
}

bool fits(const PackRequest& request, const RankMemory& need) {
  return need.rest + need.experts <= request.memory ||
         (may_wait(request) && least(request, need) <= request.memory);
}

/// The largest smaller type that fits, as "--weights fp8 (3.1 GiB)"; empty: none does.
std::string smaller_type(const PackRequest& request) {
  std::int64_t most = 0;
  std::string words;
  const RankMemory now = request.need(request.stored, request.ranks);
  for (const experts::DType type : experts::kAllDTypes) {
    const RankMemory need = request.need(type, request.ranks);
    if (need.experts >= now.experts || need.experts <= most || !fits(request, need)) continue;
    most = need.experts;
    const std::int64_t ahead = need.rest + need.experts;
    words = "--weights " + std::string(name_of(type)) + " (" +
            gibibytes(ahead <= request.memory ? ahead : least(request, need)) + ")";
  }
  return words;
}

/// The fewest nodes that fit, with as many ranks each: "4 times the nodes".
std::string more_nodes(const PackRequest& request) {
  constexpr int kMost = 64;
  for (int nodes = 2; nodes <= kMost; ++nodes) {
    const RankMemory need = request.need(request.stored, nodes * request.ranks);
    if (fits(request, need)) return std::to_string(nodes) + " times the nodes";
  }
  return {};
}

[[noreturn]] void refuse(const PackRequest& request, const RankMemory& need) {
  std::vector<std::string> choices;
  const auto add = [&](const std::string& choice) {
    if (!choice.empty()) choices.push_back(choice);
  };
  const bool lazily =
      request.mode != PackMode::kLazy && !request.cached && least(request, need) <= request.memory;
  add(smaller_type(request));
  add(more_nodes(request));
  if (lazily) add("--pack lazy (" + gibibytes(least(request, need)) + ")");
  add(request.otherwise);
  std::string words;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    words += (i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ") + choices[i];
  }
  const bool ahead = !may_wait(request);
  const std::int64_t experts = ahead ? need.experts : least(request, need) - need.rest;
  throw std::invalid_argument("memory: rank " + std::to_string(request.rank) + " needs " +
                              gibibytes(need.rest + experts) + " (" + gibibytes(experts) +
                              (ahead ? " of experts as " : " for one expert at a time as ") +
                              std::string(name_of(request.stored)) + ", " + gibibytes(need.rest) +
                              " of everything else), has " + gibibytes(request.memory) +
                              (words.empty() ? ", want more memory" : ": want " + words));
}
}  // namespace

std::string_view name_of(PackMode mode) {
  constexpr std::array<std::string_view, 3> kNames = {"auto", "eager", "lazy"};
  return kNames[static_cast<std::size_t>(mode)];
}

std::vector<PackMode> pack_modes() {
  return {PackMode::kAuto, PackMode::kEager, PackMode::kLazy};
}

PackMode pack_mode_from(std::string_view name) {
  for (const PackMode mode : pack_modes()) {
    if (name_of(mode) == name) return mode;
  }
  throw std::invalid_argument("--pack: got '" + std::string(name) + "', want auto, eager or lazy");
}

std::optional<std::int64_t> packed_ahead(const PackRequest& request) {
  const bool lazy = request.mode == PackMode::kLazy && !request.cached;
  const auto otherwise = lazy ? std::optional<std::int64_t>(0) : std::nullopt;
  if (request.memory == 0) return otherwise;
  const RankMemory need = request.need(request.stored, request.ranks);
  if (!fits(request, need)) refuse(request, need);
  if (lazy || request.cached || need.rest + need.experts <= request.memory) return otherwise;
  return (request.memory - least(request, need)) / kAllParts * kAheadParts;
}

Packing decide_packing(comm::Group& group, const PackRequest& request) {
  Packing packing;
  together(group, [&] {
    packing.ahead = packed_ahead(request);
    packing.experts_bytes = request.need(request.stored, request.ranks).experts;
  });
  const std::int64_t mine = packing.ahead ? 1 : 0;
  for (const auto& rank : comm::allgather_values<std::int64_t>(group, std::span(&mine, 1))) {
    packing.as_needed = packing.as_needed || rank[0] != 0;
  }
  return packing;
}

std::string describe(const Packing& packing) {
  if (!packing.ahead) return "experts of some ranks are packed as they are needed, node queue off";
  return "experts of this rank take " + gibibytes(packing.experts_bytes) + " packed; " +
         (*packing.ahead == 0 ? std::string("all of them")
                              : "those beyond " + gibibytes(*packing.ahead)) +
         " are packed as they are needed, node queue off";
}

PackStats& PackStats::operator+=(const PackStats& other) {
  experts += other.experts;
  as_needed += other.as_needed;
  seconds += other.seconds;
  return *this;
}

PackReport report_packing(comm::Group& group, const PackStats& stats, const PackCache* cache,
                          double steps_s) {
  const std::array<double, 5> mine{
      static_cast<double>(stats.experts), static_cast<double>(stats.as_needed),
      static_cast<double>(cache == nullptr ? 0 : cache->read()),
      static_cast<double>(cache == nullptr ? 0 : cache->written()), stats.seconds};
  PackReport report;
  report.cached = cache != nullptr;
  for (const auto& rank : comm::allgather_values<double>(group, std::span(mine))) {
    report.experts += static_cast<std::int64_t>(rank[0]);
    report.as_needed += static_cast<std::int64_t>(rank[1]);
    report.read += static_cast<std::int64_t>(rank[2]);
    report.written += static_cast<std::int64_t>(rank[3]);
    report.seconds = std::max(report.seconds, rank[4]);
  }
  const double without = steps_s - report.seconds;
  if (report.as_needed > 0 && without > 0) report.slowdown = steps_s / without;
  return report;
}

std::string describe(const PackReport& report) {
  const std::string experts = std::to_string(report.experts) + " experts";
  if (report.cached) {
    return experts + " mapped from the cache, " + std::to_string(report.written) +
           " of them packed and written to it now";
  }
  if (report.as_needed == 0) return {};
  std::array<char, 96> figures{};
  std::snprintf(figures.data(), figures.size(),
                "%.1f %% of the time: %.2f times as long as packed ahead",
                100 * (1 - 1 / report.slowdown), report.slowdown);
  return std::to_string(report.as_needed) + " of " + experts + " packed as they were needed, " +
         figures.data();
}

std::string gibibytes(std::int64_t bytes) {
  unsigned shift = 10;
  const char* unit = " KiB";
  if (bytes >= std::int64_t{1} << 20U) shift = 20, unit = " MiB";
  if (bytes >= std::int64_t{1} << 30U) shift = 30, unit = " GiB";
  const std::int64_t tenths = ((bytes >> (shift - 10)) * 10) >> 10U;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + unit;
}
}  // namespace switchyard::runtime
