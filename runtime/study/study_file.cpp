// SPDX-License-Identifier: Apache-2.0
// Owns study.proto: the only place that sees its generated code.
#include <google/protobuf/text_format.h>
#include <stdexcept>

#include "runtime/study/study.hpp"
#include "runtime/study/study.pb.h"
#include "runtime/text_proto.hpp"

namespace switchyard::runtime::study {
namespace {
namespace format = switchyard::study::v1;
constexpr std::uint32_t kVersion = 1;

template <typename Message>
RankCounts counts_from(const Message& message) {
  return {std::vector<int>(message.real().begin(), message.real().end()),
          std::vector<int>(message.simulated().begin(), message.simulated().end()),
          std::vector<int>(message.fast().begin(), message.fast().end())};
}

template <typename Message>
void fill(const RankCounts& counts, Message& message) {
  message.mutable_real()->Add(counts[0].begin(), counts[0].end());
  message.mutable_simulated()->Add(counts[1].begin(), counts[1].end());
  message.mutable_fast()->Add(counts[2].begin(), counts[2].end());
}

Sweep sweep_of(const format::Sweep& message, const std::string& where) {
  if (message.over() == format::Over::none) {
    throw std::invalid_argument(
        where + ": sweep.over: got none, want strong, weak, experts, top_k, skew or placement");
  }
  return {.over = static_cast<Over>(message.over() - 1),
          .values = {message.value().begin(), message.value().end()},
          .ranks = counts_from(message)};
}

void take(const std::string& value, std::string& to) {
  if (!value.empty()) to = value;
}
}  // namespace

Study study_from_text(std::string_view text, const std::string& where) {
  format::Study message;
  parse_text(text, where, message);
  if (message.version() > kVersion) {
    throw std::invalid_argument(where + ": version: got " + std::to_string(message.version()) +
                                ", want at most " + std::to_string(kVersion) +
                                ": it was written for a newer switchyard");
  }
  Study study;
  take(message.name(), study.name);
  take(message.model(), study.model);
  study.set = {message.set().begin(), message.set().end()};
  if (message.has_layers()) study.layers = message.layers();
  if (message.has_tokens()) study.tokens = message.tokens();
  if (message.has_tokens_per_rank()) study.tokens_per_rank = message.tokens_per_rank();
  if (message.has_steps()) study.steps = message.steps();
  if (message.has_warmup()) study.warmup = message.warmup();
  if (message.has_seed() && message.seed() < 0) {
    throw std::invalid_argument(where + ": seed: got " + std::to_string(message.seed()) +
                                ", want a whole number from 0");
  }
  if (message.has_seed()) study.seed = static_cast<std::uint64_t>(message.seed());
  take(message.weights(), study.weights);
  take(message.math(), study.math);
  take(message.routing(), study.routing);
  take(message.placement(), study.placement);
  take(message.transport(), study.transport);
  study.ranks = counts_from(message);
  study.machines = {message.machine().begin(), message.machine().end()};
  for (const auto& sweep : message.sweep()) study.sweeps.push_back(sweep_of(sweep, where));
  if (message.has_repetitions()) study.repetitions = message.repetitions();
  if (message.has_confidence()) study.confidence = message.confidence();
  return study;
}

std::string to_text(const Study& study) {
  format::Study message;
  message.set_version(kVersion);
  message.set_name(study.name);
  message.set_model(study.model);
  message.mutable_set()->Add(study.set.begin(), study.set.end());
  message.set_layers(study.layers);
  message.set_tokens(study.tokens);
  message.set_tokens_per_rank(study.tokens_per_rank);
  message.set_steps(study.steps);
  message.set_warmup(study.warmup);
  message.set_seed(static_cast<std::int64_t>(study.seed));
  message.set_weights(study.weights);
  message.set_math(study.math);
  message.set_routing(study.routing);
  message.set_placement(study.placement);
  message.set_transport(study.transport);
  fill(study.ranks, message);
  message.mutable_machine()->Add(study.machines.begin(), study.machines.end());
  for (const Sweep& sweep : study.sweeps) {
    auto& to = *message.add_sweep();
    to.set_over(static_cast<format::Over::What>(static_cast<int>(sweep.over) + 1));
    to.mutable_value()->Add(sweep.values.begin(), sweep.values.end());
    fill(sweep.ranks, to);
  }
  message.set_repetitions(study.repetitions);
  message.set_confidence(study.confidence);
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  std::string text;
  if (!printer.PrintToString(message, &text)) throw std::logic_error("study: it has no text");
  return text;
}
}  // namespace switchyard::runtime::study
