// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/keeper.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"

namespace switchyard::runtime {
namespace {
/// What a member says when they settle: step, number held, held, underway.
using Words = std::vector<std::int64_t>;

std::vector<std::int32_t> part(const Words& words, std::size_t from, std::size_t end) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = from; i < end; ++i) ids.push_back(static_cast<std::int32_t>(words[i]));
  return ids;
}
}  // namespace

Keeper::Keeper(comm::EnduringGroup& group, KeptLayers kept, std::vector<std::int32_t> held,
               bool reload)
    : group_(group),
      kept_(std::move(kept)),
      held_(std::move(held)),
      reload_(reload),
      ready_(kept_.layers.size()) {
  if (group.takes_part()) opened_ = group.word().epoch();
}

void Keeper::load(std::vector<std::int32_t> experts) {
  if (experts.empty()) return;
  loader_ = std::make_unique<Reload>(kept_.origin, std::move(experts));
}

int Keeper::loading() const {
  if (loader_ == nullptr) return 0;
  return loader_->done() ? 2 : 1;
}

bool Keeper::all_ready(const std::vector<int>& loading) {
  return std::ranges::find(loading, 1) == loading.end() &&
         std::ranges::find(loading, 2) != loading.end();
}

void Keeper::take_loaded() {
  if (loading() != 2) return;
  ReadyExperts more;
  try {
    more = loader_->take();
  } catch (const std::exception& error) {  // they stay masked, and everybody goes on
    load_problem_ = error.what();
    reload_ = false;
  }
  loader_.reset();
  if (!load_problem_.empty()) return;
  reloaded_ += static_cast<std::int64_t>(more.logical.size());
  for (const std::int32_t logical : more.logical) held_.push_back(logical);
  std::ranges::sort(held_);
  for (std::size_t layer = 0; layer < ready_.size(); ++layer) {
    for (ReadyExpert& one : more.layers[layer]) ready_[layer].push_back(std::move(one));
  }
}

Agreed Keeper::settle(std::int64_t step) {
  take_loaded();
  Words mine{step, std::ssize(held_)};
  mine.insert(mine.end(), held_.begin(), held_.end());
  if (loader_) mine.insert(mine.end(), loader_->logical().begin(), loader_->logical().end());
  Agreed agreed{.step = kNoStep};
  std::vector<std::vector<std::int32_t>> lists;
  std::vector<std::int32_t> underway;
  for (const Words& words :
       comm::allgather_values<std::int64_t>(group_, std::span(std::as_const(mine)))) {
    if (words.size() < 2 || words[1] < 0 || words[1] > std::ssize(words) - 2) {
      throw comm::ProtocolError("settle: got " + std::to_string(words.size()) + " words");
    }
    agreed.step = std::min(agreed.step, words[0]);
    const auto end = static_cast<std::size_t>(2 + words[1]);
    lists.push_back(part(words, 2, end));
    for (const std::int32_t id : part(words, end, words.size())) underway.push_back(id);
  }
  if (agreed.step == kNoStep) agreed.step = 0;
  if (opened_ != group_.word().epoch()) {
    kept_.engine->reopen(group_);
    opened_ = group_.word().epoch();
  }
  // Nothing from here on can end early: on all members or on none the layers go by the placement.
  const Placement placement =
      Placement::from_lists(std::move(lists), kept_.layers[0]->spec().router.experts, Hosts::kAny);
  for (std::size_t i = 0; i < kept_.layers.size(); ++i) {
    kept_.layers[i]->rehost(placement, std::exchange(ready_[i], {}));
  }
  group_.drop_stale();
  agreed.lost.assign(placement.lost().begin(), placement.lost().end());
  begin_reload(agreed.lost, underway);
  return agreed;
}

void Keeper::begin_reload(const std::vector<std::int32_t>& lost,
                          const std::vector<std::int32_t>& underway) {
  const bool spare = !group_.membership().waiting_spares(group_.word()).empty();
  if (!reload_ || spare || loader_ != nullptr) return;
  std::vector<std::int32_t> mine;
  int turn = 0;
  for (const std::int32_t expert : lost) {
    if (std::ranges::find(underway, expert) != underway.end()) continue;
    if (turn++ % group_.size() == group_.rank()) mine.push_back(expert);
  }
  load(std::move(mine));
}
}  // namespace switchyard::runtime
