// SPDX-License-Identifier: Apache-2.0
#include "runtime/run/saving.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include "comm/group/collective.hpp"
#include "experts/kernels/dispatch.hpp"
#include "runtime/report/digest.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
using Clock = std::chrono::steady_clock;

constexpr const char* kOutputDigest = "output_digest";  ///< of a run's last step
constexpr const char* kWeights = "weights";             ///< stored type: may differ

TensorInfo info_of(const StateTensor& tensor, std::int64_t layer) {
  TensorInfo info{.name = tensor.name, .shape = {tensor.out}, .layer = layer};
  if (!tensor.vector) info.shape.push_back(tensor.in);
  if (tensor.id != kRouterId && tensor.id != experts::kSharedId) info.expert = tensor.id;
  return info;
}

/// SHA-256 over the routers that the run begins with: of the seed or the released checkpoint.
std::string digest_of_start(const RunState& state) {
  Sha256 sum;
  for (const auto& layer : state.layers()) {
    for (const StateTensor& tensor : layer->tensors()) {
      if (tensor.id == kRouterId) sum.add(std::as_bytes(tensor.all()));
    }
  }
  return sum.hex();
}

std::string words_of(std::span<const std::int64_t> numbers) {
  std::string words;
  for (const std::int64_t number : numbers) {
    words += (words.empty() ? "" : ",") + std::to_string(number);
  }
  return words;
}

std::vector<std::vector<std::int32_t>> lists_of(const Placement& placement) {
  std::vector<std::vector<std::int32_t>> lists;
  for (int rank = 0; rank < placement.ranks(); ++rank) {
    const auto experts = placement.experts_of(rank);
    lists.emplace_back(experts.begin(), experts.end());
  }
  return lists;
}

std::string capacity_of(const RunSettings& settings, const experts::RouterSpec& router) {
  const auto& capacity = router.capacity;
  return experts::describe(router) + ", factor " + std::to_string(capacity.factor) + ", least " +
         std::to_string(capacity.min_capacity) + ", devices " + std::to_string(capacity.devices) +
         ", group " +
         (settings.layer.rank_local_rule ? "rank" : std::to_string(capacity.group_tokens));
}
}  // namespace

CheckpointInfo describe_run_to_save(const RunSettings& settings, const RunJob& job,
                                    const RunState& state) {
  CheckpointInfo info;
  info.program_version = settings.save.program;
  info.model_name = job.model->name();
  info.model_text = job.model->text();
  info.seed = settings.seed;
  info.experts_of = lists_of(*job.placement);
  std::vector<std::int64_t> numbers;
  for (const auto& layer : state.layers()) numbers.push_back(layer->layer());
  info.labels["layers"] = words_of(numbers);
  info.labels["tokens"] = std::to_string(job.tokens);
  info.labels["routing"] = settings.routing;
  info.labels["router"] = capacity_of(settings, job.block.router);
  info.labels["input"] = settings.input.empty()
                             ? "synthetic"
                             : std::to_string(job.source->rows()) + " rows of " +
                                   std::filesystem::path(settings.input).filename().string();
  info.labels["start"] = digest_of_start(state);
  info.labels[kWeights] = std::string(experts::name_of(job.options.stored)) + ", math " +
                          std::string(experts::name_of(job.options.math));
  std::string whole = info.model_text + std::to_string(info.seed);
  for (const auto& [name, text] : info.labels) whole += "\n" + name + " " + text;
  info.run_id = sha256(whole).substr(0, 16);
  return info;
}

void require_same_run(const CheckpointInfo& saved, const CheckpointInfo& now,
                      const std::string& where) {
  const auto require = [&](const std::string& what, const std::string& had,
                           const std::string& got) {
    if (had == got) return;
    throw std::invalid_argument("--save-to " + where + ": step " + std::to_string(saved.step) +
                                " was saved with " + what + " " + had + ", got " + got +
                                ", want the same, another folder or --fresh");
  };
  require("model", saved.model_name, now.model_name);
  if (saved.model_text != now.model_text) {
    require("a model " + saved.model_name + " of fields", sha256(saved.model_text).substr(0, 16),
            sha256(now.model_text).substr(0, 16));
  }
  require("seed", std::to_string(saved.seed), std::to_string(now.seed));
  for (const auto& [name, text] : now.labels) {
    if (name == kWeights || name == kOutputDigest) continue;
    const auto found = saved.labels.find(name);
    require(name == "start" ? "first weights" : name,
            found == saved.labels.end() ? "none" : found->second, text);
  }
}

