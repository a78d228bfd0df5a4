// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/transformer.hpp"

#include <stdexcept>
#include <utility>

#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"
#include "runtime/status.hpp"
#include "runtime/transformer/decoder_layer.hpp"
#include "runtime/transformer/linear.hpp"

namespace switchyard::runtime {
namespace {
namespace v1 = switchyard::model::v1;
using experts::Matrix;

void require_whole(const Model& model) {
  const v1::Model& m = model.message();
  if (!(m.rms_norm_eps() > 0)) {
    throw std::invalid_argument("model " + model.name() + ": rms_norm_eps, got " +
                                std::to_string(m.rms_norm_eps()) +
                                ", want more than 0: it is not known as a whole model");
  }
  if (m.sublayers() > 0) {
    throw std::invalid_argument("model " + model.name() + ": sublayers, got " +
                                std::to_string(m.sublayers()) + ", want 0 in a whole model");
  }
}

void multiply(Matrix& rows, double factor) {
  if (factor == 1) return;
  for (std::int64_t i = 0; i < rows.rows() * rows.cols(); ++i) {
    rows.data()[i] *= static_cast<float>(factor);
  }
}
}  // namespace

struct Transformer::Parts {
  explicit Parts(Model of) : model(std::move(of)) {}

  Model model;
  std::unique_ptr<TensorSource> embedding_owner;
  experts::WeightView embedding;  ///< [vocabulary, hidden], where it lies
  std::vector<DecoderLayer> layers;
  Norm final_norm;
  Linear head;
  DecoderScratch scratch;

  void read_ends(ModelWeights& weights, experts::Isa isa);
  void check(const Batch& batch) const;
  [[nodiscard]] Matrix embed(const Batch& batch) const;
};

void Transformer::Parts::read_ends(ModelWeights& weights, experts::Isa isa) {
  const v1::Model& m = model.message();
  const TensorNames names = tensor_names(model.family());
  embedding_owner = weights.tensors();
  embedding = embedding_owner->matrix(names.embedding, m.vocab_size(), m.hidden_size());
  const auto tensors = weights.tensors();
  final_norm = Norm::of_model(model, *tensors, names.final_norm);
  std::vector<float> bias;
  if (m.lm_head_bias()) bias = tensors->values(names.head + ".bias", m.vocab_size());
  head = Linear(m.tie_embeddings() ? embedding
                                   : tensors->matrix(names.head + names.weight, m.vocab_size(),
                                                     m.hidden_size(), names.input_first),
                std::move(bias), isa);
}

void Transformer::Parts::check(const Batch& batch) const {
  std::int64_t rows = 0;
  for (const Segment& segment : batch.segments) rows += segment.count;
  if (rows != batch.rows()) {
    throw std::invalid_argument("batch: segments of " + std::to_string(rows) + " tokens, want " +
                                std::to_string(batch.rows()));
  }
  const std::int64_t vocabulary = model.message().vocab_size();
  for (const std::int64_t id : batch.ids) {
    if (id >= 0 && id < vocabulary) continue;
    throw std::invalid_argument("token: id, got " + std::to_string(id) + ", want 0 to " +
                                std::to_string(vocabulary - 1));
  }
}

Matrix Transformer::Parts::embed(const Batch& batch) const {
  Matrix hidden(batch.rows(), embedding.in);
  for (std::int64_t r = 0; r < batch.rows(); ++r) {
    const std::int64_t id = batch.ids[static_cast<std::size_t>(r)];
    for (std::int64_t i = 0; i < embedding.in; ++i) hidden(r, i) = embedding.at(id, i);
  }
  const v1::Model& m = model.message();
  multiply(hidden, m.has_embedding_multiplier() ? m.embedding_multiplier() : 1);
  return hidden;
}

Transformer::Transformer(comm::Group& group, const Checkpoint& checkpoint,
                         const TransformerOptions& options)
    : Transformer(group, *std::make_unique<CheckpointWeights>(checkpoint), options) {}

Transformer::Transformer(comm::Group& group, ModelWeights& weights,
                         const TransformerOptions& options)
    : parts_(std::make_unique<Parts>(weights.model())) {
  together(group, [&] {
    require_whole(parts_->model);
    parts_->read_ends(weights, options.layer.isa);
  });
  const DecoderOptions decoder{
      .layer = options.layer,
      .placement = options.placement,
      .spare = options.spare,
      .engine = std::make_shared<Engine>(group, engine_options(options.layer))};
  parts_->layers.reserve(static_cast<std::size_t>(parts_->model.num_layers()));
  for (std::int64_t layer = 0; layer < parts_->model.num_layers(); ++layer) {
    parts_->layers.emplace_back(group, weights, layer, decoder);
  }
  together(group, [&] { weights.finish(); });
}

Transformer::~Transformer() = default;
Transformer::Transformer(Transformer&&) noexcept = default;
Transformer& Transformer::operator=(Transformer&&) noexcept = default;

std::int64_t Transformer::begin(States& states) const {
  std::vector<std::unique_ptr<MixerState>> by_layer;
  for (const DecoderLayer& layer : parts_->layers) by_layer.push_back(layer.mixer().make_state());
  return states.add(std::move(by_layer));
}

bool Transformer::rewind(States& states, std::int64_t sequence, std::int64_t end) const {
  for (std::int64_t layer = 0; layer < std::ssize(parts_->layers); ++layer) {
    MixerState* const state = states.at(sequence, layer);
    if (state == nullptr) continue;
    const Mixer& mixer = parts_->layers[static_cast<std::size_t>(layer)].mixer();
    if (!mixer.rewind(*state, end)) return false;
  }
  return true;
}

Matrix Transformer::forward(const Batch& batch, States& states, Witness* witness) {
  parts_->check(batch);
  Matrix hidden = parts_->embed(batch);
  if (witness != nullptr) witness->saw(-1, "embed", std::as_const(hidden).view());
  for (DecoderLayer& layer : parts_->layers) {
    layer.forward(batch, hidden, states, parts_->scratch, witness);
  }
  parts_->final_norm.apply(std::as_const(hidden).view(), hidden.view());
  if (witness != nullptr) witness->saw(-1, "final_norm", std::as_const(hidden).view());
  return hidden;
}

Matrix Transformer::logits(experts::MatrixView<const float> rows) const {
  Matrix logits = parts_->head.apply(rows);
  const v1::Model& m = parts_->model.message();
  multiply(logits, m.has_logit_multiplier() ? m.logit_multiplier() : 1);
  return logits;
}

const Model& Transformer::model() const {
  return parts_->model;
}

std::vector<MoeLayer*> Transformer::moe_layers() {
  std::vector<MoeLayer*> layers;
  for (DecoderLayer& layer : parts_->layers) {
    if (layer.moe() != nullptr) layers.push_back(layer.moe());
  }
  return layers;
}

PackStats Transformer::packing() const {
  PackStats sum;
  for (const DecoderLayer& layer : parts_->layers) sum += layer.packing();
  return sum;
}

std::int64_t Transformer::weight_bytes() const {
  std::int64_t sum = parts_->head.bytes() + parts_->final_norm.bytes();
  for (const DecoderLayer& layer : parts_->layers) sum += layer.weight_bytes();
  return sum;
}
}  // namespace switchyard::runtime
