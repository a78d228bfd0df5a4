// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/generation.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "comm/group/collective.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {

void Generation::default_homes(std::size_t prompts) {
  if (homes_.size() == prompts) return;
  const auto ranks = static_cast<std::size_t>(group_.size());
  homes_.resize(prompts);
  for (std::size_t i = 0; i < prompts; ++i) homes_[i].rank = static_cast<int>(i % ranks);
}

std::int64_t Generation::prefill_passes(const std::vector<TokenIds>& texts) const {
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(group_.size()), 0);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) continue;
    tokens[static_cast<std::size_t>(homes_[i].rank)] += homes_[i].kept ? 1 : std::ssize(texts[i]);
  }
  const std::int64_t at_once = settings_.prefill_tokens;
  return (std::ranges::max(tokens) + at_once - 1) / at_once;
}

bool Generation::prefill(const std::vector<TokenIds>& prompts) {
  default_homes(prompts.size());
  std::vector<TokenIds> texts(prompts.size());  // of those that have ended: none
  result_.prompt_tokens = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    result_.prompt_tokens += std::ssize(prompts[i]);
    if (ended(static_cast<std::int64_t>(i))) continue;
    texts[i] = prompts[i];
    const TokenIds& more = result_.continuations[i].ids;
    texts[i].insert(texts[i].end(), more.begin(), more.end());
    if (homes_[i].kept || homes_[i].rank != group_.rank()) continue;
    live_.push_back({.prompt = static_cast<std::int64_t>(i), .state = model_.begin()});
  }
  if (!some_go_on()) return false;
  const std::int64_t passes = prefill_passes(texts);
  experts::Matrix last;
  std::size_t reading = 0;  // which sequence's text
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    const std::size_t first = reading;
    const Batch batch = next_of(texts, reading);
    const experts::Matrix rows = model_.forward(batch, witness_);
    if (last.rows() == 0) last = experts::Matrix(std::ssize(live_), rows.cols());
    std::int64_t end = 0;
    for (std::size_t i = 0; i < batch.segments.size(); ++i) {
      end += batch.segments[i].count;
      std::ranges::copy(rows.row(end - 1), last.row(static_cast<std::int64_t>(first + i)).begin());
    }
  }
  return choose(last);
}

bool Generation::decode() {
  Batch batch;
  for (Live& sequence : live_) {
    batch.ids.push_back(sequence.last);
    batch.segments.push_back({.sequence = sequence.state, .first = sequence.length, .count = 1});
    ++sequence.length;
  }
  return choose(model_.forward(batch, witness_));
}

std::vector<std::int64_t> Generation::keep(const std::vector<TokenIds>& prompts, bool some) {
  std::vector<std::int64_t> kept;
  std::erase_if(live_, [&](Live& sequence) {
    const auto i = static_cast<std::size_t>(sequence.prompt);
    const std::int64_t chosen = std::ssize(result_.continuations[i].ids);
    const std::int64_t length = std::ssize(prompts[i]) + chosen - 1;
    if (some && chosen > 0 && !ended(sequence.prompt) && model_.rewind(sequence.state, length)) {
      sequence.length = length;
      kept.push_back(sequence.prompt);
      return false;
    }
    model_.end(sequence.state);
    return true;
  });
  return kept;
}

void Generation::settle(const std::vector<std::vector<std::int64_t>>& kept) {
  homes_.assign(result_.continuations.size(), {.rank = -1});
  std::vector<std::int64_t> load(kept.size(), 0);
  for (std::size_t rank = 0; rank < kept.size(); ++rank) {
    for (const std::int64_t prompt : kept[rank]) {
      homes_.at(static_cast<std::size_t>(prompt)) = {.rank = static_cast<int>(rank), .kept = true};
      ++load[rank];
    }
  }
  for (std::size_t i = 0; i < homes_.size(); ++i) {
    if (homes_[i].kept || ended(static_cast<std::int64_t>(i))) continue;
    const auto fewest = std::ranges::min_element(load);
    homes_[i].rank = static_cast<int>(fewest - load.begin());
    ++*fewest;
  }
}

Batch Generation::next_of(const std::vector<TokenIds>& texts, std::size_t& reading) {
  Batch batch;
  while (reading < live_.size() && batch.rows() < settings_.prefill_tokens) {
    Live& sequence = live_[reading];
    const TokenIds& ids = texts[static_cast<std::size_t>(sequence.prompt)];
    const std::int64_t count =
        std::min(std::ssize(ids) - sequence.length, settings_.prefill_tokens - batch.rows());
    const auto from = ids.begin() + sequence.length;
    batch.ids.insert(batch.ids.end(), from, from + count);
    batch.segments.push_back(
        {.sequence = sequence.state, .first = sequence.length, .count = count});
    sequence.length += count;
    if (sequence.length == std::ssize(ids)) ++reading;
  }
  return batch;
}

bool Generation::choose(const experts::Matrix& rows) {
  std::vector<NewToken> mine;
  together(group_, [&] {
    const experts::Matrix logits = model_.logits(rows.view());
    for (std::size_t i = 0; i < live_.size(); ++i) {
      Live& sequence = live_[i];
      sequence.last = sample(logits.row(static_cast<std::int64_t>(i)), settings_.sampler,
                             sequence.prompt, sequence.length);
      mine.push_back({.prompt = sequence.prompt, .id = sequence.last});
    }
  });
  share(mine);
  std::erase_if(live_, [&](const Live& sequence) {
    const bool over = ended(sequence.prompt);
    if (over) model_.end(sequence.state);
    return over;
  });
  return some_go_on();
}

void Generation::share(const std::vector<NewToken>& mine) {
  std::vector<NewToken> all;
  for (const auto& of_rank : comm::allgather_values<NewToken>(group_, std::span(mine))) {
    all.insert(all.end(), of_rank.begin(), of_rank.end());
  }
  std::ranges::sort(all, {}, &NewToken::prompt);
  for (const NewToken& token : all) {
    Continuation& continuation = result_.continuations[static_cast<std::size_t>(token.prompt)];
    continuation.ids.push_back(token.id);
    continuation.ended = std::ranges::find(settings_.eos, token.id) != settings_.eos.end();
    if (continuation.ids.size() > 1) ++result_.decoded_tokens;
    if (sink_) sink_(token.prompt, token.id);
  }
}

bool Generation::ended(std::int64_t prompt) const {
  const Continuation& continuation = result_.continuations[static_cast<std::size_t>(prompt)];
  return continuation.ended ||
         static_cast<std::int64_t>(continuation.ids.size()) >= settings_.max_new_tokens;
}

bool Generation::some_go_on() const {
  for (std::size_t i = 0; i < result_.continuations.size(); ++i) {
    if (!ended(static_cast<std::int64_t>(i))) return true;
  }
  return false;
}
}  // namespace switchyard::runtime
