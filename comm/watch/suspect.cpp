// SPDX-License-Identifier: Apache-2.0
#include "comm/watch/suspect.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>

#include "comm/base/words.hpp"

namespace switchyard::comm {
namespace {
using Views = std::vector<RankView>;
constexpr double kStaleHeart_s = 1.0;

std::string seconds(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", value);
  return text;
}

bool on_its_way(const RankView& view) {
  return view.known && !view.left;
}

/// Names all ranks that a test finds.
std::optional<Verdict> name(const Views& views,
                            const std::function<std::string(const RankView&)>& what) {
  Verdict verdict{.sure = true, .ranks = {}, .words = ""};
  for (const RankView& view : views) {
    if (!on_its_way(view)) continue;
    const std::string words = what(view);
    if (words.empty()) continue;
    verdict.ranks.push_back(view.rank);
    verdict.words += (verdict.words.empty() ? "" : "; ") + rank_names({view.rank}) + " " + words +
                     " in " + view.place();
  }
  if (verdict.ranks.empty()) return std::nullopt;
  return verdict;
}

std::string of_process(const RankView& view) {
  switch (view.state) {
    case 'T':
    case 't':
      return "was stopped by a signal";
    case 'Z':
    case 'X':
    case 'x':
      return view.signal != 0 ? "died of signal " + std::to_string(view.signal) : "died";
    default:
      return "";
  }
}

/// The meeting with this number, if the rank still remembers it.
const RankView::Met* met(const RankView& view, std::int64_t number) {
  const std::int64_t first = view.entered - static_cast<std::int64_t>(view.meetings.size());
  if (number < first || number >= view.entered) return nullptr;
  return &view.meetings[static_cast<std::size_t>(number - first)];
}

/// Whether entering `next` right after `last` breaks the order of an exchange: dispatch, collect.
bool breaks_order(const RankView::Met* last, const RankView::Met& next) {
  if (last == nullptr || next.channel == 0) return false;
  const bool same = last->channel == next.channel;
  if (next.what == "collect") {
    return !same || last->what != "dispatch" || last->round != next.round;
  }
  if (next.what == "dispatch" && same) {
    return last->what != "collect" || last->round + 1 != next.round;
  }
  return false;
}

/// The last collective before `number` on a channel, or the one right before it for a collect.
bool broke_order(const RankView& view, std::int64_t number) {
  const RankView::Met* const next = met(view, number);
  if (next == nullptr) return false;
  if (next->what == "collect") return breaks_order(met(view, number - 1), *next);
  for (std::int64_t n = number - 1; next->what == "dispatch"; --n) {
    const RankView::Met* const last = met(view, n);
    if (last == nullptr) return false;
    if (last->channel == next->channel) return breaks_order(last, *next);
  }
  // Between dispatch and collect of an exchange there is no other meeting.
  const RankView::Met* const last = met(view, number - 1);
  return last != nullptr && last->what == "dispatch" && next->channel == 0;
}

struct Side {
  RankView::Met at;
  std::vector<const RankView*> views;
};

/// What the ranks entered as their meeting `number`, those that did.
std::vector<Side> sides_at(const Views& views, std::int64_t number) {
  std::vector<Side> sides;
  for (const RankView& view : views) {
    const RankView::Met* const at = on_its_way(view) ? met(view, number) : nullptr;
    if (at == nullptr) continue;
    const auto found = std::ranges::find(sides, *at, &Side::at);
    if (found == sides.end()) {
      sides.push_back({.at = *at, .views = {&view}});
    } else {
      found->views.push_back(&view);
    }
  }
  return sides;
}

std::vector<int> ranks_of(const std::vector<const RankView*>& views) {
  std::vector<int> ranks;
  for (const RankView* view : views) ranks.push_back(view->rank);
  return ranks;
}

/// "skipped dispatch 5 of exchange 1", "entered barrier, where ..."
std::string odd_words(const RankView& view, std::int64_t number, const RankView::Met& others,
                      const RankView::Met* others_next) {
  const RankView::Met& own = *met(view, number);
  const bool next = others_next != nullptr && *others_next == own;
  const bool half = own.channel != 0 && own.channel == others.channel;
  if (next || half) return "skipped " + others.words() + " and is in " + own.words();
  return "entered " + own.words() + " where the others entered " + others.words();
}

Verdict of_sides(const std::vector<Side>& sides, std::int64_t number) {
  Verdict verdict;
  const auto largest =
      std::ranges::max_element(sides, {}, [](const Side& side) { return side.views.size(); });
  std::size_t all = 0;
  for (const Side& side : sides) all += side.views.size();
  std::vector<const RankView*> odd;
  const RankView* honest = nullptr;
  if (2 * largest->views.size() > all) {
    honest = largest->views.front();
    for (const Side& side : sides) {
      if (&side != &*largest) odd.insert(odd.end(), side.views.begin(), side.views.end());
    }
  } else {
    for (const Side& side : sides) {
      for (const RankView* view : side.views) {
        (broke_order(*view, number) ? odd.emplace_back(view) : honest = view);
      }
    }
  }
  if (!odd.empty() && honest != nullptr) {
    verdict.sure = true;
    verdict.ranks = ranks_of(odd);
    for (const RankView* view : odd) {
      verdict.words += (verdict.words.empty() ? "" : "; ") + rank_names({view->rank}) + " " +
                       odd_words(*view, number, *met(*honest, number), met(*honest, number + 1)) +
                       ", in " + view->place();
    }
    return verdict;
  }
  for (const Side& side : sides) {
    for (const RankView* view : side.views) {
      verdict.ranks.push_back(view->rank);
      verdict.words += (verdict.words.empty() ? "" : ", ") + rank_names({view->rank}) +
                       " entered " + side.at.words() + " in " + view->place();
    }
  }
  std::ranges::sort(verdict.ranks);
  verdict.words = "one of these left the order, and nothing says which: " + verdict.words;
  return verdict;
}

/// All wait: who entered what when, from the oldest meeting that is remembered.
std::optional<Verdict> of_meetings(const Views& views) {
  std::int64_t last = 0;
  std::int64_t first = 0;
  for (const RankView& view : views) {
    if (!on_its_way(view)) continue;
    last = std::max(last, view.entered);
    first = std::max(first, view.entered - static_cast<std::int64_t>(view.meetings.size()));
  }
  for (std::int64_t number = first; number < last; ++number) {
    const std::vector<Side> sides = sides_at(views, number);
    if (sides.size() > 1) return of_sides(sides, number);
  }
  return std::nullopt;
}

/// All that is known agrees, but one side has entered less than the other.
std::optional<Verdict> of_counts(const Views& views) {
  std::map<std::int64_t, std::vector<const RankView*>> groups;
  std::size_t all = 0;
  for (const RankView& view : views) {
    if (!on_its_way(view)) continue;
    groups[view.entered].push_back(&view);
    ++all;
  }
  if (groups.size() != 2) return std::nullopt;
  const auto& [behind, fewer] = *groups.begin();
  const auto& [ahead, more] = *groups.rbegin();
  if (2 * fewer.size() >= all || ahead != behind + 1) return std::nullopt;
  const RankView::Met* const next = met(*more.front(), ahead - 1);
  Verdict verdict{.sure = true, .ranks = ranks_of(fewer), .words = ""};
  verdict.words = rank_names(verdict.ranks) + (fewer.size() == 1 ? " has" : " have") +
                  " not entered " + (next == nullptr ? "what the others entered" : next->words()) +
                  ", in " + fewer.front()->place();
  return verdict;
}
}  // namespace

Verdict judge_meetings(const Views& now) {
  return of_meetings(now).value_or(Verdict());
}

Verdict judge(const Views& before, const Views& now, double limit_s) {
  if (const auto found = name(now, of_process)) return *found;
  const auto frozen = [&](const RankView& view) -> std::string {
    const bool beat = view.heartbeat_s < kStaleHeart_s ||
                      before[static_cast<std::size_t>(view.rank)].heartbeat_s < kStaleHeart_s;
    return beat ? "" : "is frozen: its heart has not beaten for " + seconds(view.heartbeat_s);
  };
  if (const auto found = name(now, frozen)) return *found;
  bool busy = false;
  const auto at_work = [&](const RankView& view) -> std::string {
    const RankView& then = before[static_cast<std::size_t>(view.rank)];
    if (view.waits_for != kNobody || then.waits_for != kNobody) return "";
    busy = true;
    if (view.since_s < limit_s / 2 || view.since_s < then.since_s) return "";
    return "has been at work for " + seconds(view.since_s) + ", waiting for nobody,";
  };
  if (const auto found = name(now, at_work)) return *found;
  if (!busy) {
    if (const auto found = of_meetings(now)) return *found;
    if (const auto found = of_counts(now)) return *found;
  }
  Verdict verdict{.sure = false, .ranks = {}, .words = ""};
  for (const RankView& view : now) {
    if (on_its_way(view)) verdict.ranks.push_back(view.rank);
  }
  verdict.words = busy
                      ? "no rank is stuck: some work, slower than the deadline allows"
                      : "all ranks that are known wait, in the same meeting: a message is lost, or "
                        "the rank to blame is on another node";
  return verdict;
}

std::vector<std::string> wait_matrix(const Views& views) {
  std::vector<std::string> lines;
  std::size_t width = 0;
  for (const RankView& view : views) width = std::max(width, view.place().size());
  for (const RankView& view : views) {
    if (!view.known) continue;
    std::string place = view.place();
    place.resize(width, ' ');
    std::string line = "rank " + std::to_string(view.rank) + "  " + place + "  ";
    if (view.left) {
      line += "has left";
    } else if (!of_process(view).empty()) {
      line += of_process(view);
    } else if (view.waits_for == kNobody) {
      line += "at work for " + seconds(view.since_s);
    } else {
      line += "waits " + seconds(view.waits_s) + " for " +
              (view.waits_for == kSomebody ? "others" : rank_names({view.waits_for}));
    }
    line += "; " + counted(view.entered, "meeting");
    if (!view.meetings.empty()) line += ", last " + view.meetings.back().words();
    lines.push_back(line);
  }
  return lines;
}
}  // namespace switchyard::comm
