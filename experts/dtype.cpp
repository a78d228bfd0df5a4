// SPDX-License-Identifier: Apache-2.0
#include "experts/dtype.hpp"

#include <stdexcept>
#include <string>

namespace switchyard::experts {

DType dtype_from(std::string_view name) {
  for (const DType type : {DType::kFloat32, DType::kBfloat16, DType::kFloat16, DType::kInt8}) {
    if (name == name_of(type)) return type;
  }
  throw std::invalid_argument("weights: got " + std::string(name) +
                              ", want float32, bfloat16, float16 or int8");
}
}  // namespace switchyard::experts
