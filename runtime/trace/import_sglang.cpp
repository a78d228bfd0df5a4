// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "runtime/trace/import.hpp"
#include "runtime/trace/json_word.hpp"

namespace switchyard::runtime {
namespace {
using nlohmann::json;

/// Nested arrays of one expert-distribution dump.
class SglangDump {
 public:
  SglangDump(const std::string& where, const ImportSettings& settings)
      : where_(where), settings_(settings) {}

  RoutingTrace read(const json& counts) {
    require_array(counts, "logical_count");
    const bool has_steps = counts[0].is_array() && !counts[0].empty() && counts[0][0].is_array();
    trace_.info.top_k = settings_.top_k;
    trace_.info.model = settings_.model;
    trace_.info.provenance = "imported from a dump of SGLang's expert distribution recorder";
    const json& first = has_steps ? counts[0] : counts;
    require_array(first, "step 0");
    require_array(first[0], "step 0, layer 0");
    trace_.info.layers = std::ssize(first);
    trace_.info.experts = std::ssize(first[0]);
    if (const auto wrong = wrong_with(trace_.info)) refuse(*wrong);
    for (std::size_t i = 0; i < (has_steps ? counts.size() : 1); ++i) {
      add_step(has_steps ? counts[i] : counts);
    }
    return std::move(trace_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw std::invalid_argument(where_ + ": " + what);
  }
  void require_array(const json& value, const std::string& what) const {
    if (!value.is_array() || value.empty()) {
      refuse(what + ", got " + json_word(value) + ", want an array that is not empty");
    }
  }
  static bool is_count(const json& value) {
    return value.is_number_unsigned() ||
           (value.is_number_integer() && value.get<std::int64_t>() >= 0);
  }

  void add_step(const json& layers) {
    TraceStep step{.number = std::ssize(trace_.steps), .layers = {}};
    const std::string where = "step " + std::to_string(step.number);
    if (!layers.is_array() || std::ssize(layers) != trace_.info.layers) {
      refuse(where + ", got " + std::to_string(layers.size()) + " layers, want " +
             std::to_string(trace_.info.layers));
    }
    for (const json& experts : layers) {
      const std::string place = where + ", layer " + std::to_string(step.layers.size());
      if (!experts.is_array() || std::ssize(experts) != trace_.info.experts) {
        refuse(place + ", got " + std::to_string(experts.size()) + " experts, want " +
               std::to_string(trace_.info.experts));
      }
      TraceLayer layer;
      for (const json& count : experts) {
        if (!is_count(count)) {
          refuse(place + ", expert " + std::to_string(layer.counts.size()) + ", got " +
                 json_word(count) + ", want a count");
        }
        layer.counts.push_back(count.get<std::int64_t>());
      }
      const auto slots = std::accumulate(layer.counts.begin(), layer.counts.end(), std::int64_t{0});
      layer.tokens = std::max((slots + settings_.top_k - 1) / settings_.top_k,
                              *std::max_element(layer.counts.begin(), layer.counts.end()));
      step.layers.push_back(std::move(layer));
    }
    trace_.steps.push_back(std::move(step));
  }

  const std::string& where_;
  const ImportSettings& settings_;
  RoutingTrace trace_;
};
}  // namespace

RoutingTrace import_sglang(const std::string& text, const std::string& where,
                           const ImportSettings& settings) {
  if (settings.top_k < 1) {
    throw std::invalid_argument("--top-k: got none, want the slots of a token: " + where +
                                " has counts, and does not say of how many tokens");
  }
  json dump;
  try {
    dump = json::parse(text);
  } catch (const json::exception& error) {
    throw std::invalid_argument(where + ": got no JSON, " + error.what());
  }
  if (dump.is_array()) return SglangDump(where, settings).read(dump);
  if (!dump.is_object() || !dump.contains("logical_count")) {
    throw std::invalid_argument(where + ": got no logical_count, want {\"logical_count\": [...]}");
  }
  return SglangDump(where, settings).read(dump["logical_count"]);
}
}  // namespace switchyard::runtime
