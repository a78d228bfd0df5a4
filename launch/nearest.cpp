// SPDX-License-Identifier: Apache-2.0
#include "launch/nearest.hpp"

#include "runtime/model/nearest.hpp"

namespace switchyard::launch {

std::string nearest_hint(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string name = runtime::nearest(word, candidates);
  return name.empty() ? "" : ", nearest is " + name;
}
}  // namespace switchyard::launch
