// SPDX-License-Identifier: Apache-2.0
// Who is blamed for a hang, from views made by hand.
#include "comm/watch/suspect.hpp"

#include <gmock/gmock.h>

namespace {
using switchyard::comm::judge;
using switchyard::comm::kNobody;
using switchyard::comm::RankView;
using switchyard::comm::Verdict;
using testing::ElementsAre;
using testing::HasSubstr;
using Met = RankView::Met;

constexpr double kLimit_s = 2;

Met dispatch(std::int64_t round) {
  return {.what = "dispatch", .channel = 1, .round = round};
}
Met collect(std::int64_t round) {
  return {.what = "collect", .channel = 1, .round = round};
}
Met collective(const std::string& what, std::uint64_t where) {
  return {.what = what, .where = where};
}

/// Ranks that wait for their neighbours after the same meetings.
std::vector<RankView> waiting(int ranks, const std::vector<Met>& meetings) {
  std::vector<RankView> views(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    RankView& view = views[static_cast<std::size_t>(rank)];
    view.rank = rank;
    view.known = true;
    view.state = 'S';
    view.since_s = 2;
    view.waits_s = 2;
    view.waits_for = (rank + 1) % ranks;
    view.at = {.step = 3, .layer = 0};
    view.phase = "combine";
    view.meetings = meetings;
    view.entered = 100 + static_cast<std::int64_t>(meetings.size());
  }
  return views;
}

void enter(RankView& view, const Met& met) {
  view.meetings.push_back(met);
  ++view.entered;
}

Verdict judged(const std::vector<RankView>& views) {
  return judge(views, views, kLimit_s);
}

TEST(Suspect, AStoppedRankIsNamedWithItsPlace) {
  auto views = waiting(2, {dispatch(1)});
  views[1].state = 'T';
  const Verdict verdict = judged(views);
  EXPECT_TRUE(verdict.sure);
  EXPECT_EQ(verdict.words, "rank 1 was stopped by a signal in combine, step 3, layer 0");
}

TEST(Suspect, ARankThatIsGoneIsNamedUnlessItHadLeft) {
  auto views = waiting(3, {dispatch(1)});
  views[0].state = 'X';
  views[0].left = true;
  views[2].state = 'X';
  views[2].signal = 11;
  EXPECT_THAT(judged(views).ranks, ElementsAre(2));
  EXPECT_THAT(judged(views).words, HasSubstr("died of signal 11"));
}

TEST(Suspect, AHeartThatBeatsAgainIsNotFrozen) {
  auto before = waiting(2, {dispatch(1)});
  before[1].heartbeat_s = 1.5;
  auto now = before;
  now[1].heartbeat_s = 0.01;
  EXPECT_FALSE(judge(before, now, kLimit_s).sure);
  now[1].heartbeat_s = 1.6;
  EXPECT_THAT(judge(before, now, kLimit_s).ranks, ElementsAre(1));
}

TEST(Suspect, WhoeverWaitsForNobodyWhileOthersWaitIsNamedEvenOfTwo) {
  auto views = waiting(2, {dispatch(1)});
  views[0].waits_for = kNobody;
  views[0].phase = "experts";
  EXPECT_THAT(judged(views).ranks, ElementsAre(0));
  EXPECT_THAT(judged(views).words, HasSubstr("in experts, step 3"));
}

TEST(Suspect, WhoeverHasJustBegunToWorkIsNotNamed) {
  auto views = waiting(2, {dispatch(1)});
  views[0].waits_for = kNobody;
  views[0].since_s = 0.1;
  const Verdict verdict = judged(views);
  EXPECT_FALSE(verdict.sure);
  EXPECT_THAT(verdict.words, HasSubstr("no rank is stuck"));
}

TEST(Suspect, TheOneInAnotherMeetingThanMostIsNamed) {
  auto views = waiting(3, {dispatch(1), collect(1)});
  enter(views[0], collective("allgather", 7));
  enter(views[1], collective("barrier", 7));
  enter(views[2], collective("allgather", 7));
  const Verdict verdict = judged(views);
  EXPECT_TRUE(verdict.sure);
  EXPECT_THAT(verdict.ranks, ElementsAre(1));
  EXPECT_THAT(verdict.words, HasSubstr("entered barrier where the others entered allgather"));
}

TEST(Suspect, WhoeverRanAheadIsNamedAndNotTheMostWhoAreBehind) {
  auto views = waiting(4, {collective("allgather", 1)});
  for (auto& view : views) enter(view, dispatch(1));
  views[2].meetings.back() = collect(1);
  const Verdict verdict = judged(views);
  EXPECT_THAT(verdict.ranks, ElementsAre(2));
  EXPECT_THAT(verdict.words, HasSubstr("rank 2 skipped dispatch 1 of exchange 1"));
}

TEST(Suspect, OfTwoTheOneThatBrokeTheOrderOfAnExchangeIsNamed) {
  for (const int guilty : {0, 1}) {
    auto views = waiting(2, {dispatch(1), collect(1)});
    for (auto& view : views) enter(view, dispatch(2));
    views[static_cast<std::size_t>(guilty)].meetings.back() = collect(2);
    EXPECT_TRUE(judged(views).sure);
    EXPECT_THAT(judged(views).ranks, ElementsAre(guilty));
  }
}

TEST(Suspect, OfTwoInOtherCollectivesBothAreNamedAndNobodyIsSure) {
  auto views = waiting(2, {dispatch(1), collect(1)});
  enter(views[0], collective("allgather", 7));
  enter(views[1], collective("barrier", 7));
  const Verdict verdict = judged(views);
  EXPECT_FALSE(verdict.sure);
  EXPECT_THAT(verdict.ranks, ElementsAre(0, 1));
}

TEST(Suspect, ALostMessageIsNobodysFault) {
  EXPECT_FALSE(judged(waiting(4, {dispatch(1)})).sure);
}

TEST(Suspect, RanksThatAreNotKnownAreLeftOut) {
  auto views = waiting(4, {dispatch(1)});
  views[3] = RankView();
  views[3].rank = 3;
  EXPECT_THAT(judged(views).ranks, ElementsAre(0, 1, 2));
}

TEST(Suspect, TheMatrixHasALineARank) {
  auto views = waiting(2, {dispatch(1)});
  views[1].waits_for = kNobody;
  EXPECT_THAT(
      switchyard::comm::wait_matrix(views),
      ElementsAre(testing::StartsWith("rank 0  combine, step 3, layer 0  waits 2.0 s for rank 1"),
                  HasSubstr("at work for 2.0 s; 101 meetings, last dispatch 1")));
}
}  // namespace
