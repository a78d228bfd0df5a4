// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/activation.hpp"

#include "experts/kernels/math.hpp"

namespace switchyard::experts {

float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::kGeluErf:
      return portable::gelu_erf_float32(x);
    case Activation::kGeluTanh:
      return portable::gelu_tanh_float32(x);
    case Activation::kRelu:
      return 0.0F > x ? 0.0F : x;
    case Activation::kSilu:
    case Activation::kClampedSwiglu:
      break;
  }
  return x * portable::sigmoid_float32(x);
}

float gated_unit(const ExpertSpec& spec, float gate, float up) {
  if (spec.activation != Activation::kClampedSwiglu) return activate(spec.activation, gate) * up;
  const float limit = spec.swiglu_limit;
  const float g = limit < gate ? limit : gate;
  const float below = limit < up ? limit : up;
  const float l = -limit > below ? -limit : below;
  return (l + 1.0F) * (g * portable::sigmoid_float32(spec.swiglu_alpha * g));
}
}  // namespace switchyard::experts
