// SPDX-License-Identifier: Apache-2.0
#include "runtime/verify/golden_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <stdexcept>

#include "comm/group/collective.hpp"
#include "experts/index.hpp"
#include "experts/kernels/dispatch.hpp"
#include "runtime/model/checked_json.hpp"
#include "runtime/model/tensor_views.hpp"
#include "runtime/report/digest.hpp"
#include "runtime/verify/compare.hpp"

namespace switchyard::runtime {
namespace {

using experts::Matrix;
using experts::MatrixView;

constexpr double kLayerLimit = 5e-5;
constexpr std::string_view kModelFormat = "moe-golden-model/1";

std::vector<std::int64_t> integers(const Tensor& tensor, const std::string& name) {
  require_dtype(tensor, name, "I64");
  std::vector<std::int64_t> values(at(tensor.elements()));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

/// Keeps everything it is shown, by the golden names.
class Recorder final : public Witness {
 public:
  void saw(std::int64_t layer, std::string_view what, MatrixView<const float> rows) override {
    Matrix& copy = seen[prefix(layer) + std::string(what)];
    copy.reshape(rows.rows, rows.cols);
    for (std::int64_t r = 0; r < rows.rows; ++r) std::ranges::copy(rows.row(r), copy.row(r).data());
  }
  void routed(std::int64_t layer, const experts::Routing& routing) override {
    routings[prefix(layer)] = routing;
  }
  std::map<std::string, Matrix> seen;
  std::map<std::string, experts::Routing> routings;  ///< by "golden.layer.3."

 private:
  static std::string prefix(std::int64_t layer) {
    return layer < 0 ? "golden." : "golden.layer." + std::to_string(layer) + ".";
  }
};

/// One golden model on one rank: its sequences, their states, and what was found.
class Check {
 public:
  Check(comm::Group& group, const GoldenModel& golden, const TransformerOptions& options)
      : group_(group),
        golden_(golden),
        options_(options),
        transformer_(group, golden.checkpoint, options) {
    for (std::int64_t s = group.rank(); s < golden.sequences; s += group.size()) mine_.push_back(s);
    limit_ = output_limit(options.layer, own_type(golden.checkpoint), kLayerLimit);
  }

  GoldenResult run() {
    result_.name = golden_.name;
    result_.tokens = golden_.sequences * golden_.length;
    result_.not_forward = golden_.other_files;
    result_.errors = {{.quantity = "output", .limit = limit_},
                      {.quantity = "router logits", .limit = 1e-5},
                      {.quantity = "combine weights", .limit = 0}};
    const Matrix logits = whole_pass();
    compare_pieces(logits);
    sort_tensors();
    for (const GoldenError& error : result_.errors) {
      if (error.over_limit() <= 1) continue;
      result_.failures.push_back(error.quantity + ": error " + std::to_string(error.over_limit()) +
                                 " times the limit");
    }
    result_.path = path();
    return std::move(result_);
  }

 private:
  [[nodiscard]] std::string path() const {
    const LayerOptions& layer = options_.layer;
    const auto math = experts::math_name(layer.isa, layer.math, layer.stored);
    return std::string(name_of(layer.isa)) + ", " + std::string(name_of(layer.stored)) +
           (math == "float32" ? "" : ", " + std::string(math));
  }

  /// Ids [first, end) of the prompts of this rank's sequences, for cuts that differ by sequence.
  template <class First, class End>
  [[nodiscard]] Batch prompt(const std::vector<std::int64_t>& states, const First& first,
                             const End& end) const {
    Batch batch;
    for (std::size_t i = 0; i < mine_.size(); ++i) {
      const std::int64_t from = first(mine_[i]);
      const std::int64_t to = end(mine_[i]);
      if (from == to) continue;
      const auto ids = golden_.input_ids.begin() + mine_[i] * golden_.length;
      batch.ids.insert(batch.ids.end(), ids + from, ids + to);
      batch.segments.push_back({.sequence = states[i], .first = from, .count = to - from});
    }
    return batch;
  }

  [[nodiscard]] std::vector<std::int64_t> begin(States& states) const {
    std::vector<std::int64_t> numbers;
    for (std::size_t i = 0; i < mine_.size(); ++i) numbers.push_back(transformer_.begin(states));
    return numbers;
  }

  /// All prompts in one call, held against every tensor. @return this rank's logits
  Matrix whole_pass() {
    States states;
    const auto numbers = begin(states);
    const auto zero = [](std::int64_t) { return std::int64_t{0}; };
    const auto all = [this](std::int64_t) { return golden_.length; };
    Recorder recorder;
    const Matrix rows = transformer_.forward(prompt(numbers, zero, all), states, &recorder);
    Matrix logits = transformer_.logits(rows.view());
    recorder.saw(-1, "logits", std::as_const(logits).view());
    for (const auto& [name, seen] : recorder.seen) {
      const Tensor* tensor = golden_.golden->find(name);
      if (tensor != nullptr) compare(name, *tensor, seen);
    }
    for (const auto& [prefix, routing] : recorder.routings) compare_routing(prefix, routing);
    Sha256 sum;
    rows_in_order(logits, sum);
    result_.digest = sum.hex();
    return logits;
  }

  /// The digest of all logits, sequence after sequence; every rank takes part and computes it.
  void rows_in_order(const Matrix& logits, Sha256& sum) {
    const auto parts = comm::allgather_values<float>(
        group_, std::span(logits.data(), at(logits.rows() * logits.cols())));
    const std::size_t each = at(golden_.length * logits.cols());
    for (std::int64_t s = 0; s < golden_.sequences; ++s) {
      const auto& part = parts[at(s % group_.size())];
      sum.add(std::as_bytes(std::span(part).subspan(at(s / group_.size()) * each, each)));
    }
  }

  /// This rank's rows of a tensor [sequences, length, width], or of all sequences' tokens.
  [[nodiscard]] Matrix my_rows(const Tensor& tensor, const std::string& name, std::int64_t width) {
    require_dtype(tensor, name, "F32");
    if (tensor.elements() != golden_.sequences * golden_.length * width) {
      require_shape(tensor, name, {golden_.sequences, golden_.length, width});
    }
    Matrix rows(static_cast<std::int64_t>(mine_.size()) * golden_.length, width);
    float* next = rows.data();
    for (const std::int64_t s : mine_) {
      const std::int64_t count = golden_.length * width;
      next = std::ranges::copy(read_floats(tensor, s * count, count), next).out;
    }
    used_.insert(name);
    return rows;
  }

  void compare(const std::string& name, const Tensor& tensor, const Matrix& seen) {
    const Matrix want = my_rows(tensor, name, seen.cols());
    Matrix all(1, tensor.elements());
    std::ranges::copy(read_floats(tensor, 0, tensor.elements()), all.data());
    const double rms = rms_of(all);
    if (!std::isfinite(rms)) {
      result_.failures.push_back(name + " is not finite in the file");
    }
    const double error =
        most_over(group_, difference(seen.view(), want.view())) / (rms > 0 ? rms : 1);
    result_.errors.push_back({.quantity = name, .error = error, .limit = limit_});
    result_.errors[0].error = std::max(result_.errors[0].error, error);
  }

  void compare_routing(const std::string& prefix, const experts::Routing& routing) {
    const std::string logits = prefix + "router_logits";
    const std::string chosen = prefix + "topk_idx";
    const std::string weights = prefix + "topk_weight";
    const std::int64_t experts = golden_.checkpoint.model().block().router.all_experts();
    if (const Tensor* tensor = golden_.golden->find(logits)) {
      const Matrix want = my_rows(*tensor, logits, experts);
      result_.errors[1].error =
          std::max(result_.errors[1].error,
                   most_over(group_, difference(routing.logits.view(), want.view())));
    }
    const Tensor& indices = golden_.golden->at(chosen);
    const std::int64_t k = indices.elements() / (golden_.sequences * golden_.length);
    const std::vector<std::int64_t> all = integers(indices, chosen);
    std::vector<std::int64_t> want;
    for (const std::int64_t s : mine_) {
      const auto first = all.begin() + s * golden_.length * k;
      want.insert(want.end(), first, first + golden_.length * k);
    }
    used_.insert(chosen);
    const std::string words = first_words(group_, other_experts(want, k, routing, 0));
    if (!words.empty()) result_.failures.push_back(prefix + " " + words);
    if (const Tensor* tensor = golden_.golden->find(weights)) {
      compare_weights(my_rows(*tensor, weights, k), want, dense_weights(routing, experts));
    }
  }

  void compare_weights(const Matrix& want, const std::vector<std::int64_t>& indices,
                       const Matrix& dense) {
    Matrix got(want.rows(), want.cols());
    for (std::int64_t t = 0; t < want.rows(); ++t) {
      for (std::int64_t s = 0; s < want.cols(); ++s) {
        const std::int64_t expert = indices[at(t * want.cols() + s)];
        if (expert >= 0 && expert < dense.cols()) got(t, s) = dense(t, expert);
      }
    }
    GoldenError& error = result_.errors[2];
    error.error = std::max(error.error, most_over(group_, difference(got.view(), want.view())));
    error.limit = std::max(error.limit, 2e-6 * std::max(1.0, most_over(group_, largest_of(want))));
  }

  /// The prompts again in three calls, the last of one token, then on by the likeliest token.
  void compare_pieces(const Matrix& logits) {
    States states;
    const auto numbers = begin(states);
    const std::int64_t last = golden_.length - 1;
    const auto cut = [&](std::int64_t s) {
      return std::min(last, 1 + (3 * s + 2) % golden_.length);
    };
    const auto zero = [](std::int64_t) { return std::int64_t{0}; };
    const auto before_last = [&](std::int64_t) { return last; };
    const auto end = [&](std::int64_t) { return golden_.length; };
    compare_piece(prompt(numbers, zero, cut), states, numbers, logits);
    compare_piece(prompt(numbers, cut, before_last), states, numbers, logits);
    Matrix next = compare_piece(prompt(numbers, before_last, end), states, numbers, logits);
    std::string words;
    for (std::int64_t step = 0; step < golden_.continued; ++step) {
      Batch batch;
      for (std::size_t i = 0; i < mine_.size(); ++i) {
        const auto row = next.row(static_cast<std::int64_t>(i));
        const std::int64_t id = std::ranges::max_element(row) - row.begin();
        const std::int64_t want = golden_.greedy_ids[at(mine_[i] * golden_.continued + step)];
        if (id != want && words.empty()) {
          words = "sequence " + std::to_string(mine_[i]) + ": greedy token " +
                  std::to_string(step) + " is " + std::to_string(id) + ", want " +
                  std::to_string(want);
        }
        batch.ids.push_back(id);
        batch.segments.push_back(
            {.sequence = numbers[i], .first = golden_.length + step, .count = 1});
      }
      if (step + 1 == golden_.continued) break;
      const Matrix rows = transformer_.forward(batch, states);
      next = transformer_.logits(rows.view());
    }
    words = first_words(group_, words);
    if (!words.empty()) result_.failures.push_back(words);
  }

  Matrix compare_piece(const Batch& batch, States& states, const std::vector<std::int64_t>& numbers,
                       const Matrix& whole) {
    const Matrix rows = transformer_.forward(batch, states);
    Matrix logits = transformer_.logits(rows.view());
    std::string words;
    std::int64_t row = 0;
    for (const Segment& segment : batch.segments) {
      const auto place = std::ranges::find(numbers, segment.sequence) - numbers.begin();
      for (std::int64_t t = 0; t < segment.count && words.empty(); ++t) {
        const auto want = whole.row(place * golden_.length + segment.first + t);
        if (std::memcmp(logits.row(row + t).data(), want.data(), want.size_bytes()) == 0) continue;
        words = "sequence " + std::to_string(mine_[at(place)]) + ", position " +
                std::to_string(segment.first + t) +
                ": logits have other bits in pieces than in one call";
      }
      row += segment.count;
    }
    words = first_words(group_, words);
    if (!words.empty()) result_.failures.push_back(words);
    return logits;
  }

  void sort_tensors() {
    used_.insert({"golden.input_ids", "golden.greedy_ids"});
    for (const std::string& name : golden_.golden->names()) {
      if (used_.contains(name)) continue;
      if (name == "golden.R" || name == "golden.aux_loss" || name.starts_with("golden.grad.")) {
        ++result_.not_forward;
      } else {
        result_.failures.push_back("tensor " + name + " is in the file and nobody used it");
      }
    }
  }

  comm::Group& group_;
  const GoldenModel& golden_;
  TransformerOptions options_;
  Transformer transformer_;
  double limit_ = kLayerLimit;
  std::vector<std::int64_t> mine_;  ///< sequences of this rank
  std::set<std::string> used_;
  GoldenResult result_;
};
}  // namespace

GoldenModel read_golden_model(const std::filesystem::path& folder) {
  GoldenModel model(folder);
  const auto file = std::make_shared<const SafetensorsFile>(folder / "golden.safetensors");
  const auto format = file->metadata().find("format");
  if (format == file->metadata().end() || format->second != kModelFormat) {
    throw std::invalid_argument(file->name() + ": metadata format, got '" +
                                (format == file->metadata().end() ? "" : shown(format->second)) +
                                "', want '" + std::string(kModelFormat) + "'");
  }
  const auto name = file->metadata().find("case");
  model.name = name == file->metadata().end() ? folder.filename().string() : name->second;
  model.golden = std::make_shared<const TensorSet>(file);
  const Tensor& prompts = model.golden->at("golden.input_ids");
  const Tensor& greedy = model.golden->at("golden.greedy_ids");
  model.input_ids = integers(prompts, "golden.input_ids");
  model.greedy_ids = integers(greedy, "golden.greedy_ids");
  if (prompts.shape.size() != 2 || prompts.elements() < 1) {
    throw std::invalid_argument(file->name() +
                                ": tensor golden.input_ids: want [sequences, tokens]");
  }
  model.sequences = prompts.shape[0];
  model.length = prompts.shape[1];
  model.continued = greedy.elements() / model.sequences;
  require_shape(greedy, "golden.greedy_ids", {model.sequences, model.continued});
  if (std::filesystem::exists(folder / "golden_grads.safetensors")) {
    const SafetensorsFile grads(folder / "golden_grads.safetensors");
    model.other_files = static_cast<std::int64_t>(grads.tensors().size());
  }
  return model;
}

std::vector<std::filesystem::path> golden_models(const std::filesystem::path& path) {
  const auto is_model = [](const std::filesystem::path& folder) {
    return std::filesystem::exists(folder / "config.json") &&
           std::filesystem::exists(folder / "golden.safetensors");
  };
  if (!std::filesystem::is_directory(path)) {
    const bool inside = path.filename() == "golden.safetensors" && is_model(path.parent_path());
    return inside ? std::vector{path.parent_path()} : std::vector<std::filesystem::path>{};
  }
  std::vector<std::filesystem::path> folders;
  if (is_model(path)) folders.push_back(path);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (entry.is_directory() && is_model(entry.path())) folders.push_back(entry.path());
  }
  std::ranges::sort(folders);
  return folders;
}

GoldenResult check_golden_model(comm::Group& group, const GoldenModel& golden,
                                const TransformerOptions& options) {
  return Check(group, golden, options).run();
}
}  // namespace switchyard::runtime
