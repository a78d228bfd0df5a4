// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "experts/reference/routes.hpp"
#include "experts/reference/running.hpp"

namespace switchyard::experts::reference {
namespace {
constexpr double kHidden = -std::numeric_limits<double>::infinity();

bool is_hidden(double z) {
  return z == kHidden;
}

void check(const RouterSpec& spec, const std::vector<float>& selection_bias, const Matrix& logits) {
  const std::int64_t experts = spec.all_experts();
  const bool by_experts = spec.choice == Choice::kExpertChoice;
  if (logits.cols() != experts) {
    refuse("logits have " + std::to_string(logits.cols()) + " experts, want " +
           std::to_string(experts));
  }
  require_length("selection bias", selection_bias, experts);
  if (!by_experts && (spec.top_k < 1 || spec.top_k > experts)) {
    refuse("top_k is " + std::to_string(spec.top_k) + ", want 1 to " + std::to_string(experts));
  }
  if (spec.groups < 1 || experts % spec.groups != 0 || spec.groups_kept < 1 ||
      spec.groups_kept > spec.groups) {
    refuse("keeps " + std::to_string(spec.groups_kept) + " of " + std::to_string(spec.groups) +
           " groups of " + std::to_string(experts) + " experts, want equal groups");
  }
  if (!(spec.capacity.factor >= 0)) {
    refuse("capacity factor is " + std::to_string(spec.capacity.factor) + ", want 0 or more");
  }
  if (spec.choice == Choice::kSparseMixer && !selection_bias.empty()) {
    refuse("sparsemixer with a selection bias, want none: it chooses by logits");
  }
  for (std::int64_t t = 0; t < logits.rows(); ++t) {
    std::int64_t finite = 0;
    for (std::int64_t e = 0; e < experts; ++e) {
      const float z = logits(t, e);
      if (std::isfinite(z)) ++finite;
      if (std::isnan(z) || (std::isinf(z) && z > 0)) {
        refuse("token " + std::to_string(t) + ": logit of expert " + std::to_string(e) + " is " +
               std::to_string(z) + ", want a finite one or -inf");
      }
    }
    if (!by_experts && finite < spec.top_k) {
      refuse("token " + std::to_string(t) + ": " + std::to_string(finite) +
             " finite logits, want " + std::to_string(spec.top_k));
    }
  }
}

/// (z - mean) / unbiased std over the visible experts; 0 where they are all equal.
std::vector<double> standardise(std::vector<double> z) {
  double sum = 0;
  double count = 0;
  for (const double value : z) {
    if (is_hidden(value)) continue;
    sum += value;
    ++count;
  }
  double squares = 0;
  for (const double value : z) {
    if (!is_hidden(value)) squares += (value - sum / count) * (value - sum / count);
  }
  const double deviation = std::sqrt(squares / (count - 1));
  for (double& value : z) {
    if (!is_hidden(value)) value = squares > 0 ? (value - sum / count) / deviation : 0;
  }
  return z;
}

std::vector<double> transform(const RouterSpec& spec, std::span<const float> logits) {
  const double constant = static_cast<double>(spec.transform_value);
  std::vector<double> z;
  for (const float logit : logits) z.push_back(static_cast<double>(logit));
  switch (spec.transform) {
    case LogitTransform::kNone:
      break;
    case LogitTransform::kStandardise:
      z = standardise(z);
      for (double& value : z) {
        if (!is_hidden(value)) value *= constant;
      }
      break;
    case LogitTransform::kTanhCap:
      for (double& value : z) {
        if (!is_hidden(value)) value = constant * std::tanh(value / constant);
      }
      break;
  }
  return z;
}

/// Softmax over those of z that are `visible`; 0 for the others.
std::vector<double> softmax_of(const std::vector<double>& z, const std::vector<bool>& visible) {
  double largest = kHidden;
  for (std::size_t e = 0; e < z.size(); ++e) {
    if (visible[e]) largest = std::max(largest, z[e]);
  }
  std::vector<double> p(z.size(), 0.0);
  if (is_hidden(largest)) return p;
  double sum = 0;
  for (std::size_t e = 0; e < z.size(); ++e) {
    if (visible[e]) sum += std::exp(z[e] - largest);
  }
  for (std::size_t e = 0; e < z.size(); ++e) {
    if (visible[e]) p[e] = std::exp(z[e] - largest) / sum;
  }
  return p;
}

/// Unbiased scores, rounded to float32. A hidden expert's is 0 (-inf without scoring). Sparsemixer
/// chooses by logits whatever the scoring; its scores, for capacity and balance, are the softmax.
std::vector<float> scores_of(const RouterSpec& spec, const std::vector<double>& z) {
  std::vector<double> exact_scores = z;
  if (spec.scoring == Scoring::kSoftmax || spec.choice == Choice::kSparseMixer) {
    exact_scores = softmax_of(z, std::vector<bool>(z.size(), true));
  } else if (spec.scoring == Scoring::kSigmoid) {
    for (double& value : exact_scores) value = 1 / (1 + std::exp(-value));
  }
  std::vector<float> scores;
  scores.reserve(exact_scores.size());
  for (const double score : exact_scores) scores.push_back(static_cast<float>(score));
  return scores;
}

/// What is chosen by: score + bias in float32; -inf hides.
std::vector<float> choice_of(const std::vector<double>& z, std::vector<float> scores,
                             const std::vector<float>& selection_bias) {
  for (std::size_t e = 0; e < scores.size(); ++e) {
    if (!selection_bias.empty()) scores[e] += selection_bias[e];
    if (is_hidden(z[e])) scores[e] = -std::numeric_limits<float>::infinity();
  }
  return scores;
}

/// A group's score, -inf for a group whose experts are all hidden.
float group_score(GroupScore rule, std::vector<float> members) {
  std::sort(members.begin(), members.end(), std::greater<>());
  const bool two = members.size() > 1 && std::isfinite(members[1]);
  return rule == GroupScore::kSumTop2 && two ? members[0] + members[1] : members[0];
}

/// The experts that may still be chosen: visible, and in one of the groups kept.
std::vector<bool> open_experts(const RouterSpec& spec, const std::vector<float>& choice) {
  std::vector<bool> open;
  open.reserve(choice.size());
  for (const float score : choice) open.push_back(std::isfinite(score));
  if (spec.groups == 1 || spec.group_score == GroupScore::kNone) return open;

  const std::size_t size = choice.size() / static_cast<std::size_t>(spec.groups);
  std::vector<float> group_scores;
  for (std::size_t first = 0; first < choice.size(); first += size) {
    const auto begin = choice.begin() + static_cast<std::ptrdiff_t>(first);
    group_scores.push_back(
        group_score(spec.group_score, {begin, begin + static_cast<std::ptrdiff_t>(size)}));
  }
  for (std::size_t group = 0; group < group_scores.size(); ++group) {
    std::int64_t better = 0;  // groups that go first; the lower one among equals
    for (std::size_t other = 0; other < group_scores.size(); ++other) {
      const bool tie = group_scores[other] == group_scores[group];
      if (group_scores[other] > group_scores[group] || (tie && other < group)) ++better;
    }
    if (better < spec.groups_kept) continue;
    for (std::size_t e = group * size; e < (group + 1) * size; ++e) open[e] = false;
  }
  return open;
}

/// The best open expert by `key`, the lowest id among equals.
template <class T>
std::size_t best_of(const std::vector<T>& key, const std::vector<bool>& open) {
  std::size_t best = key.size();
  for (std::size_t e = 0; e < key.size(); ++e) {
    if (open[e] && (best == key.size() || key[e] > key[best])) best = e;
  }
  return best;
}

/// The chosen experts of one token, best first, and their weights before normalisation.
struct Chosen {
  std::vector<std::size_t> experts;
  std::vector<double> weights;
};

Chosen top_k(const RouterSpec& spec, const std::vector<double>& z, const std::vector<float>& scores,
             const std::vector<float>& choice, std::vector<bool> open) {
  Chosen chosen;
  std::vector<bool> is_chosen(z.size(), false);
  for (std::int64_t slot = 0; slot < spec.top_k; ++slot) {
    const std::size_t best = best_of(choice, open);
    open[best] = false;
    is_chosen[best] = true;
    chosen.experts.push_back(best);
  }
  const std::vector<double> p = softmax_of(z, is_chosen);
  for (const std::size_t e : chosen.experts) {
    const bool raw = spec.weighting == Weighting::kScores;
    chosen.weights.push_back(raw ? static_cast<double>(scores[e]) : p[e]);
  }
  return chosen;
}

/// One expert after the other: the largest logit m of those left, weighted by its softmax over
/// those left with (m - z) / max(|z|, m) <= 2 jitter; 0 / 0 counts as kept.
Chosen sparse_mixer(const RouterSpec& spec, const std::vector<double>& z, std::vector<bool> open) {
  Chosen chosen;
  for (std::int64_t slot = 0; slot < spec.top_k; ++slot) {
    const std::size_t best = best_of(z, open);
    std::vector<bool> kept(z.size(), false);
    for (std::size_t e = 0; e < z.size(); ++e) {
      const double distance = (z[best] - z[e]) / std::max(std::abs(z[e]), z[best]);
      const bool far = distance > 2 * static_cast<double>(spec.sparsemixer_jitter);
      kept[e] = open[e] && !far;
    }
    chosen.experts.push_back(best);
    chosen.weights.push_back(softmax_of(z, kept)[best]);
    open[best] = false;
  }
  return chosen;
}

void append_token(const RouterSpec& spec, const Chosen& chosen, Routing& routing) {
  for (const std::size_t e : chosen.experts) {
    routing.experts.push_back(static_cast<std::int32_t>(e));
  }
  for (const float weight : finish(spec, chosen.weights)) routing.weights.push_back(weight);
  routing.offsets.push_back(static_cast<std::int64_t>(routing.experts.size()));
}
}  // namespace

Routing route(const RouterSpec& spec, const std::vector<float>& selection_bias,
              const Matrix& logits) {
  check(spec, selection_bias, logits);
  Routing routing;
  routing.logits = logits;
  routing.scores = Matrix(logits.rows(), logits.cols());
  for (std::int64_t t = 0; t < logits.rows(); ++t) {
    const std::vector<double> z = transform(spec, logits.row(t));
    const std::vector<float> scores = scores_of(spec, z);
    std::copy(scores.begin(), scores.end(), routing.scores.row(t).begin());
    if (spec.choice == Choice::kExpertChoice) continue;

    const std::vector<float> choice = choice_of(z, scores, selection_bias);
    const std::vector<bool> open = open_experts(spec, choice);
    const auto num_open = std::count(open.begin(), open.end(), true);
    if (num_open < spec.top_k) {
      refuse("token " + std::to_string(t) + ": " + std::to_string(num_open) +
             " experts left to choose from, want " + std::to_string(spec.top_k));
    }
    const bool mixer = spec.choice == Choice::kSparseMixer;
    append_token(spec, mixer ? sparse_mixer(spec, z, open) : top_k(spec, z, scores, choice, open),
                 routing);
  }
  if (spec.choice == Choice::kExpertChoice) choose_tokens(spec, selection_bias, routing);
  if (spec.capacity.rule != CapacityRule::kNone && spec.capacity.factor > 0) {
    apply_capacity(spec, routing);
  }
  return routing;
}
}  // namespace switchyard::experts::reference
