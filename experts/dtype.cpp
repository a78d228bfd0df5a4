// SPDX-License-Identifier: Apache-2.0
#include "experts/dtype.hpp"

#include <stdexcept>
#include <string>

namespace switchyard::experts {

DType dtype_from(std::string_view name) {
  for (const DType type : kAllDTypes) {
    if (name == name_of(type)) return type;
  }
  throw std::invalid_argument("weights: got " + std::string(name) +
                              ", want float32, bfloat16, float16, int8, fp8 or mxfp4");
}
}  // namespace switchyard::experts
