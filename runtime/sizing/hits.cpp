// SPDX-License-Identifier: Apache-2.0
#include "runtime/sizing/hits.hpp"

#include <algorithm>

#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
/// That none of k out of `all` is among `some` of them: C(all - some, k) / C(all, k).
double missed(std::int64_t all, std::int64_t some, std::int64_t k) {
  double probability = 1;
  for (std::int64_t i = 0; i < k; ++i) {
    probability *= static_cast<double>(std::max<std::int64_t>(all - some - i, 0)) /
                   static_cast<double>(all - i);
  }
  return probability;
}
}  // namespace

UniformRouter::UniformRouter(std::int64_t experts, std::int64_t top_k, std::int64_t groups,
                             std::int64_t groups_kept)
    : experts_(experts), top_k_(top_k), groups_(groups), kept_(groups_kept) {}

UniformRouter::UniformRouter(const experts::RouterSpec& spec)
    : UniformRouter(spec.experts, spec.top_k, spec.groups, spec.groups_kept) {}

double UniformRouter::hits(std::span<const std::int32_t> experts) const {
  const auto count = static_cast<std::int64_t>(experts.size());
  if (groups_ <= 1 || kept_ >= groups_) return 1 - missed(experts_, count, top_k_);

  std::vector<std::int64_t> in_group(at(groups_), 0);
  const std::int64_t group_size = experts_ / groups_;
  for (const std::int32_t expert : experts) ++in_group[at(expert / group_size)];
  // chosen[j][s]: probability that j of the groups so far are kept, with s of the experts in them.
  // The groups come one by one; the next of those left is kept with the share that is still due.
  std::vector<std::vector<double>> chosen(at(kept_ + 1), std::vector<double>(at(count + 1), 0));
  chosen[0][0] = 1;
  for (std::int64_t group = 0; group < groups_; ++group) {
    const std::int64_t here = in_group[at(group)];
    const auto left = static_cast<double>(groups_ - group);
    for (std::int64_t j = std::min(group, kept_); j >= 0; --j) {
      const double keep = static_cast<double>(kept_ - j) / left;
      for (std::int64_t s = count; s >= 0; --s) {
        const double probability = chosen[at(j)][at(s)];
        if (probability == 0) continue;
        if (keep > 0) chosen[at(j + 1)][at(s + here)] += probability * keep;
        chosen[at(j)][at(s)] = probability * (1 - keep);
      }
    }
  }
  double none = 0;
  for (std::int64_t s = 0; s <= count; ++s) {
    none += chosen[at(kept_)][at(s)] * missed(kept_ * group_size, s, top_k_);
  }
  return 1 - none;
}
}  // namespace switchyard::runtime
