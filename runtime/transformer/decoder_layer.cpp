// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/decoder_layer.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"
#include "runtime/status.hpp"
#include "runtime/transformer/mixer_kinds.hpp"

namespace switchyard::runtime {
namespace {

using experts::DenseMode;
using experts::Matrix;

Matrix& add(Matrix& sum, const Matrix& rows) {
  const std::int64_t count = sum.rows() * sum.cols();
  float* const to = sum.data();
  const float* const from = rows.data();
  for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
  return sum;
}

experts::MatrixView<const float> seen(const Matrix& matrix) {
  return matrix.view();
}
}  // namespace

DecoderLayer::DecoderLayer(comm::Group& group, ModelWeights& weights, std::int64_t layer,
                           const DecoderOptions& options)
    : layer_(layer), spec_(weights.model().block()), engine_(options.engine) {
  const std::vector<std::int64_t> with_experts = weights.model().moe_layers();
  has_experts_ = std::ranges::binary_search(with_experts, layer);
  dense_mode_ = has_experts_ ? spec_.dense_mode : DenseMode::kNone;
  std::unique_ptr<experts::WeightSource> source;
  together(group, [&] { source = read(weights, options); });
  if (!has_experts_) return;
  spec_.dense.reset();
  spec_.dense_mode = DenseMode::kNone;
  std::optional<Placement> placement;
  together(group, [&] {
    placement = options.spare ? Placement::from_lists({{}}, spec_.router.experts, Hosts::kAny)
                              : Placement::from_name(options.placement, spec_.router.experts,
                                                     group.size(), layer);
  });
  LayerOptions of_layer = options.layer;
  of_layer.layer = layer;
  moe_.emplace(group, spec_, std::shared_ptr<experts::WeightSource>(std::move(source)), *placement,
               of_layer, engine_);
}

std::unique_ptr<experts::WeightSource> DecoderLayer::read(ModelWeights& weights,
                                                          const DecoderOptions& options) {
  const Model& model = weights.model();
  const auto tensors = weights.tensors();
  const TensorNames names = tensor_names(model.family());
  const std::string prefix = layer_prefix(model, layer_);
  const ExpertStore store{
      .stored = options.layer.stored, .isa = options.layer.isa, .math = options.layer.math};
  const bool sandwich =
      model.message().norm_placement() == switchyard::model::v1::NormPlacement::sandwich;
  if (names.norms.size() != (sandwich ? 4U : 2U)) {
    throw std::invalid_argument("model: norm_placement, got " +
                                std::string(sandwich ? "sandwich" : "pre") +
                                ", want the other: " + model.family() + " has " +
                                std::to_string(names.norms.size()) + " norms a layer");
  }
  for (const std::string& name : names.norms) {
    norms_.push_back(Norm::of_model(model, *tensors, prefix + name));
  }
  mixer_ = make_mixer(model, *tensors, layer_, options.layer.isa);
  if (!has_experts_) {
    mlp_ = DenseMlp(model, *tensors, layer_, store);
    return nullptr;
  }
  auto source = weights.block(layer_);
  if (dense_mode_ != DenseMode::kNone) {
    always_on_norm_ = Norm::of_model(
        model, *tensors,
        prefix + (names.dense_norm.empty() ? "residual_layernorm" : names.dense_norm));
    always_on_ = DenseMlp(*spec_.dense, source->dense(), store);
  }
  return source;
}

void DecoderLayer::run_block(DecoderScratch& scratch, Witness* witness) {
  if (witness != nullptr) witness->saw(layer_, "mlp_in", seen(scratch.normed));
  scratch.blocked.reshape(scratch.normed.rows(), scratch.normed.cols());
  if (!moe_) {
    mlp_.apply(seen(scratch.normed), scratch.blocked, *engine_);
  } else if (witness == nullptr) {
    moe_->forward(seen(scratch.normed), scratch.blocked.view());
  } else {
    const experts::Routing routing = moe_->route(seen(scratch.normed));
    witness->routed(layer_, routing);
    moe_->forward(seen(scratch.normed), routing, scratch.blocked.view());
  }
}

void DecoderLayer::run_always_on(const Matrix& hidden, DecoderScratch& scratch, Witness* witness) {
  scratch.normed.reshape(hidden.rows(), hidden.cols());
  always_on_norm_.apply(hidden.view(), scratch.normed.view());
  always_on_.apply(seen(scratch.normed), scratch.dense, *engine_);
  if (witness != nullptr) witness->saw(layer_, "residual_mlp_out", seen(scratch.dense));
}

void DecoderLayer::forward(const Batch& batch, Matrix& hidden, States& states,
                           DecoderScratch& scratch, Witness* witness) {
  const auto saw = [&](std::string_view what, const Matrix& rows) {
    if (witness != nullptr) witness->saw(layer_, what, rows.view());
  };
  const bool sandwich = norms_.size() == 4;
  const Norm& before_block = norms_[sandwich ? 2 : 1];
  scratch.normed.reshape(hidden.rows(), hidden.cols());
  scratch.mixed.reshape(hidden.rows(), hidden.cols());
  norms_[0].apply(seen(hidden), scratch.normed.view());
  mixer_->forward(batch, seen(scratch.normed), states, scratch.mixed.view());
  if (sandwich) norms_[1].apply(seen(scratch.mixed), scratch.mixed.view());
  saw("attn_out", scratch.mixed);

  if (dense_mode_ == DenseMode::kParallel) {  // Arctic: the experts read the layer's input
    before_block.apply(seen(hidden), scratch.normed.view());
    run_block(scratch, witness);
    saw("mlp_out", scratch.blocked);
    run_always_on(add(hidden, scratch.mixed), scratch, witness);
    add(add(hidden, scratch.dense), scratch.blocked);
    return saw("hidden", hidden);
  }
  add(hidden, scratch.mixed);
  before_block.apply(seen(hidden), scratch.normed.view());
  run_block(scratch, witness);
  if (sandwich) norms_[3].apply(seen(scratch.blocked), scratch.blocked.view());
  saw("mlp_out", scratch.blocked);
  add(hidden, scratch.blocked);
  if (dense_mode_ == DenseMode::kSequential) {  // OpenMoE: one more MLP behind the block
    run_always_on(hidden, scratch, witness);
    add(hidden, scratch.dense);
  }
  saw("hidden", hidden);
}

std::int64_t DecoderLayer::weight_bytes() const {
  std::int64_t sum = mixer_->weight_bytes() + mlp_.bytes() + always_on_.bytes() +
                     always_on_norm_.bytes() + (moe_ ? moe_->weight_bytes() : 0);
  for (const Norm& norm : norms_) sum += norm.bytes();
  return sum;
}
}  // namespace switchyard::runtime
