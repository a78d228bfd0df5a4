// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which links were busiest.
#include <cstddef>
#include <string>
#include <vector>

#include "runtime/simulate/links.hpp"

namespace switchyard::runtime {

struct LinkUse {
  std::string name;
  double bytes = 0;
  double busy_s = 0;  ///< at its full rate
};
/// The busiest first; none that carried nothing.
/// @param bytes  [links]
[[nodiscard]] std::vector<LinkUse> busiest_links(const Links& links,
                                                 const std::vector<double>& bytes,
                                                 std::size_t most);
}  // namespace switchyard::runtime
