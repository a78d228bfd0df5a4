// SPDX-License-Identifier: Apache-2.0
// softmax(q k) v against the formula in float64, and its bits against every way of cutting it up.
#include "runtime/transformer/attend.hpp"

#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <stdexcept>

namespace switchyard::runtime {
namespace {

using experts::Isa;
using experts::Matrix;

/// A sequence of 200 positions with 4 heads over 2 of keys and values.
struct Case {
  std::int64_t rows = 200;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 2;
  std::int64_t key_dim = 20;
  std::int64_t value_dim = 36;
  Matrix q{rows, heads* key_dim};
  Matrix k{rows, kv_heads* key_dim};
  Matrix v{rows, kv_heads* value_dim};

  Case() {
    std::uint32_t state = 7;
    for (Matrix* matrix : {&q, &k, &v}) {
      for (std::int64_t i = 0; i < matrix->rows() * matrix->cols(); ++i) {
        state = 1664525 * state + 1013904223;
        matrix->data()[i] = static_cast<float>(state >> 8U) * 0x1p-23F - 1;
      }
    }
  }

  void put(KeyValues& cache, std::int64_t first, std::int64_t count) const {
    cache.extend(count);
    for (std::int64_t p = first; p < first + count; ++p) {
      for (std::int64_t h = 0; h < kv_heads; ++h) {
        cache.put_key(p, h,
                      k.row(p).subspan(static_cast<std::size_t>(h * key_dim),
                                       static_cast<std::size_t>(key_dim)));
        cache.put_value(p, h,
                        v.row(p).subspan(static_cast<std::size_t>(h * value_dim),
                                         static_cast<std::size_t>(value_dim)));
      }
    }
  }

  /// Calls of `step` queries each; what a window hides is forgotten between them.
  [[nodiscard]] Matrix run(const AttendRule& rule, std::int64_t step, Isa isa) const {
    KeyValues cache(kv_heads, key_dim, value_dim);
    Matrix out(rows, heads * value_dim);
    AttendScratch scratch;
    for (std::int64_t first = 0; first < rows; first += step) {
      const std::int64_t count = std::min(step, rows - first);
      put(cache, first, count);
      AttendRule part = rule;
      if (rule.allowed.data != nullptr) part.allowed = rule.allowed.slice(first, count);
      attend(part, cache, q.view().slice(first, count), first, out.view().slice(first, count), isa,
             scratch);
      cache.forget_before(rule.first_seen(first + count));
    }
    return out;
  }

