// SPDX-License-Identifier: Apache-2.0
#include "launch/version.hpp"

namespace switchyard::launch {
std::string version() {
  return SWITCHYARD_VERSION;
}
}  // namespace switchyard::launch
