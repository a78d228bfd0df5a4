// SPDX-License-Identifier: Apache-2.0
// In place of launch/version.cpp: a build that no other is.
#include "launch/version.hpp"

namespace switchyard::launch {
std::string version() {
  return "0.0.0";
}

std::string commit() {
  return "none";
}
}  // namespace switchyard::launch
