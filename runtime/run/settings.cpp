// SPDX-License-Identifier: Apache-2.0
#include "runtime/run/settings.hpp"

#include <charconv>
#include <stdexcept>

#include "experts/router/router.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/placement/policies/policy.hpp"
#include "runtime/state/layer_state.hpp"
#include "runtime/words.hpp"

namespace switchyard::runtime {

double routing_exponent(const std::string& routing) {
  if (routing == "model") return -1;
  if (routing == "uniform") return 0;
  constexpr std::string_view kZipf = "zipf:";
  if (routing.starts_with(kZipf)) {
    double exponent = -1;
    const char* const end = routing.data() + routing.size();
    const auto [stop, error] = std::from_chars(routing.data() + kZipf.size(), end, exponent);
    if (error == std::errc{} && stop == end && exponent >= 0 && exponent <= 100) return exponent;
  }
  throw std::invalid_argument("--routing: got '" + routing +
                              "', want model, uniform or zipf:S with S from 0 to 100");
}

std::string routing_trace(const std::string& routing) {
  constexpr std::string_view kTrace = "trace:";
  return routing.starts_with(kTrace) ? routing.substr(kTrace.size()) : std::string();
}

Model model_of(const RunSettings& settings) {
  if (settings.model.empty() == settings.checkpoint.empty()) {
    throw std::invalid_argument(settings.model.empty()
                                    ? "run: got neither --model nor --checkpoint, want one"
                                    : "run: got --model and --checkpoint, want one");
  }
  Model model = settings.checkpoint.empty() ? Model::from_name_or_file(settings.model)
                                            : Checkpoint(settings.checkpoint).model();
  for (const std::string& assignment : settings.set) model.set(assignment);
  model.validate();
  return model;
}

experts::BlockSpec block_of(const RunSettings& settings, const Model& model) {
  experts::BlockSpec block = model.block();
  block.router.capacity = settings.capacity;
  if (block.router.capacity.devices == 0) block.router.capacity.devices = block.router.groups;
  return block;
}

RankMemory rank_memory(const experts::BlockSpec& block, const Placement& placement, int rank,
                       experts::DType stored, std::int64_t layers) {
  using experts::PackedExpert;
  RankMemory memory;
  memory.expert = PackedExpert::packed_bytes(block.expert, stored);
  memory.experts =
      layers * static_cast<std::int64_t>(placement.experts_of(rank).size()) * memory.expert;
  if (block.shared) memory.rest += layers * PackedExpert::packed_bytes(*block.shared, stored);
  if (block.dense) memory.rest += layers * PackedExpert::packed_bytes(*block.dense, stored);
  return memory;
}

std::int64_t state_memory(const RunSettings& settings, const experts::BlockSpec& block,
                          const Placement& placement, int rank) {
  if (!settings.stateful) return 0;
  const auto experts = static_cast<std::int64_t>(placement.experts_of(rank).size());
  const std::int64_t copies = settings.save.to.empty() || !settings.save.async ? 1 : 2;
  return copies * settings.layers * state_bytes(block, experts);
}

void validate(const RunSettings& settings, const Model& model) {
  const bool replays = !routing_trace(settings.routing).empty();
  if (!replays) (void)routing_exponent(settings.routing);
  const auto moe_layers = model.num_moe_layers();
  if (settings.layers < 1 || settings.layers > moe_layers) {
    throw std::invalid_argument("--layers: got " + std::to_string(settings.layers) +
                                ", want 1 to " + std::to_string(moe_layers) +
                                ", the MoE layers of " + model.name());
  }
  if (settings.tokens < 0 && settings.input.empty() && !replays) {
    throw std::invalid_argument("--tokens: got " + std::to_string(settings.tokens) +
                                ", want a number from 0");
  }
  if (!settings.stateful && !settings.save.to.empty()) {
    throw std::invalid_argument(
        "--save-to: got it without --stateful, want both: other runs have nothing to save");
  }
  if (settings.stateful && settings.layer.pack_cache) {
    throw std::invalid_argument(
        "--pack-cache: got it with --stateful, want one of them: packed experts would change");
  }
  if (settings.rebalance.on()) {
    const std::string got =
        "--rebalance: got " + std::string(policy_from(settings.rebalance.policy).name);
    if (settings.layer.pack_cache) {
      throw std::invalid_argument(got + " with --pack-cache, want one of them: files do not move");
    }
    if (settings.layer.presum) {
      throw std::invalid_argument(
          got + " with --combine presum, whose results depend on the placement, want exact");
    }
  }
  const experts::RouterSpec router = block_of(settings, model).router;
  experts::validate(router);
  const auto& capacity = settings.capacity;
  const bool whole_batch = experts::needs_whole_batch(router);
  const bool asked = capacity.rule != experts::CapacityRule::kNone || capacity.factor != 0 ||
                     capacity.min_capacity != 0 || capacity.devices != 0 ||
                     capacity.group_tokens != 0 || settings.layer.rank_local_rule;
  if (asked && settings.routing != "model") {
    throw std::invalid_argument("--routing: got " + settings.routing +
                                " with capacity settings, which only --routing model heeds");
  }
  if (asked && !whole_batch && capacity.rule == experts::CapacityRule::kNone) {
    throw std::invalid_argument(
        "--capacity-rule: got none with capacity settings that need one, want a rule");
  }
}
}  // namespace switchyard::runtime
