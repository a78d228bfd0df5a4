// SPDX-License-Identifier: Apache-2.0
// How a workload is named, and what has to hold of one; draw.cpp makes its tokens.
#include "runtime/trace/workload.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
/// One of the names, and what stands behind its colons.
struct WorkloadForm {
  char name[16];
  WorkloadKind kind;
  char values[4];  ///< 'x': an exponent, 's': a share, 'n': a count
  char shown[24];
};

// Letters in place: names by address would be data that the loader writes.
constexpr WorkloadForm kForms[] = {
    {"balanced", WorkloadKind::kBalanced, "", "balanced"},
    {"uniform", WorkloadKind::kUniform, "", "uniform"},
    {"zipf", WorkloadKind::kZipf, "x", "zipf:S"},
    {"hot-expert", WorkloadKind::kHotExpert, "s", "hot-expert:SHARE"},
    {"hot-rank", WorkloadKind::kHotRank, "sn", "hot-rank:SHARE:RANKS"},
    {"rotating", WorkloadKind::kRotating, "sn", "rotating:SHARE:STEPS"},
    {"burst", WorkloadKind::kBurst, "sn", "burst:SHARE:STEPS"},
    {"pairs", WorkloadKind::kPairs, "s", "pairs:SHARE"},
    {"ragged", WorkloadKind::kRagged, "s", "ragged:SHARE"},
    {"zero-token", WorkloadKind::kZeroTokens, "n", "zero-token:EXPERTS"},
};

bool takes(const WorkloadForm& form, char value) {
  return std::string_view(form.values).find(value) != std::string_view::npos;
}

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("--workload: " + what);
}

/// Reads what stands before the next colon. @return  false: no such number
template <class Number>
bool take_number(std::string_view& text, Number least, Number most, Number& value) {
  if (!text.starts_with(':')) return false;
  text.remove_prefix(1);
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || !(value >= least && value <= most)) return false;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  return true;
}

bool take_values(std::string_view text, std::string_view values, Workload& workload) {
  constexpr auto kMost = std::int64_t{1} << 32;
  for (const char value : values) {
    const bool good = value == 'x'   ? take_number(text, 0.0, 100.0, workload.exponent)
                      : value == 's' ? take_number(text, 0.0, 1.0, workload.share)
                                     : take_number(text, std::int64_t{1}, kMost, workload.count);
    if (!good) return false;
  }
  return text.empty();
}
}  // namespace

std::string workload_forms() {
  std::string text;
  for (const WorkloadForm& form : kForms) text += std::string(form.shown) + ", ";
  return text + "load:FILE";
}

Workload workload_from(const std::string& text) {
  Workload workload;
  workload.name = text;
  constexpr std::string_view kLoad = "load:";
  if (text.starts_with(kLoad) && text.size() > kLoad.size()) {
    workload.kind = WorkloadKind::kLoad;
    workload.table = std::make_shared<LoadTable>(read_load_table(text.substr(kLoad.size())));
    workload.domains.resize(workload.table->domains.size());
    std::iota(workload.domains.begin(), workload.domains.end(), std::size_t{0});
    return workload;
  }
  const std::string_view name = std::string_view(text).substr(0, text.find(':'));
  for (const WorkloadForm& form : kForms) {
    if (form.name != name) continue;
    workload.kind = form.kind;
    if (take_values(std::string_view(text).substr(name.size()), form.values, workload)) {
      return workload;
    }
    refuse("got '" + text + "', want " + form.shown +
           (takes(form, 's') ? " with a share from 0 to 1" : "") +
           (takes(form, 'x') ? " with S from 0 to 100" : "") +
           (takes(form, 'n') ? " and a count from 1" : ""));
  }
  refuse("got '" + text + "', want one of " + workload_forms());
}

void validate(const Workload& workload, const TraceInfo& info) {
  if (const auto wrong = wrong_with(info)) throw std::invalid_argument("trace: " + *wrong);
  const std::string shape = workload.name + " of " + std::to_string(info.experts) +
                            " experts and " + std::to_string(info.top_k) + " slots, ";
  if (info.top_k > std::int64_t{1} << 15) refuse(shape + "want at most 32768 slots");
  switch (workload.kind) {
    case WorkloadKind::kHotRank:
      if (workload.count > info.experts) refuse(shape + "want at most an expert a rank");
      return;
    case WorkloadKind::kZeroTokens:
      if (workload.count > info.experts - info.top_k) {
        refuse(shape + "want at least as many experts left as slots");
      }
      return;
    case WorkloadKind::kLoad:
      break;
    default:
      return;
  }
  if (info.experts != workload.table->experts || info.layers > workload.table->layers) {
    refuse(workload.name + " of " + std::to_string(info.experts) + " experts and " +
           std::to_string(info.layers) + " layers, want the table's " +
           std::to_string(workload.table->experts) + " and at most " +
           std::to_string(workload.table->layers));
  }
  for (const std::size_t domain : workload.domains) {
    for (const auto& means : workload.table->domains[domain].means) {
      const auto likely = std::ranges::count_if(means, [](double mean) { return mean > 0; });
      if (likely < info.top_k) {
        refuse(shape + "want at least as many with a load as slots; domain '" +
               workload.table->domains[domain].domain + "' has " + std::to_string(likely));
      }
    }
  }
}

RoutingTrace make_trace(const Workload& workload, TraceInfo info, std::uint64_t seed,
                        std::int64_t steps, std::int64_t tokens) {
  RoutingTrace trace;
  info.detail = TraceDetail::kExperts;
  validate(workload, info);
  trace.info = std::move(info);
  for (std::int64_t number = 0; number < steps; ++number) {
    const std::int64_t now = workload_tokens(workload, seed, number, tokens);
    TraceStep step{.number = number, .layers = {}};
    for (std::int64_t layer = 0; layer < trace.info.layers; ++layer) {
      step.layers.push_back(make_layer(workload, trace.info, seed, number, layer, now));
    }
    trace.steps.push_back(std::move(step));
  }
  return trace;
}
}  // namespace switchyard::runtime
