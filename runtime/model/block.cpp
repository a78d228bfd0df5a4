// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/model/model.hpp"
#include "runtime/model/model.pb.h"

// How the words of model.proto become the steps that experts/ computes.
namespace switchyard::runtime {
namespace {
namespace v1 = model::v1;
using Message = v1::Model;

experts::Logits logits_of(const Message& m) {
  switch (m.logits()) {
    case v1::Logits::mlp_tanh:
      return experts::Logits::kMlpTanh;
    case v1::Logits::attention:
      return experts::Logits::kAttention;
    default:
      return experts::Logits::kLinear;
  }
}

experts::LogitTransform transform_of(const Message& m) {
  switch (m.logit_transform()) {
    case v1::LogitTransform::standardise:
      return experts::LogitTransform::kStandardise;
    case v1::LogitTransform::tanh_cap:
      return experts::LogitTransform::kTanhCap;
    default:
      return experts::LogitTransform::kNone;
  }
}

experts::Scoring scoring_of(const Message& m) {
  // within_topk takes the softmax later and over fewer; the choice is by logit.
  if (m.normalize_topk() == v1::NormalizeTopk::within_topk) return experts::Scoring::kNone;
  switch (m.scoring()) {
    case v1::Scoring::sigmoid:
      return experts::Scoring::kSigmoid;
    case v1::Scoring::none:
      return experts::Scoring::kNone;
    default:
      return experts::Scoring::kSoftmax;
  }
}

experts::GroupScore group_score_of(const Message& m) {
  switch (m.group_score()) {
    case v1::GroupScore::max:
      return experts::GroupScore::kMax;
    case v1::GroupScore::sum_top2:
      return experts::GroupScore::kSumTop2;
    default:
      return experts::GroupScore::kNone;
  }
}

experts::Choice choice_of(const Message& m) {
  switch (m.choice()) {
    case v1::Choice::sparsemixer:
      return experts::Choice::kSparseMixer;
    case v1::Choice::expert_choice:
      return experts::Choice::kExpertChoice;
    default:
      return experts::Choice::kTopK;
  }
}

experts::Normalize normalize_of(const Message& m) {
  if (m.normalize_topk() != v1::NormalizeTopk::after_topk) return experts::Normalize::kNone;
  switch (m.normalize()) {
    case v1::Normalize::clamped_sum:
      return experts::Normalize::kClampedSum;
    case v1::Normalize::p_norm:
      return experts::Normalize::kPNorm;
    default:
      return experts::Normalize::kSum;
  }
}

experts::RouterSpec router_of(const Message& m) {
  experts::RouterSpec spec;
  spec.hidden = m.hidden_size();
  spec.experts = m.routed_experts();
  spec.identity = m.zero_experts();
  spec.top_k = m.top_k();
  spec.logits = logits_of(m);
  spec.transform = transform_of(m);
  if (m.has_logit_transform_value()) {
    spec.transform_value = static_cast<float>(m.logit_transform_value());
  }
  spec.scoring = scoring_of(m);
  spec.groups = std::max<std::int64_t>(m.n_group(), 1);
  spec.groups_kept = std::max<std::int64_t>(m.topk_group(), 1);
  if (spec.groups > 1) spec.group_score = group_score_of(m);
  spec.choice = choice_of(m);
  spec.sparsemixer_jitter = static_cast<float>(m.sparsemixer_jitter());
  spec.weighting = m.normalize_topk() == v1::NormalizeTopk::within_topk
                       ? experts::Weighting::kSoftmaxOfChosen
                       : experts::Weighting::kScores;
  spec.normalize = normalize_of(m);
  spec.norm_eps = static_cast<float>(m.norm_eps());
  if (m.has_norm_p()) spec.norm_p = static_cast<float>(m.norm_p());
  if (m.has_routed_scaling_factor()) spec.scale = static_cast<float>(m.routed_scaling_factor());
  spec.gate_on = m.gate_applied_to() == v1::GateAppliedTo::input ? experts::GateOn::kInput
                                                                 : experts::GateOn::kOutput;
  return spec;
}

experts::Activation activation_of(const Message& m) {
  switch (m.expert_activation()) {
    case v1::ExpertActivation::geglu:
      return experts::Activation::kGeluErf;
    case v1::ExpertActivation::geglu_tanh:
      return experts::Activation::kGeluTanh;
    case v1::ExpertActivation::reglu:
      return experts::Activation::kRelu;
    case v1::ExpertActivation::clamped_swiglu:
      return experts::Activation::kClampedSwiglu;
    default:
      return experts::Activation::kSilu;
  }
}

/// Routed, shared and dense networks of a block differ in width only.
experts::ExpertSpec network_of(const Message& m, std::int64_t width) {
  experts::ExpertSpec spec;
  switch (m.expert_unit()) {
    case v1::ExpertUnit::plain:
      spec.unit = experts::Unit::kPlain;
      break;
    case v1::ExpertUnit::trilinear:
      spec.unit = experts::Unit::kTrilinear;
      break;
    default:
      spec.unit = experts::Unit::kGated;
  }
  spec.activation = activation_of(m);
  spec.hidden = m.hidden_size();
  spec.width = width;
  spec.biases = m.expert_bias() == v1::ExpertBias::yes;
  if (m.has_swiglu_alpha()) spec.swiglu_alpha = static_cast<float>(m.swiglu_alpha());
  if (m.has_swiglu_limit()) spec.swiglu_limit = static_cast<float>(m.swiglu_limit());
  return spec;
}
}  // namespace

experts::BlockSpec Model::block() const {
  const Message& m = *message_;
  experts::BlockSpec block;
  block.router = router_of(m);
  block.expert = network_of(m, m.moe_intermediate_size());
  if (m.shared_intermediate_size() > 0) {
    block.shared = network_of(m, m.shared_intermediate_size());
    if (m.shared_expert_gate() == v1::SharedExpertGate::sigmoid) {
      block.shared_gate = experts::SharedGate::kSigmoid;
    }
  }
  if (m.dense_residual() != v1::DenseResidual::none) {
    block.dense = network_of(m, m.dense_intermediate_size());
    block.dense_mode = m.dense_residual() == v1::DenseResidual::parallel
                           ? experts::DenseMode::kParallel
                           : experts::DenseMode::kSequential;
  }
  block.output_bias = m.expert_bias() == v1::ExpertBias::shared_output_bias;
  return block;
}
}  // namespace switchyard::runtime
