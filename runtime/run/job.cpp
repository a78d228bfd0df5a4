// SPDX-License-Identifier: Apache-2.0
#include "runtime/run/job.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "experts/index.hpp"
#include "experts/synthetic.hpp"

namespace switchyard::runtime {
namespace {
experts::DType stored_type(const RunSettings& settings, const RunJob& job) {
  if (settings.weights != "auto") return experts::dtype_from(settings.weights);
  if (settings.checkpoint.empty()) return experts::DType::kFloat32;
  const experts::DType first = own_type(*job.weights[0], job.block.router.experts);
  for (const auto& block : job.weights) {
    if (own_type(*block, job.block.router.experts) != first) return experts::DType::kFloat32;
  }
  return first;
}

/// Tokens, outputs and, for every slot, a row out and a result back.
double row_bytes(const RunJob& job, int rank, int ranks) {
  const double rows = static_cast<double>(share_of(job.tokens, rank, ranks).count) *
                      static_cast<double>(3 + 2 * job.block.router.top_k);
  return rows * static_cast<double>(job.block.router.hidden) * sizeof(float);
}

/// Refuses before anything is allocated what would end in the kernel killing the job.
void require_rows_fit(const RunSettings& settings, const RunJob& job, int rank, int ranks) {
  const double bytes = row_bytes(job, rank, ranks);
  if (settings.memory_bytes == 0 || bytes <= static_cast<double>(settings.memory_bytes)) return;
  const auto most = static_cast<std::int64_t>(static_cast<double>(job.tokens) *
                                              static_cast<double>(settings.memory_bytes) / bytes);
  throw std::invalid_argument("--tokens: got " + std::to_string(job.tokens) +
                              ", want at most about " + std::to_string(most) +
                              ", whose rows fit into memory");
}

/// A rank whose experts move fills its slots, and has one layer's copies twice while they come.
void add_room_to_move(const RunSettings& settings, const RunJob& job, const Placement& placement,
                      RankMemory& need) {
  if (!settings.rebalance.on()) return;
  const std::int64_t per_layer = need.experts / std::max<std::int64_t>(need.expert, 1);
  std::int64_t fullest = settings.rebalance.slots;
  for (int rank = 0; rank < placement.ranks(); ++rank) {
    fullest = std::max(fullest, static_cast<std::int64_t>(placement.experts_of(rank).size()));
  }
  const std::int64_t more = std::max<std::int64_t>(settings.layers * fullest - per_layer, 0);
  need.experts += (more + fullest) * need.expert;
  if (!settings.stateful) return;
  const std::int64_t state = experts::elements_of(job.block.expert) * std::int64_t{sizeof(float)};
  need.rest += (more + 2 * fullest) * state;  // what comes, and what is sent
}

PackRequest pack_request(const RunSettings& settings, const RunJob& job, int rank, int ranks) {
  PackRequest request;
  request.mode = settings.pack;
  request.cached = job.options.pack_cache != nullptr;
  request.made_up = settings.checkpoint.empty();
  request.memory = settings.memory_bytes;
  request.threads = job.options.threads;
  request.rank = rank;
  request.ranks = ranks;
  request.stored = job.options.stored;
  request.need = [&settings, &job, rank, ranks](experts::DType stored, int of_ranks) {
    const bool now = of_ranks == ranks;
    const Placement other = Placement::linear(job.block.router.experts, of_ranks);
    RankMemory need;
    for (std::int64_t i = 0; i < settings.layers; ++i) {
      const RankMemory layer =
          rank_memory(job.block, now ? placement_of(job, at(i)) : other, now ? rank : 0, stored, 1);
      need.expert = layer.expert;
      need.experts += layer.experts;
      need.rest += layer.rest;
    }
    need.rest += state_memory(settings, job.block, now ? *job.placement : other, now ? rank : 0);
    add_room_to_move(settings, job, now ? *job.placement : other, need);
    need.rest +=
        static_cast<std::int64_t>(std::min(row_bytes(job, now ? rank : 0, of_ranks), 1e18));
    return need;
  };
  if (settings.layers > 1) request.otherwise = "fewer --layers";
  return request;
}

/// Opens the trace that is replayed, and takes its tokens for those of the job.
void open_replay(const RunSettings& settings, RunJob& job) {
  const std::string file = routing_trace(settings.routing);
  if (file.empty()) return;
  job.replay = std::make_shared<TraceReplay>(file);
  job.replay->require_fit(job.block.router, settings.layers);
  const TraceReader& trace = job.replay->trace();
  for (std::int64_t step = 0; settings.tokens >= 0 && step < trace.steps(); ++step) {
    if (trace.tokens(step) == settings.tokens) continue;
    throw std::invalid_argument("--tokens: got " + std::to_string(settings.tokens) + ", want " +
                                std::to_string(trace.tokens(step)) + " as step " +
                                std::to_string(trace.number(step)) + " of " + file +
                                ", or none: the trace says how many");
  }
  job.tokens = job.replay->most_tokens();
}

/// For the choice of an exchange: how large a round is, and about how long its experts take.
comm::RoundShape expected_round(const RunJob& job, int ranks) {
  // Of one core of the kind this is made for; a wrong guess costs some overlap, and no bit.
  constexpr double kFlopsPerS = 6e10;
  constexpr double kBytesPerS = 1e10;
  const auto& expert = job.block.expert;
  const std::int64_t largest = share_of(job.tokens, 0, ranks).count;
  const std::int64_t chunk = job.options.chunk_tokens;
  const auto rows = static_cast<double>(chunk > 0 ? std::min(chunk, largest) : largest);
  const auto copies = static_cast<double>(job.block.router.top_k);
  const double places = static_cast<double>(job.block.router.experts) / ranks;
  const double weights = 3 * static_cast<double>(expert.hidden * expert.width);
  const double work_s =
      std::max(2 * rows * copies * weights / kFlopsPerS, 4 * places * weights / kBytesPerS);
  return {.rows = rows,
          .copies = copies,
          .row_bytes = expert.hidden * std::int64_t{sizeof(float)},
          .places = places,
          .work_s = work_s / job.options.threads};
}
/// Reads the placement of all layers, or each layer's own.
void place_layers(const RunSettings& settings, int ranks, RunJob& job) {
  const std::string& name = settings.placement;
  const std::int64_t experts = job.block.router.experts;
  if (settings.stateful || !Placement::layered(name)) {  // a state has one placement for all
    job.placement = Placement::from_name(name, experts, ranks);
    return;
  }
  const auto numbers = job.model->moe_layers();
  for (std::int64_t i = 0; i < settings.layers; ++i) {
    job.of_layers.push_back(Placement::from_name(name, experts, ranks, numbers[at(i)]));
  }
  job.placement = job.of_layers.front();
}
}  // namespace

RunJob prepare_job(const RunSettings& settings, int rank, int ranks) {
  RunJob job;
  job.model = model_of(settings);
  validate(settings, *job.model);
  if (!settings.checkpoint.empty()) job.checkpoint.emplace(settings.checkpoint);
  job.block = block_of(settings, *job.model);
  place_layers(settings, ranks, job);
  job.source = settings.input.empty() ? synthetic_tokens(settings.seed)
                                      : file_tokens(settings.input, job.block.router.hidden);
  job.tokens = settings.tokens >= 0 ? settings.tokens : job.source->rows();
  open_replay(settings, job);
  const auto numbers = job.model->moe_layers();
  for (std::int64_t i = 0; i < settings.layers; ++i) {
    const std::int64_t layer = numbers[static_cast<std::size_t>(i)];
    if (job.checkpoint) {
      job.weights.push_back(job.checkpoint->block(layer));
    } else {
      job.weights.push_back(std::make_shared<experts::SyntheticSource>(
          job.block, settings.seed, static_cast<std::uint32_t>(layer), job.model->router_bias(),
          job.model->selection_bias()));
    }
  }
  job.options = settings.layer;
  job.options.stored = stored_type(settings, job);
  job.options.own_types = settings.weights == "auto";
  require_rows_fit(settings, job, rank, ranks);
  return job;
}

std::int64_t tokens_of(const RunJob& job, std::int64_t step) {
  return job.replay ? job.replay->tokens(step) : job.tokens;
}

void settle_packing(comm::Group& group, const RunSettings& settings, RunJob& job,
                    const std::function<void(std::string)>& warn) {
  const Packing packing =
      decide_packing(group, pack_request(settings, job, group.rank(), group.size()));
  if (!packing.as_needed) return;
  job.options.node_queue = false;
  if (packing.ahead) job.options.pack_budget = std::make_shared<PackBudget>(*packing.ahead);
  if (warn) warn(describe(packing));
}

Coordinator load_layers(comm::Group& group, RunJob& job, std::span<const std::int64_t> numbers) {
  const auto engine = std::make_shared<Engine>(
      group, engine_options(job.options, expected_round(job, group.size())));
  std::vector<std::unique_ptr<MoeLayer>> layers;
  for (std::size_t i = 0; i < job.weights.size(); ++i) {
    LayerOptions options = job.options;
    options.layer = numbers[i];
    layers.push_back(std::make_unique<MoeLayer>(group, job.block, std::move(job.weights[i]),
                                                placement_of(job, i), options, engine));
  }
  return {group, std::move(layers), job.options.timeline};
}

GivenRouting given_routing(const RunSettings& settings, const RunJob& job, TokenShare share) {
  if (!job.replay) return given_routing(settings, job.block.router, share);
  const bool ragged = job.block.router.choice == experts::Choice::kExpertChoice;
  return [&replay = *job.replay, share, ragged](std::size_t layer, std::int64_t step) {
    return replay.routing(step, static_cast<std::int64_t>(layer), share.first, share.count, ragged);
  };
}

GivenRouting given_routing(const RunSettings& settings, const experts::RouterSpec& spec,
                           TokenShare share) {
  const double exponent = routing_exponent(settings.routing);
  if (exponent < 0) return {};
  return [&settings, spec, share, exponent](std::size_t layer, std::int64_t step) {
    return experts::synthetic_routing(spec, exponent, settings.seed, step,
                                      static_cast<std::uint32_t>(layer), share.first, share.count);
  };
}
}  // namespace switchyard::runtime
