// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <charconv>
#include <string>
#include <vector>

#include "experts/router/names.hpp"
#include "experts/router/router.hpp"

namespace switchyard::experts {
namespace {

template <class Number>
std::string text(Number value) {
  std::array<char, 48> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), end.ptr};
}

std::string of_logits(const RouterSpec& spec) {
  switch (spec.logits) {
    case Logits::kLinear:
      return "";
    case Logits::kMlpTanh:
      return "two layers with tanh";
    case Logits::kAttention:
      return "attention over experts";
  }
  return "";
}

std::string of_transform(const RouterSpec& spec) {
  switch (spec.transform) {
    case LogitTransform::kNone:
      return "";
    case LogitTransform::kStandardise:
      return "standardised x " + text(spec.transform_value);
    case LogitTransform::kTanhCap:
      return "capped by tanh at " + text(spec.transform_value);
  }
  return "";
}

std::string of_scoring(const RouterSpec& spec) {
  if (spec.choice == Choice::kSparseMixer) return "";
  switch (spec.scoring) {
    case Scoring::kNone:
      return "logits";
    case Scoring::kSoftmax:
      return "softmax";
    case Scoring::kSigmoid:
      return "sigmoid";
  }
  return "";
}

std::string of_groups(const RouterSpec& spec) {
  if (spec.groups_kept >= spec.groups) return "";
  return text(spec.groups_kept) + " of " + text(spec.groups) + " groups by " +
         (spec.group_score == GroupScore::kMax ? "best score" : "sum of two best");
}

std::string of_choice(const RouterSpec& spec) {
  const std::string k = text(spec.top_k) + " of " + text(spec.all_experts());
  const std::string identity = spec.identity == 0 ? "" : " (" + text(spec.identity) + " identity)";
  switch (spec.choice) {
    case Choice::kTopK:
      return "top-" + k + identity;
    case Choice::kSparseMixer:
      return "sparsemixer " + k + identity + ", jitter " + text(spec.sparsemixer_jitter);
    case Choice::kExpertChoice:
      return "expert choice of " + text(spec.experts) + ", factor " + text(spec.capacity.factor);
  }
  return "";
}

std::string of_weights(const RouterSpec& spec) {
  std::string weights = "weights";
  if (spec.choice == Choice::kTopK && spec.weighting == Weighting::kSoftmaxOfChosen) {
    weights += " softmax of chosen";
  } else if (spec.normalize == Normalize::kNone) {
    weights += spec.choice == Choice::kSparseMixer ? " masked softmax" : " raw";
  }
  switch (spec.normalize) {
    case Normalize::kNone:
      return weights;
    case Normalize::kSum:
      return weights + " / " + (spec.norm_eps == 0 ? "sum" : "(sum + " + text(spec.norm_eps) + ")");
    case Normalize::kClampedSum:
      return weights + " / max(sum, " + text(spec.norm_eps) + ")";
    case Normalize::kPNorm:
      return weights + " / " + text(spec.norm_p) + "-norm";
  }
  return weights;
}

std::string of_capacity(const RouterSpec& spec) {
  if (spec.capacity.rule == CapacityRule::kNone || spec.capacity.factor == 0) return "";
  return std::string(rule_name(spec.capacity.rule)) + ", factor " + text(spec.capacity.factor);
}
}  // namespace

std::string describe(const RouterSpec& spec) {
  const std::vector<std::string> steps{
      of_logits(spec),
      of_transform(spec),
      of_scoring(spec),
      of_groups(spec),
      of_choice(spec),
      of_weights(spec),
      spec.scale == 1 ? "" : "x " + text(spec.scale),
      spec.gate_on == GateOn::kInput ? "on the input" : "",
      of_capacity(spec),
  };
  std::string sentence;
  for (const std::string& step : steps) {
    if (!step.empty()) sentence += (sentence.empty() ? "" : " > ") + step;
  }
  return sentence;
}
}  // namespace switchyard::experts