std::vector<SavedPiece> pieces_of(const RunState& state) {
  std::vector<SavedPiece> pieces;
  for (const auto& layer : state.layers()) {
    for (const StateTensor& tensor : layer->tensors()) {
      if (!state.saves(layer->layer(), tensor.id)) continue;
      TensorInfo info = info_of(tensor, layer->layer());
      const Rectangle whole = Rectangle::whole(info);
      pieces.push_back({std::move(info), whole, std::as_bytes(tensor.all())});
    }
  }
  return pieces;
}

void read_state(StoredCheckpoint& from, const RunState& state) {
  for (const auto& layer : state.layers()) {
    for (const StateTensor& tensor : layer->tensors()) {
      const TensorInfo want = info_of(tensor, layer->layer());
      const TensorInfo& there = from.at(tensor.name);
      if (there.shape != want.shape) {
        throw std::invalid_argument("step " + std::to_string(from.info().step) + ": tensor " +
                                    tensor.name + ": got [" + words_of(there.shape) + "], want [" +
                                    words_of(want.shape) + "]");
      }
      from.read(tensor.name, Rectangle::whole(there), DataType::kFloat32,
                std::as_writable_bytes(tensor.all()));
    }
  }
}

Saving::Saving(comm::Group& group, const RunSettings& settings, const RunJob& job, RunState& state,
               std::function<void(std::string)> warn, FailsCall fails)
    : group_(group),
      settings_(settings),
      state_(state),
      info_(describe_run_to_save(settings, job, state)),
      warn_(std::move(warn)),
      files_(with_faults(posix_file_system(), std::move(fails))) {
  StoreOptions options;
  options.run_id = info_.run_id;
  options.keep = settings.save.keep;
  options.fresh = settings.save.fresh;
  options.overwrite = settings.save.fresh;
  options.note = [this](const std::string& words) {
    if (warn_) warn_(words);
  };
  store_ = std::make_unique<CheckpointStore>(group, *files_, settings.save.to, options);
}

std::int64_t Saving::resume() {
  if (settings_.save.fresh) return 0;
  const auto note = [this](const std::string& words) {
    if (warn_) warn_(words);
  };
  const auto loaded =
      load_newest(group_, *files_, settings_.save.to, note, [&](StoredCheckpoint& stored) {
        require_same_run(stored.info(), info_, settings_.save.to);
        const std::int64_t step = stored.info().step;
        const bool over = stored.info().labels.count(kOutputDigest) != 0;
        if (step > settings_.steps || (step == settings_.steps && !over)) {
          throw std::invalid_argument("--steps: got " + std::to_string(settings_.steps) +
                                      ", want more than " + std::to_string(step) +
                                      ", the step that is saved in " + settings_.save.to);
        }
        if (settings_.rebalance.on()) take_placement(stored.info());
        read_state(stored, state_);
      });
  if (!loaded) return 0;
  const CheckpointInfo& info = loaded->info();
  store_->pin(info.step);
  saved_step_ = info.step;
  load_before_ = info.load;
  info_.run_id = info.run_id;
  info_.placement_epoch =
      info.placement_epoch +
      (info.experts_of == info_.experts_of && info.experts_in == info_.experts_in ? 0 : 1);
  if (info.step == settings_.steps) output_digest_ = info.labels.at(kOutputDigest);
  return info.step;
}

/// Goes on with the placement of the saved step, if it is one of as many ranks.
void Saving::take_placement(const CheckpointInfo& saved) {
  if (std::ssize(saved.experts_of) != group_.size()) return;
  const std::int64_t experts = state_.placement().experts();
  for (std::size_t i = 0; i < state_.layers().size(); ++i) {
    const auto own = saved.experts_in.find(state_.layers()[i]->layer());
    state_.rehost(i, Placement::from_lists(
                         own == saved.experts_in.end() ? saved.experts_of : own->second, experts));
  }
  info_.experts_of = saved.experts_of;
  info_.experts_in = saved.experts_in;
}

