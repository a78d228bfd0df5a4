// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>
#include <system_error>

#include "runtime/trace/import.hpp"
#include "runtime/trace/json_word.hpp"
#include "runtime/trace/writer.hpp"

namespace switchyard::runtime {
namespace {
/// One line: what a rank sent in a layer of a step.
struct MegatronRecord {
  std::int64_t step = 0;
  std::int64_t layer = 0;
  std::int64_t rank = 0;
  std::int64_t tokens = 0;
  std::int64_t top_k = 0;
  std::vector<std::int32_t> chosen;  ///< [tokens, top_k]
};

/// Reads the lines of a file, twice: to learn what there is, and to write it in order.
class MegatronLines {
 public:
  explicit MegatronLines(const std::string& file) : file_(file), in_(file, std::ios::binary) {
    if (!in_) {
      throw std::system_error(errno, std::generic_category(), "trace: cannot read " + file);
    }
  }
  /// @return  false: there is no other
  bool next(MegatronRecord& record) {
    std::string text;
    do {
      offset_ = in_.tellg();
      if (!std::getline(in_, text)) return false;
      ++line_;
    } while (text.find_first_not_of(" \t\r") == std::string::npos);
    record = parse(text);
    return true;
  }
  /// Of the line that was read last.
  [[nodiscard]] std::int64_t offset() const { return offset_; }
  [[nodiscard]] std::int64_t line() const { return line_; }
  MegatronRecord at(std::int64_t offset, std::int64_t line) {
    in_.clear();
    in_.seekg(offset);
    line_ = line - 1;
    MegatronRecord record;
    if (!next(record)) refuse("the file became shorter while it was read");
    return record;
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw std::invalid_argument(file_ + ":" + std::to_string(line_) + ": " + what);
  }

 private:
  [[nodiscard]] std::int64_t number(const nlohmann::json& object, const char* name,
                                    std::int64_t most) const {
    const auto found = object.find(name);
    const bool good = found != object.end() && found->is_number_integer() &&
                      found->get<std::int64_t>() >= 0 && found->get<std::int64_t>() <= most;
    if (good) return found->get<std::int64_t>();
    refuse(std::string(name) + ", got " + (found == object.end() ? "none" : json_word(*found)) +
           ", want a whole number from 0 to " + std::to_string(most));
  }

  MegatronRecord parse(const std::string& text) const {
    nlohmann::json object;
    try {
      object = nlohmann::json::parse(text);
    } catch (const nlohmann::json::exception&) {
      refuse("got no JSON, want an object");
    }
    if (!object.is_object()) refuse("got no object, want {\"step\": ...}");
    constexpr auto kMost = std::int64_t{1} << 40;
    MegatronRecord record{.step = number(object, "step", kMost),
                          .layer = number(object, "layer", kMostTraceLayers),
                          .rank = number(object, "rank", kMost),
                          .tokens = number(object, "num_tokens", kMost),
                          .top_k = number(object, "topk", kMostTraceExperts),
                          .chosen = {}};
    const auto rows = object.find("top_indices");
    if (rows == object.end() || !rows->is_array() || std::ssize(*rows) != record.tokens) {
      refuse("top_indices, got " +
             (rows == object.end() ? "none" : std::to_string(rows->size()) + " rows") +
             ", want num_tokens, " + std::to_string(record.tokens));
    }
    for (const auto& row : *rows) {
      if (!row.is_array() || std::ssize(row) != record.top_k) {
        refuse("top_indices, got a row of " + std::to_string(row.size()) + ", want topk, " +
               std::to_string(record.top_k));
      }
      for (const auto& expert : row) {
        if (!expert.is_number_integer() || expert.get<std::int64_t>() < -1 ||
            expert.get<std::int64_t>() >= kMostTraceExperts) {
          refuse("top_indices, got " + json_word(expert) +
                 ", want an expert from 0, or -1 for none");
        }
        record.chosen.push_back(expert.get<std::int32_t>());
      }
    }
    return record;
  }

  std::string file_;
  std::ifstream in_;
  std::int64_t offset_ = 0;
  std::int64_t line_ = 0;
};

/// Where a line stands, and whose it is.
struct MegatronPlace {
  std::int64_t rank = 0;
  std::size_t file = 0;
  std::int64_t offset = 0;
  std::int64_t line = 0;
};

/// What the files have.
struct MegatronIndex {
  std::map<std::int64_t, std::map<std::int64_t, std::vector<MegatronPlace>>> steps;  ///< by layer
  std::set<std::int64_t> layers;
  std::int64_t top_k = 0;
  std::int64_t experts = 0;
};

MegatronIndex index_of(std::vector<MegatronLines>& files, const ImportSettings& settings) {
  MegatronIndex index;
  for (std::size_t file = 0; file < files.size(); ++file) {
    MegatronRecord record;
    while (files[file].next(record)) {
      if (index.top_k == 0) index.top_k = record.top_k;
      if (record.top_k != index.top_k) {
        files[file].refuse("topk, got " + std::to_string(record.top_k) + ", want " +
                           std::to_string(index.top_k) + " as in the lines before");
      }
      for (const std::int32_t expert : record.chosen) {
        if (settings.experts > 0 && expert >= settings.experts) {
          files[file].refuse("top_indices, got expert " + std::to_string(expert) +
                             ", want below --experts " + std::to_string(settings.experts));
        }
        index.experts = std::max<std::int64_t>(index.experts, expert + 1);
      }
      index.layers.insert(record.layer);
      index.steps[record.step][record.layer].push_back({.rank = record.rank,
                                                        .file = file,
                                                        .offset = files[file].offset(),
                                                        .line = files[file].line()});
    }
  }
  if (index.steps.empty()) files.front().refuse("got no line, want at least one");
  if (settings.experts > 0) index.experts = settings.experts;
  index.experts = std::max(index.experts, index.top_k);
  return index;
}
}  // namespace

void import_megatron(const std::vector<std::string>& names, const ImportSettings& settings,
                     const std::string& output) {
  std::vector<MegatronLines> files;
  for (const std::string& name : names) files.emplace_back(name);
  MegatronIndex index = index_of(files, settings);
  TraceInfo info{.layers = std::ssize(index.layers),
                 .experts = index.experts,
                 .top_k = index.top_k,
                 .detail = TraceDetail::kExperts,
                 .layer_numbers = {index.layers.begin(), index.layers.end()},
                 .model = settings.model,
                 .provenance = "imported from Megatron-Core's routing trace"};
  if (const auto wrong = wrong_with(info)) {
    throw std::invalid_argument(names.front() + ": " + *wrong);
  }
  TraceWriter writer("--output", output, info);
  for (auto& [step, layers] : index.steps) {
    for (const std::int64_t number : index.layers) {
      const auto found = layers.find(number);
      if (found == layers.end()) {
        throw std::invalid_argument(names.front() + ": step " + std::to_string(step) +
                                    " has no layer " + std::to_string(number) +
                                    ", want all layers in every step");
      }
      std::ranges::stable_sort(found->second, {}, &MegatronPlace::rank);
      TraceLayer layer;
      for (const MegatronPlace& place : found->second) {
        const auto record = files[place.file].at(place.offset, place.line);
        layer.tokens += record.tokens;
        layer.chosen.insert(layer.chosen.end(), record.chosen.begin(), record.chosen.end());
      }
      layer.counts = counts_of(layer.chosen, info.experts);
      writer.add(step, layer);
    }
  }
  writer.finish();
}
}  // namespace switchyard::runtime