  [[nodiscard]] double expected(const AttendRule& rule, std::int64_t row, std::int64_t head,
                                std::int64_t d) const {
    const std::int64_t kv = head / (heads / kv_heads);
    double above = 0;
    double below =
        rule.sinks.empty() ? 0 : std::exp(double{rule.sinks[static_cast<std::size_t>(head)]});
    for (std::int64_t p = rule.first_seen(row); p <= row; ++p) {
      if (rule.allowed.data != nullptr && rule.allowed(row, p) == 0) continue;
      double score = 0;
      for (std::int64_t i = 0; i < key_dim; ++i) {
        score += double{q(row, head * key_dim + i)} * k(p, kv * key_dim + i);
      }
      if (rule.cap > 0) score = rule.cap * std::tanh(score / rule.cap);
      above += std::exp(score) * v(p, kv * value_dim + d);
      below += std::exp(score);
    }
    return above / below;
  }
};

const std::vector<float> kSinks{0.5F, 3.0F, -2.0F, 6.0F};

std::vector<AttendRule> rules(const std::vector<std::uint8_t>& allowed, std::int64_t rows) {
  return {{},
          {.window = 7},
          {.window = 70},
          {.chunk = 48},
          {.cap = 2.0},
          {.sinks = kSinks},
          {.window = 65, .sinks = kSinks},
          {.allowed = {allowed.data(), rows, rows}}};
}

std::vector<std::uint8_t> every_third_hidden(std::int64_t rows) {
  std::vector<std::uint8_t> allowed(static_cast<std::size_t>(rows * rows), 1);
  for (std::int64_t q = 0; q < rows; ++q) {
    for (std::int64_t p = q % 3; p < q; p += 3) allowed[static_cast<std::size_t>(q * rows + p)] = 0;
  }
  return allowed;
}

TEST(Attend, IsTheFormula) {
  const Case c;
  const auto allowed = every_third_hidden(c.rows);
  for (const AttendRule& rule : rules(allowed, c.rows)) {
    const Matrix out = c.run(rule, c.rows, experts::best_isa());
    for (std::int64_t r = 0; r < c.rows; r += 3) {
      for (std::int64_t h = 0; h < c.heads; ++h) {
        for (const std::int64_t d : {std::int64_t{0}, std::int64_t{35}}) {
          EXPECT_NEAR(out(r, h * c.value_dim + d), c.expected(rule, r, h, d), 2e-6)
              << "row " << r << ", head " << h << ", window " << rule.window;
        }
      }
    }
  }
}

TEST(Attend, BitsDoNotDependOnCutsOrInstructions) {
  const Case c;
  const auto allowed = every_third_hidden(c.rows);
  for (const AttendRule& rule : rules(allowed, c.rows)) {
    const Matrix whole = c.run(rule, c.rows, experts::best_isa());
    const auto bytes = static_cast<std::size_t>(whole.rows() * whole.cols()) * sizeof(float);
    for (const std::int64_t step : {1, 13, 64, 199}) {
      const Matrix cut = c.run(rule, step, experts::best_isa());
      EXPECT_EQ(std::memcmp(whole.data(), cut.data(), bytes), 0) << "step " << step;
    }
    const Matrix portable = c.run(rule, 50, Isa::kPortable);
    EXPECT_EQ(std::memcmp(whole.data(), portable.data(), bytes), 0) << "portable";
  }
}

TEST(Attend, ForgetsWhatAWindowHides) {
  const Case c;
  KeyValues all(c.kv_heads, c.key_dim, c.value_dim);
  c.put(all, 0, c.rows);
  const std::int64_t whole = all.bytes();
  all.forget_before(63);
  EXPECT_EQ(all.bytes(), whole);
  all.forget_before(130);
  EXPECT_EQ(all.bytes(), whole / 2);
  EXPECT_EQ(all.end(), c.rows);
}

TEST(Attend, GoesOnFromAnEarlierPlaceWithTheSameBits) {
  const Case c;
  for (const AttendRule& rule : {AttendRule{}, AttendRule{.window = 70}}) {
    const Matrix want = c.run(rule, c.rows, experts::best_isa());
    for (const std::int64_t end : {0, 1, 63, 64, 128, 199, 200}) {
      KeyValues cache(c.kv_heads, c.key_dim, c.value_dim);
      c.put(cache, 0, c.rows);
      ASSERT_TRUE(cache.rewind(end, rule.first_seen(end)));
      ASSERT_EQ(cache.end(), end);
      KeyValues fresh(c.kv_heads, c.key_dim, c.value_dim);
      c.put(fresh, 0, end);
      EXPECT_EQ(cache.bytes(), fresh.bytes());
      c.put(cache, end, c.rows - end);
      Matrix out(c.rows, c.heads * c.value_dim);
      AttendScratch scratch;
      attend(rule, cache, c.q.view(), 0, out.view(), experts::best_isa(), scratch);
      const auto bytes = static_cast<std::size_t>(out.rows() * out.cols()) * sizeof(float);
      EXPECT_EQ(std::memcmp(out.data(), want.data(), bytes), 0) << end;
    }
  }
  KeyValues cache(c.kv_heads, c.key_dim, c.value_dim);
  c.put(cache, 0, c.rows);
  EXPECT_FALSE(cache.rewind(c.rows + 1, 0)) << "has not come that far";
  cache.forget_before(70);
  EXPECT_FALSE(cache.rewind(100, 63)) << "has forgotten what is needed";
  EXPECT_TRUE(cache.rewind(100, 64));
}

TEST(Attend, RefusesQueriesWithoutKeys) {
  const Case c;
  KeyValues cache(c.kv_heads, c.key_dim, c.value_dim);
  c.put(cache, 0, 10);
  Matrix out(11, c.heads * c.value_dim);
  AttendScratch scratch;
  EXPECT_THROW(
      attend({}, cache, c.q.view().slice(0, 11), 0, out.view(), experts::best_isa(), scratch),
      std::invalid_argument);
  Matrix narrow(10, c.heads);
  EXPECT_THROW(
      attend({}, cache, c.q.view().slice(0, 10), 0, narrow.view(), experts::best_isa(), scratch),
      std::invalid_argument);
}
}  // namespace
}  // namespace switchyard::runtime
