// SPDX-License-Identifier: Apache-2.0
#include "runtime/run/recording.hpp"

#include <utility>

namespace switchyard::runtime {

TraceInfo trace_info(const Model& model, const experts::RouterSpec& router,
                     std::vector<std::int64_t> numbers, TraceDetail detail,
                     std::string provenance) {
  const bool chosen = router.choice == experts::Choice::kExpertChoice;  // by all of them at most
  return {.layers = static_cast<std::int64_t>(numbers.size()),
          .experts = router.all_experts(),
          .top_k = chosen ? router.all_experts() : router.top_k,
          .detail = detail,
          .layer_numbers = std::move(numbers),
          .model = model.name(),
          .provenance = std::move(provenance)};
}

std::unique_ptr<RoutingRecorder> record_routing(comm::Group& group, const RunSettings& settings,
                                                const RunJob& job) {
  if (settings.record.to.empty()) return nullptr;
  auto numbers = job.model->moe_layers();
  numbers.resize(static_cast<std::size_t>(settings.layers));
  std::string provenance = "recorded by switchyard run: seed " + std::to_string(settings.seed) +
                           ", routing " + settings.routing;
  if (!settings.checkpoint.empty()) provenance += ", weights of a checkpoint";
  if (!settings.input.empty()) provenance += ", tokens of a file";
  return std::make_unique<RoutingRecorder>(
      group, "--record-trace", settings.record.to,
      trace_info(*job.model, job.block.router, std::move(numbers), settings.record.detail,
                 std::move(provenance)));
}

void listen(RoutingRecorder& recorder, Coordinator& layers) {
  for (std::size_t i = 0; i < layers.layers(); ++i) layers.layer(i).tell(&recorder);
}

void record_step(RoutingRecorder& recorder, const TokenShare& share, std::int64_t step,
                 bool counts) {
  if (!counts) return recorder.forget();
  std::vector<TokenKey> keys;
  for (std::int64_t t = 0; t < share.count; ++t) keys.push_back({.position = share.first + t});
  recorder.tokens(keys);
  recorder.end_step(step);
}

void describe_replay(const RunSettings& settings, const RunJob& job,
                     const std::function<void(std::string)>& warn) {
  if (!job.replay) return;
  const TraceReader& trace = job.replay->trace();
  const std::string where = "--routing " + settings.routing + ": ";
  if (trace.info().detail == TraceDetail::kCounts) {
    warn(where +
         "a trace of counts: loads are its own, which token goes where is made up, and "
         "every weight is 1 / top-k");
  } else if (trace.info().detail == TraceDetail::kExperts) {
    warn(where + "a trace without weights: every weight is 1 / top-k");
  }
  if (settings.steps > trace.steps()) {
    warn(where + "its " + std::to_string(trace.steps()) + " steps begin anew behind the last");
  }
}
}  // namespace switchyard::runtime
