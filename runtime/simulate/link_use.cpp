// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/link_use.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace switchyard::runtime {

std::vector<LinkUse> busiest_links(const Links& links, const std::vector<double>& bytes,
                                   std::size_t most) {
  std::vector<std::size_t> order(bytes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto busy = [&](std::size_t link) { return bytes[link] / links.bytes_per_s()[link]; };
  const std::size_t shown = std::min(most, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                    [&](std::size_t a, std::size_t b) {
                      return std::pair(-busy(a), a) < std::pair(-busy(b), b);
                    });
  std::vector<LinkUse> uses;
  for (std::size_t i = 0; i < shown && bytes[order[i]] > 0; ++i) {
    uses.push_back({links.name(order[i]), bytes[order[i]], busy(order[i])});
  }
  return uses;
}
}  // namespace switchyard::runtime
