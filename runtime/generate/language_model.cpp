// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/language_model.hpp"

#include "runtime/model/model.pb.h"

namespace switchyard::runtime {

std::int64_t TransformerModel::vocabulary() const {
  return transformer_.model().message().vocab_size();
}

std::int64_t TransformerModel::max_context() const {
  return max_context_of(transformer_.model());
}

std::int64_t max_context_of(const Model& model) {
  return model.message().max_context();
}
}  // namespace switchyard::runtime
