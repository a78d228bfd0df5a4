// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/evaluate.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>

#include "comm/group/collective.hpp"
#include "experts/kernels/math.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
/// Rows whose logits are held at once: a vocabulary can be wide.
constexpr std::int64_t kRowsAtOnce = 64;

/// Losses of the window's scored tokens, in order. @param rows  [window, hidden]
void score(const LanguageModel& model, const TokenIds& ids, const Window& window,
           const experts::Matrix& rows, std::vector<double>& losses) {
  // Row r, from window.begin on, foretells token window.begin + r + 1.
  const std::int64_t last = window.end - window.begin - 1;
  for (std::int64_t r = window.scored - window.begin - 1; r < last; r += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, last - r);
    const experts::Matrix logits = model.logits(rows.view().slice(r, count));
    for (std::int64_t i = 0; i < count; ++i) {
      const auto token = static_cast<std::size_t>(window.begin + r + i + 1);
      losses.push_back(negative_log_probability(logits.row(i), ids[token]));
    }
  }
}

/// The sum in order of windows, on every rank. @param mine  losses of this rank's windows, in order
double sum_in_order(comm::Group& group, const std::vector<Window>& windows,
                    const std::vector<double>& mine) {
  const auto all = comm::gather(group, std::as_bytes(std::span(mine)));
  double sum = 0;
  if (group.rank() == 0) {
    std::vector<std::size_t> next(all.size(), 0);
    for (std::size_t w = 0; w < windows.size(); ++w) {
      const std::size_t rank = w % all.size();
      for (std::int64_t t = windows[w].scored; t < windows[w].end; ++t) {
        double loss = 0;
        std::memcpy(&loss, all[rank].data() + next[rank], sizeof loss);
        next[rank] += sizeof loss;
        sum += loss;
      }
    }
  }
  const auto shared = comm::broadcast(group, std::as_bytes(std::span(&sum, 1)));
  std::memcpy(&sum, shared.data(), sizeof sum);
  return sum;
}
}  // namespace

std::vector<Window> windows_of(std::int64_t tokens, const EvaluateSettings& settings) {
  std::vector<Window> windows;
  std::int64_t scored = 1;
  for (std::int64_t begin = 0; scored < tokens; begin += settings.stride) {
    const std::int64_t end = std::min(begin + settings.context, tokens);
    scored = std::max(scored, begin + 1);
    if (scored < end) windows.push_back({.begin = begin, .end = end, .scored = scored});
    scored = std::max(scored, end);
  }
  return windows;
}

double negative_log_probability(std::span<const float> logits, std::int64_t target) {
  double most = double{logits[0]};
  for (const float logit : logits) most = std::max(most, double{logit});
  double sum = 0;
  for (const float logit : logits) sum += experts::portable::exp(double{logit} - most);
  return experts::portable::log(sum) + most - double{logits[static_cast<std::size_t>(target)]};
}

void validate(const TokenIds& ids, const EvaluateSettings& settings, std::int64_t vocabulary,
              std::int64_t max_context) {
  const auto fail = [](const std::string& what, std::int64_t got, const std::string& want) {
    throw std::invalid_argument(what + ": got " + std::to_string(got) + ", want " + want);
  };
  if (settings.context < 2) fail("--context", settings.context, "at least 2");
  if (max_context > 0 && settings.context > max_context) {
    fail("--context", settings.context,
         "at most " + std::to_string(max_context) + ", the model's context");
  }
  if (settings.stride < 1 || settings.stride > settings.context) {
    fail("--stride", settings.stride,
         "1 to " + std::to_string(settings.context) + ", the tokens of a window");
  }
  if (ids.size() < 2) fail("text in tokens", static_cast<std::int64_t>(ids.size()), "at least 2");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocabulary) continue;
    throw std::invalid_argument("token " + std::to_string(i) + " of the text: id, got " +
                                std::to_string(ids[i]) + ", want 0 to " +
                                std::to_string(vocabulary - 1) + ", the model's vocabulary");
  }
}

Evaluated evaluate(comm::Group& group, LanguageModel& model, const TokenIds& ids,
                   const EvaluateSettings& settings,
                   const std::function<void(std::int64_t, std::int64_t)>& progress,
                   Witness* witness) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Window> windows = windows_of(static_cast<std::int64_t>(ids.size()), settings);
  const auto ranks = static_cast<std::size_t>(group.size());
  std::vector<double> losses;
  for (std::size_t first = 0; first < windows.size(); first += ranks) {
    if (progress) {
      progress(static_cast<std::int64_t>(first), static_cast<std::int64_t>(windows.size()));
    }
    const std::size_t mine = first + static_cast<std::size_t>(group.rank());
    if (mine >= windows.size()) {
      static_cast<void>(model.forward({}, witness));
      continue;
    }
    const Window& window = windows[mine];
    Batch batch;
    // The last token is only foretold.
    batch.ids.assign(ids.begin() + window.begin, ids.begin() + window.end - 1);
    const std::int64_t sequence = model.begin();
    batch.segments.push_back({.sequence = sequence, .count = batch.rows()});
    score(model, ids, window, model.forward(batch, witness), losses);
    model.end(sequence);
  }
  Evaluated result;
  result.windows = static_cast<std::int64_t>(windows.size());
  for (const Window& window : windows) result.tokens += window.end - window.scored;
  result.loss = sum_in_order(group, windows, losses) / static_cast<double>(result.tokens);
  result.perplexity = experts::portable::exp(result.loss);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const auto& of_rank : comm::allgather_values<double>(group, std::span(&seconds, 1))) {
    result.seconds = std::max(result.seconds, of_rank[0]);
  }
  return result;
}
}  // namespace switchyard::runtime
