// SPDX-License-Identifier: Apache-2.0
#include "launch/version.hpp"

#include "launch/commit.hpp"

namespace switchyard::launch {
std::string version() {
  return SWITCHYARD_VERSION;
}

std::string commit() {
  return kCommit;
}
}  // namespace switchyard::launch
