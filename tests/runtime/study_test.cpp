// SPDX-License-Identifier: Apache-2.0
// Statistics and laws against numbers that were worked out by hand, and what a study refuses.
#include "runtime/study/study.hpp"

#include <cmath>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>

#include "runtime/study/analysis.hpp"
#include "runtime/study/load.hpp"

namespace switchyard::runtime::study {
namespace {
using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(StudyStatistics, MediansAndQuantilesAreThoseOfTheSortedValues) {
  EXPECT_EQ(median_of({9, 1, 5}), 5);
  EXPECT_EQ(median_of({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(median_of({}), 0);
  std::vector<double> hundred;
  for (int i = 100; i > 0; --i) hundred.push_back(i);
  EXPECT_EQ(quantile(hundred, 0.99), 99);
  EXPECT_EQ(quantile(hundred, 1), 100);
  EXPECT_EQ(quantile(hundred, 0.001), 1);
  EXPECT_EQ(quantile({3, 1, 2}, 0.99), 3);
}

// 1 - 2 (sum of the first binomial coefficients) / 2^n.
TEST(StudyStatistics, AnIntervalOfTheMedianSaysWhatItReallyCovers) {
  const Estimate five = median_interval({5, 3, 1, 4, 2}, 0.95);
  EXPECT_EQ(five.median, 3);
  EXPECT_EQ(five.low, 1);
  EXPECT_EQ(five.high, 5);
  EXPECT_DOUBLE_EQ(five.coverage, 1 - 2.0 / 32);
  const Estimate six = median_interval({6, 5, 4, 3, 2, 1}, 0.95);
  EXPECT_EQ(six.low, 1);
  EXPECT_EQ(six.high, 6);
  EXPECT_NEAR(six.coverage, 1 - 2.0 / 64, 1e-12);
  // Nine: without the outermost on each side, 1 - 2 (1 + 9) / 512.
  const Estimate nine = median_interval({1, 2, 3, 4, 5, 6, 7, 8, 9}, 0.95);
  EXPECT_EQ(nine.low, 2);
  EXPECT_EQ(nine.high, 8);
  EXPECT_NEAR(nine.coverage, 1 - 20.0 / 512, 1e-12);
  // A wish that fewer would meet takes a narrower interval: 1 - 2 (1 + 9 + 36) / 512.
  EXPECT_EQ(median_interval({1, 2, 3, 4, 5, 6, 7, 8, 9}, 0.8).low, 3);
  const Estimate one = median_interval({7}, 0.95);
  EXPECT_EQ(one.low, 7);
  EXPECT_EQ(one.high, 7);
  EXPECT_EQ(one.coverage, 0);
}

TEST(StudyStatistics, ARatioIsTheSameForTheSameSeedAndWithinItsExtremes) {
  const std::vector<double> over{10, 11, 12};
  const std::vector<double> under{4, 5, 6};
  const Estimate ratio = ratio_interval(over, under, 0.95, 1);
  EXPECT_EQ(ratio.median, 11.0 / 5);
  EXPECT_GE(ratio.low, 10.0 / 6);
  EXPECT_LE(ratio.high, 12.0 / 4);
  EXPECT_LT(ratio.low, ratio.median);
  EXPECT_GT(ratio.high, ratio.median);
  EXPECT_EQ(ratio_interval(over, under, 0.95, 1).low, ratio.low);
  const Estimate exact = ratio_interval(std::vector{8.0}, std::vector{2.0}, 0.95, 1);
  EXPECT_EQ(exact.low, 4);
  EXPECT_EQ(exact.high, 4);
  // Of three values all are the lowest with chance 1/27: more than the 2.5 % that are left out.
  EXPECT_EQ(ratio_interval(over, std::vector{1.0}, 0.95, 3).low, 10);
}

std::vector<FitPoint> points_of(const std::vector<double>& xs, double (*law)(double)) {
  std::vector<FitPoint> points;
  for (const double x : xs) points.push_back({x, law(x)});
  return points;
}

TEST(StudyLaw, FindsTheCoefficientsThatMadeThePoints) {
  const auto amdahl = points_of({1, 2, 4, 8}, [](double x) { return 3 + 40 / x; });
  const auto fits = fit_laws(strong_laws(), amdahl);
  ASSERT_EQ(fits.size(), 2U);
  for (const Fit& fit : fits) {
    EXPECT_NEAR(fit.coefficients[0], 3, 1e-9) << fit.form.name;
    EXPECT_NEAR(fit.coefficients[1], 40, 1e-9);
    EXPECT_NEAR(fit.residual, 0, 1e-12);
    EXPECT_NEAR(fit.left_out, 0, 1e-9);
  }
  const auto growing = points_of({1, 2, 4, 8, 64}, [](double x) { return 1 + 100 / x + 0.5 * x; });
  const Fit best = fit_laws(strong_laws(), growing).front();
  EXPECT_EQ(best.form.name, "usl");
  EXPECT_THAT(best.coefficients,
              ElementsAre(DoubleNear(1, 1e-8), DoubleNear(100, 1e-8), DoubleNear(0.5, 1e-8)));
  const auto weak =
      points_of({1, 2, 4, 16, 64}, [](double x) { return 5 + 2 * (1 - 1 / x) + 0.1 * (x - 1); });
  EXPECT_THAT(fit_laws(weak_laws(), weak).front().coefficients,
              ElementsAre(DoubleNear(5, 1e-8), DoubleNear(2, 1e-8), DoubleNear(0.1, 1e-8)));
}

// y = 2, 3, 6 at x = 1, 2, 3 by a + b x. Relative least squares by hand: columns (1/2, 1/3, 1/6)
// and (1/2, 2/3, 1/2), wanted (1, 1, 1); normal equations 7/18 a + 5/9 b = 1, 5/9 a + 17/18 b =
// 5/3. Their determinant is 19/324, so a = (17/18 - 25/27) / (19/324) = 6/19, b = (35/54 - 5/9) /
// (19/324) = 30/19.
TEST(StudyLaw, WeighsResidualsByTheTimeThatTheyAreOff) {
  const std::vector<FitPoint> points{{1, 2}, {2, 3}, {3, 6}};
  const auto found = least_squares(line_laws("k").front(), points);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_NEAR(found[0], 6.0 / 19, 1e-12);
  EXPECT_NEAR(found[1], 30.0 / 19, 1e-12);
  const Fit fit = fit_laws(line_laws("k"), points).front();
  // Told: 36/19, 66/19, 96/19; off by -1/19, 3/19, -3/19 of themselves.
  EXPECT_NEAR(fit.residual, std::sqrt((1.0 + 9 + 9) / 3) / 19, 1e-12);
  EXPECT_NEAR(fit.worst, 3.0 / 19, 1e-12);
}

TEST(StudyLaw, KeepsCostsFromBeingNegativeAndSaysWhenPointsAreTooFew) {
  const auto falling = points_of({1, 2, 4, 8}, [](double x) { return 10 - x; });
  const auto found = least_squares(line_laws("k").front(), falling);
  EXPECT_GE(found[0], 0);
  EXPECT_EQ(found[1], 0);
  EXPECT_TRUE(fit_laws(strong_laws(), {{1, 1}, {2, 1}}).empty());
  EXPECT_EQ(fit_laws(strong_laws(), {{1, 1}, {2, 1}, {4, 1}}).size(), 1U);
}

Study small_study() {
  Study study;
  study.model = "mixtral-8x7b";
  study.ranks = {{{1, 2, 4}, {1, 2, 4, 8}, {}}};
  study.machines = {"cpu-100g"};
  return study;
}

TEST(StudyAnalysis, EfficiencyIsAgainstTheFewestRanksThatHaveTimes) {
  Study study = small_study();
  study.sweeps = {{.over = Over::kStrong}};
  study.machines.clear();
  study.ranks = {{{1, 2, 4}, {}, {}}};
  settle(study);
  const StudyPlan plan = plan_of(study);
  ASSERT_EQ(plan.series.size(), 1U);
  std::vector<Times> times(plan.points.size());
  times[1].repetitions_s = {0.5, 0.6, 0.7};
  times[2].repetitions_s = {0.4};
  const Curve curve = curve_of(plan.series[0], times, 0.95, 1);
  ASSERT_EQ(curve.rows.size(), 2U);  // one rank has failed
  EXPECT_EQ(curve.rows[0].efficiency->median, 1);
  EXPECT_DOUBLE_EQ(curve.rows[1].speedup.median, 1.5);
  EXPECT_DOUBLE_EQ(curve.rows[1].efficiency->median, 0.75);
  EXPECT_THAT(curve.no_law, HasSubstr("2 points, want 3"));
}

TEST(StudyAnalysis, RealPointsAreComparedWithTheSameWorkOnTheFirstMachine) {
  Study study = small_study();
  study.machines = {"cpu-100g", "cpu-200g"};
  settle(study);
  const StudyPlan plan = plan_of(study);
  std::vector<Times> times(plan.points.size());
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double step_s = plan.points[i].ranks;
    times[i].repetitions_s = plan.points[i].kind == RankKind::kReal
                                 ? std::vector{step_s, 1.1 * step_s, 1.2 * step_s}
                                 : std::vector{1.32 * step_s};
  }
  const auto all = compare(plan.points, times, 0.95);
  ASSERT_EQ(all.size(), 5U);  // 1, 2 and 4 ranks, strong and weak; of 4 both have the same tokens
  for (const Comparison& one : all) {
    EXPECT_NEAR(one.error, 0.2, 1e-12);
    EXPECT_NEAR(one.beyond_spread, 0.1, 1e-12);
  }
  const auto summary = agreements(all, plan.points);
  ASSERT_EQ(summary.size(), 1U);
  EXPECT_EQ(summary[0].pairs, 5U);
  EXPECT_EQ(summary[0].ordered, 8U);  // of 10 pairs two have the same ranks
  EXPECT_EQ(summary[0].ordered_right, 8U);
}

TEST(StudyPoints, EachIsMeasuredOnceHoweverManySweepsHaveIt) {
  Study study = small_study();
  study.tokens = study.tokens_per_rank = 64;
  study.sweeps = {{.over = Over::kStrong},
                  {.over = Over::kWeak},
                  {.over = Over::kTopK, .values = {"2", "1"}, .ranks = {{{1}, {}, {}}}},
                  {.over = Over::kSkew, .values = {"uniform", "zipf:1"}, .ranks = {{{1}, {}, {}}}}};
  settle(study);
  const StudyPlan plan = plan_of(study);
  // Real: strong 3, weak 2 more (one rank has the same tokens), top-1, zipf. Simulated: 4 and 3.
  EXPECT_EQ(plan.points.size(), 14U);
  for (const Series& series : plan.series) {
    if (series.over == Over::kTopK) {
      EXPECT_EQ(series.rows[0].x, "1");
      EXPECT_EQ(series.rows[1].point, 0U);  // top-2 is what the model has anyway
    }
  }
  EXPECT_THAT(set_of(study, plan.points[0]), testing::IsEmpty());
}

TEST(StudyPoints, CountsThatAMachineHasNoRoomForAreLeftToOthers) {
  Study study = small_study();
  const std::string one_node = testing::TempDir() + "study-one-node.textproto";
  std::ofstream(one_node) << "version: 1 nodes: 1 ranks_per_node: 2 rate { gigaflops: 1 } "
                             "node { latency_us: 1 gigabytes_per_s: 1 }";
  study.machines = {one_node, "cpu-100g"};
  study.sweeps = {{.over = Over::kStrong}};
  settle(study);
  const StudyPlan plan = plan_of(study);
  ASSERT_EQ(plan.series.size(), 3U);
  EXPECT_EQ(plan.series[1].rows.size(), 2U);  // 1 and 2 ranks
  EXPECT_EQ(plan.series[2].rows.size(), 4U);
  ASSERT_EQ(plan.left_out.size(), 2U);
  EXPECT_THAT(plan.left_out[0], HasSubstr("strong: 4 simulated ranks on " + one_node));
  study.machines = {one_node};
  EXPECT_THROW(settle(study), std::invalid_argument);
}

TEST(StudyLoad, CountsEveryChoiceOnceByExpertAndByRank) {
  Study study = small_study();
  study.tokens = 50;
  study.steps = 2;
  study.layers = 2;
  study.sweeps = {{.over = Over::kStrong}};
  study.routing = "zipf:1.5";
  settle(study);
  const StudyPlan plan = plan_of(study);
  const auto load = load_of(study, plan.points[2]);
  ASSERT_TRUE(load);
  ASSERT_EQ(load->experts.size(), 2U);
  for (std::size_t layer = 0; layer < 2; ++layer) {
    EXPECT_EQ(std::accumulate(load->experts[layer].begin(), load->experts[layer].end(), 0LL), 200);
    ASSERT_EQ(load->ranks[layer].size(), 4U);
    for (std::size_t rank = 0; rank < 4; ++rank) {  // linear: two experts each
      EXPECT_EQ(load->ranks[layer][rank],
                load->experts[layer][2 * rank] + load->experts[layer][2 * rank + 1]);
    }
  }
  ASSERT_EQ(load->balancedness.size(), 2U);
  EXPECT_LT(load->balancedness[0], 1);
  Study unknown = study;
  unknown.routing = "model";
  Point point = plan.points[0];
  point.routing = "model";
  EXPECT_FALSE(load_of(unknown, point));
}

TEST(StudyFile, IsReadBackAsItWasWritten) {
  Study study = small_study();
  study.name = "a name with \"quotes\"";
  study.sweeps = {
      {.over = Over::kSkew, .values = {"uniform", "zipf:1.2"}, .ranks = {{{4}, {8}, {}}}}};
  study.confidence = 0.9;
  const std::string text = to_text(study);
  EXPECT_EQ(to_text(study_from_text(text, "here")), text);
  EXPECT_THAT(text, HasSubstr("over: skew"));
}

/// What settle says of a study that somebody has changed.
std::string refusal(const std::function<void(Study&)>& change) {
  Study study = small_study();
  change(study);
  try {
    settle(study);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no word";
}

TEST(StudySettle, SaysWhatIsWrongBeforeAnythingIsStarted) {
  const auto skew = [](std::vector<std::string> values) {
    return [values](Study& study) { study.sweeps = {{.over = Over::kSkew, .values = values}}; };
  };
  const auto with = [](auto Study::*field, auto value) {
    return [field, value](Study& study) { study.*field = value; };
  };
  EXPECT_EQ(refusal([](Study&) {}), "no word");
  const std::vector<std::pair<std::string, std::string>> cases{
      {refusal(with(&Study::model, std::string())), "--model: got none"},
      {refusal(with(&Study::model, std::string("nix"))), "nix"},
      {refusal(with(&Study::layers, std::int64_t{33})), "--layers: got 33, want 1 to 32"},
      {refusal(with(&Study::tokens, std::int64_t{0})), "--tokens: got 0"},
      {refusal(with(&Study::steps, std::int64_t{0})), "--steps: got 0"},
      {refusal(with(&Study::repetitions, 0)), "--repetitions: got 0, want a whole number from 1"},
      {refusal(with(&Study::confidence, 1.0)), "--confidence"},
      {refusal(with(&Study::confidence, std::nan(""))), "--confidence"},
      {refusal(with(&Study::routing, std::string("zipf:x"))), "zipf:x"},
      {refusal(with(&Study::routing, std::string("model"))), "model for simulated ranks"},
      {refusal(with(&Study::placement, std::string("nowhere"))), "got 'nowhere'"},
      {refusal([](Study& study) { study.machines.clear(); }), "--machine: got none for simulated"},
      {refusal([](Study& study) { study.machines = {"nix"}; }), "--machine: got 'nix'"},
      {refusal([](Study& study) {
         study.machines = {"cpu-100g", "cpu-100g"};
       }),
       "twice"},
      {refusal([](Study& study) { study.ranks = {}; }), "sweep strong: got no ranks"},
      {refusal([](Study& study) {
         study.ranks[0] = {2, 2};
       }),
       "--real: got 2 twice"},
      {refusal([](Study& study) { study.ranks[1] = {0}; }), "--simulated: got 0"},
      {refusal([](Study& study) { study.ranks[1] = {100'000}; }), "--simulated: got 100000"},
      {refusal([](Study& study) { study.ranks[1] = {4096}; }), "has room for"},
      {refusal([](Study& study) { study.weights = "mxfp4"; }), "no rate of mxfp4"},
      {refusal(skew({})), "sweep skew: got no value, want what it varies"},
      {refusal(skew({"uniform", "uniform"})), "sweep skew: got uniform twice"},
      {refusal(skew({"trace:/nowhere/at/all"})), "/nowhere/at/all"},
      {refusal([](Study& study) {
         study.sweeps = {{.over = Over::kTopK, .values = {"1", "9"}}};
       }),
       "top_k=9"},
      {refusal(
           [](Study& study) { study.sweeps = {{.over = Over::kExperts, .values = {"eight"}}}; }),
       "sweep experts: got 'eight', want whole numbers"},
      {refusal([](Study& study) { study.sweeps = {{.over = Over::kStrong, .values = {"4"}}}; }),
       "sweep strong: got '4', want no value"},
      {refusal([](Study& study) {
         study.sweeps = {{.over = Over::kWeak}, {.over = Over::kWeak}};
       }),
       "sweep weak: got it twice"},
  };
  for (const auto& [said, expected] : cases) EXPECT_THAT(said, HasSubstr(expected));
}

TEST(StudyFile, RefusesWhatIsNoStudy) {
  const auto said = [](const std::string& text) {
    try {
      static_cast<void>(study_from_text(text, "FILE"));
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string("no word");
  };
  EXPECT_THAT(said("version: 2"), HasSubstr("FILE: version: got 2, want at most 1"));
  EXPECT_THAT(said("rank: 4"), HasSubstr("FILE:1:"));
  EXPECT_THAT(said("sweep { value: \"1\" }"), HasSubstr("sweep.over: got none"));
  EXPECT_THAT(said("seed: -1"), HasSubstr("seed: got -1"));
  EXPECT_THAT(said("sweep { over: skwe }"), HasSubstr("FILE:1:"));
  EXPECT_THROW(static_cast<void>(sweep_from("skwe=1")), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(sweep_from("skew=uniform,")), std::invalid_argument);
  EXPECT_THAT(sweep_from("skew=uniform,zipf:1.2").values, ElementsAre("uniform", "zipf:1.2"));
}
}  // namespace
}  // namespace switchyard::runtime::study