void Saving::moved(std::uint64_t epoch, const std::vector<Placement>& placements) {
  info_.placement_epoch = epoch;
  info_.experts_of = lists_of(placements.front());
  info_.experts_in.clear();
  for (std::size_t i = 1; i < placements.size(); ++i) {
    if (placements[i] == placements.front()) continue;
    info_.experts_in[state_.layers()[i]->layer()] = lists_of(placements[i]);
  }
}

void Saving::make_room() {
  if (!settings_.save.async || settings_.save.every == 0) return;
  std::int64_t bytes = 0;
  for (const SavedPiece& piece : pieces_of(state_)) {
    bytes += static_cast<std::int64_t>(piece.bytes.size()) + kCheckpointAlignment;
  }
  store_->reserve(bytes);
}

bool Saving::go_on() {
  if (under_way_ < 0) return false;
  const auto start = Clock::now();
  const auto result = store_->poll();
  stall_s_ += std::chrono::duration<double>(Clock::now() - start).count();
  count(result);
  return under_way_ >= 0;
}

void Saving::between(std::int64_t done, const Coordinator& layers, bool busy) {
  if (done == saved_step_ || settings_.save.every == 0 || done % settings_.save.every != 0) return;
  if (busy) {
    ++report_.skipped;
    return;
  }
  const auto start = Clock::now();
  ++report_.beside;
  const auto result = begin(done, layers, !settings_.save.async);
  stall_s_ = std::chrono::duration<double>(Clock::now() - start).count();
  count(result);
}

void Saving::leave(std::int64_t done, const Coordinator& layers, const std::string& output_digest) {
  if (under_way_ >= 0) count(store_->finish());
  if (done == saved_step_ || done == 0) return;
  if (!output_digest.empty()) info_.labels[kOutputDigest] = output_digest;
  const auto start = Clock::now();
  const auto result = begin(done, layers, true);
  count(result);
  if (result && !result->saved) {
    report_.last_problem =
        "step " + std::to_string(done) + ", the last, is not saved: " + result->problem;
  }
  report_.last_s = std::chrono::duration<double>(Clock::now() - start).count();
}

std::optional<SaveResult> Saving::begin(std::int64_t done, const Coordinator& layers, bool wait) {
  info_.step = done;
  info_.counters["step"] = static_cast<std::uint64_t>(done);
  info_.load = load_of(layers);
  const std::vector<SavedPiece> pieces = pieces_of(state_);
  under_way_ = done;
  stall_s_ = 0;
  if (wait) return store_->save(info_, pieces);
  store_->begin(info_, pieces);
  return std::nullopt;
}

void Saving::count(const std::optional<SaveResult>& result) {
  if (!result) return;
  if (result->saved) {
    ++report_.saved;
    saved_step_ = result->step;
    report_.bytes = static_cast<double>(result->bytes);
    report_.write_s += result->seconds;
  } else {
    ++report_.failed;
  }
  under_way_ = -1;
  report_.stall_s += stall_s_;
  report_.longest_stall_s = std::max(report_.longest_stall_s, stall_s_);
}

std::map<std::int64_t, std::vector<std::uint64_t>> Saving::load_of(const Coordinator& layers) {
  std::vector<std::uint64_t> mine;
  for (std::size_t i = 0; i < layers.layers(); ++i) {
    for (const std::int64_t rows : layers.layer(i).stats().load) {
      mine.push_back(static_cast<std::uint64_t>(rows));
    }
  }
  std::vector<std::uint64_t> all(mine.size());
  for (const auto& rank : comm::allgather_values<std::uint64_t>(group_, mine)) {
    for (std::size_t i = 0; i < all.size(); ++i) all[i] += rank[i];
  }
  auto load = load_before_;
  auto next = all.begin();
  for (const auto& layer : state_.layers()) {
    const std::size_t experts = all.size() / state_.layers().size();
    auto& rows = load[layer->layer()];
    rows.resize(experts);
    for (std::uint64_t& count : rows) count += *next++;
  }
  return load;
}

SaveReport Saving::report() {
  SaveReport report = report_;
  const std::array<double, 3> mine{report.stall_s, report.longest_stall_s, report.last_s};
  for (const auto& rank : comm::allgather_values<double>(group_, std::span(mine))) {
    report.stall_s = std::max(report.stall_s, rank[0]);
    report.longest_stall_s = std::max(report.longest_stall_s, rank[1]);
    report.last_s = std::max(report.last_s, rank[2]);
  }
  return report;
}
}  // namespace switchyard::runtime
