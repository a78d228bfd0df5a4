// SPDX-License-Identifier: Apache-2.0
#include "experts/span_source.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace switchyard::experts {
namespace {
WeightView view_of(std::span<const float> values, std::int64_t out, std::int64_t in,
                   const std::string& what) {
  if (values.size() != static_cast<std::size_t>(out * in)) {
    throw std::invalid_argument(what + " has " + std::to_string(values.size()) + " values, want " +
                                std::to_string(out * in));
  }
  return {.data = values.data(), .out = out, .in = in, .out_stride = in};
}
}  // namespace

SpanSource::SpanSource(BlockSpec spec, std::span<const float> router,
                       std::function<NetworkSpans(std::int64_t)> experts)
    : spec_(std::move(spec)), router_(router), experts_(std::move(experts)) {}

RouterTensors SpanSource::router() {
  RouterTensors tensors;
  tensors.weight =
      view_of(router_, spec_.router.all_experts(), spec_.router.hidden, "router: weight");
  return tensors;
}

ExpertTensors SpanSource::expert(std::int64_t logical) {
  const ExpertSpec& spec = spec_.expert;
  const NetworkSpans spans = experts_(logical);
  const std::string where = "expert " + std::to_string(logical) + ": ";
  ExpertTensors tensors;
  tensors.up = view_of(spans.up, spec.width, spec.hidden, where + "up");
  tensors.down = view_of(spans.down, spec.hidden, spec.width, where + "down");
  if (spec.unit != Unit::kPlain) {
    tensors.gate = view_of(spans.gate, spec.width, spec.hidden, where + "gate");
  }
  if (spec.unit == Unit::kTrilinear) {
    tensors.linear = view_of(spans.linear, spec.width, spec.hidden, where + "linear");
  }
  return tensors;
}
}  // namespace switchyard::experts
