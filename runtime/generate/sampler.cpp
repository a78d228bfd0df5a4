// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "experts/kernels/math.hpp"
#include "experts/synthetic.hpp"

namespace switchyard::runtime {
namespace {
/// A token that may be drawn.
struct Candidate {
  std::int64_t id = 0;
  float logit = 0;
  double weight = 0;  ///< e^((logit - largest) / temperature)
};

bool better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

std::string place(std::int64_t sequence, std::int64_t position) {
  return "logits of sequence " + std::to_string(sequence) + ", position " +
         std::to_string(position);
}

std::int64_t best_of(std::span<const float> logits, const std::string& where) {
  std::int64_t best = -1;
  float most = -std::numeric_limits<float>::infinity();
  for (std::size_t id = 0; id < logits.size(); ++id) {
    const float logit = logits[id];
    if (std::isnan(logit) || logit == std::numeric_limits<float>::infinity()) {
      throw std::invalid_argument(where + ": token " + std::to_string(id) + ", got " +
                                  std::to_string(logit) + ", want a finite number or -inf");
    }
    if (logit > most) {
      most = logit;
      best = static_cast<std::int64_t>(id);
    }
  }
  if (best < 0) throw std::invalid_argument(where + ": got none above -inf, want one");
  return best;
}

/// In [0, 1), 53 bits.
double uniform(std::uint64_t seed, std::int64_t sequence, std::int64_t position) {
  const auto at = static_cast<std::uint64_t>(position);
  const auto words =
      experts::philox({static_cast<std::uint32_t>(at), 0, static_cast<std::uint32_t>(sequence),
                       static_cast<std::uint32_t>(at >> 32U) * 256 +
                           static_cast<std::uint32_t>(experts::Stream::kSampling)},
                      {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)});
  const std::uint64_t bits = std::uint64_t{words[0]} << 32U | words[1];
  return static_cast<double>(bits >> 11U) * 0x1p-53;
}

/// Keeps the fewest best ones that weigh `share` of all together.
void keep_share(std::vector<Candidate>& candidates, double share) {
  std::ranges::sort(candidates, better);
  double all = 0;
  for (const Candidate& candidate : candidates) all += candidate.weight;
  double sum = 0;
  std::size_t kept = 0;
  while (kept < candidates.size() && (kept == 0 || sum < share * all)) {
    sum += candidates[kept++].weight;
  }
  candidates.resize(kept);
}
}  // namespace

void validate(const SamplerSettings& settings) {
  const auto fail = [](const std::string& name, double got, const std::string& want) {
    throw std::invalid_argument(name + ": got " + std::to_string(got) + ", want " + want);
  };
  if (!(settings.temperature >= 0) || std::isinf(settings.temperature)) {
    fail("temperature", settings.temperature, "a number from 0");
  }
  if (settings.top_k < 0) fail("top_k", static_cast<double>(settings.top_k), "a number from 0");
  if (!(settings.top_p > 0 && settings.top_p <= 1)) {
    fail("top_p", settings.top_p, "a number above 0 to 1");
  }
}

std::int64_t sample(std::span<const float> logits, const SamplerSettings& settings,
                    std::int64_t sequence, std::int64_t position) {
  const std::int64_t best = best_of(logits, place(sequence, position));
  if (settings.temperature == 0 || settings.top_k == 1) return best;
  const double most = logits[static_cast<std::size_t>(best)];
  std::vector<Candidate> candidates;
  candidates.reserve(logits.size());
  for (std::size_t id = 0; id < logits.size(); ++id) {
    const double below = double{logits[id]} - most;
    const double weight =
        std::isinf(below) ? 0 : experts::portable::exp(below / settings.temperature);
    if (weight == 0) continue;
    candidates.push_back(
        {.id = static_cast<std::int64_t>(id), .logit = logits[id], .weight = weight});
  }
  const auto top_k = static_cast<std::size_t>(settings.top_k);
  if (top_k > 0 && top_k < candidates.size()) {
    const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(top_k);
    std::nth_element(candidates.begin(), end, candidates.end(), better);
    candidates.resize(top_k);
  }
  if (settings.top_p < 1) keep_share(candidates, settings.top_p);
  std::ranges::sort(candidates, {}, &Candidate::id);  // one order of additions
  double all = 0;
  for (const Candidate& candidate : candidates) all += candidate.weight;
  const double drawn = uniform(settings.seed, sequence, position) * all;
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    sum += candidate.weight;
    if (drawn < sum) return candidate.id;
  }
  return candidates.back().id;  // drawn rounded up to the whole sum
}
}  // namespace switchyard::runtime
