// SPDX-License-Identifier: Apache-2.0
#include "runtime/study/law.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

namespace switchyard::runtime::study {
namespace {
double term_one(double /*x*/) {
  return 1;
}
double term_inverse(double x) {
  return 1 / x;
}
double term_itself(double x) {
  return x;
}
double term_crossing(double x) {
  return 1 - 1 / x;
}
double term_others(double x) {
  return x - 1;
}

using Columns = std::vector<std::vector<double>>;

double norm(const std::vector<double>& values, std::size_t from) {
  double sum = 0;
  for (std::size_t i = from; i < values.size(); ++i) sum += values[i] * values[i];
  return std::sqrt(sum);
}

/// Coefficients of the columns that come nearest to `wanted`; nothing if the columns depend on each
/// other. Householder reflections make the columns triangular without ever squaring them.
std::optional<std::vector<double>> solve(Columns columns, std::vector<double> wanted) {
  constexpr double kDependent = 1e-10;  // of a column's own length
  const std::size_t n = columns.size();
  for (std::size_t k = 0; k < n; ++k) {
    const double whole = norm(columns[k], 0);
    double length = norm(columns[k], k);
    if (!(length > kDependent * whole)) return std::nullopt;
    std::vector<double> mirror(columns[k].begin() + static_cast<std::ptrdiff_t>(k),
                               columns[k].end());
    if (mirror[0] > 0) length = -length;
    mirror[0] -= length;
    const double square = std::inner_product(mirror.begin(), mirror.end(), mirror.begin(), 0.0);
    const auto reflect = [&](std::vector<double>& values) {
      const double along =
          std::inner_product(mirror.begin(), mirror.end(),
                             values.begin() + static_cast<std::ptrdiff_t>(k), 0.0) *
          2 / square;
      for (std::size_t i = 0; i < mirror.size(); ++i) values[k + i] -= along * mirror[i];
    };
    for (std::size_t j = k; j < n; ++j) reflect(columns[j]);
    reflect(wanted);
  }
  std::vector<double> found(n);
  for (std::size_t k = n; k-- > 0;) {
    double rest = wanted[k];
    for (std::size_t j = k + 1; j < n; ++j) rest -= columns[j][k] * found[j];
    found[k] = rest / columns[k][k];
  }
  return found;
}

double told(const LawForm& form, const std::vector<double>& coefficients, double x) {
  double sum = 0;
  for (std::size_t i = 0; i < form.terms.size(); ++i) sum += coefficients[i] * form.terms[i].of(x);
  return sum;
}

double sum_of_squares(const LawForm& form, const std::vector<double>& coefficients,
                      const std::vector<FitPoint>& points) {
  double sum = 0;
  for (const FitPoint& point : points) {
    const double off = told(form, coefficients, point.x) / point.y - 1;
    sum += off * off;
  }
  return sum;
}

Fit fit_one(const LawForm& form, const std::vector<FitPoint>& points) {
  const auto n = static_cast<double>(points.size());
  Fit fit{.form = form, .coefficients = least_squares(form, points)};
  fit.residual = std::sqrt(sum_of_squares(form, fit.coefficients, points) / n);
  double squares = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    fit.worst = std::max(fit.worst, std::abs(fit.at(points[i].x) / points[i].y - 1));
    std::vector<FitPoint> rest = points;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
    squares += sum_of_squares(form, least_squares(form, rest), {points[i]});
  }
  fit.left_out = std::sqrt(squares / n);
  return fit;
}
}  // namespace

std::vector<LawForm> strong_laws() {
  return {
      {.name = "amdahl",
       .formula = "t(R) = a + b/R",
       .terms = {{"a", term_one}, {"b", term_inverse}}},
      {.name = "usl",
       .formula = "t(R) = a + b/R + c R",
       .terms = {{"a", term_one}, {"b", term_inverse}, {"c", term_itself}}},
  };
}

std::vector<LawForm> weak_laws() {
  return {
      {.name = "crossing",
       .formula = "t(R) = a + b (1 - 1/R)",
       .terms = {{"a", term_one}, {"b", term_crossing}}},
      {.name = "crossing and ranks",
       .formula = "t(R) = a + b (1 - 1/R) + c (R - 1)",
       .terms = {{"a", term_one}, {"b", term_crossing}, {"c", term_others}}},
  };
}

std::vector<LawForm> line_laws(const std::string& letter) {
  return {{.name = "line",
           .formula = "t(" + letter + ") = a + b " + letter,
           .terms = {{"a", term_one}, {"b", term_itself}}}};
}

double Fit::at(double x) const {
  return told(form, coefficients, x);
}

std::vector<double> least_squares(const LawForm& form, const std::vector<FitPoint>& points) {
  const std::size_t terms = form.terms.size();
  std::vector<double> best(terms, 0.0);
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t set = 1; set < (std::size_t{1} << terms); ++set) {
    Columns columns;
    std::vector<std::size_t> taken;
    for (std::size_t i = 0; i < terms; ++i) {
      if ((set >> i & 1U) == 0) continue;
      taken.push_back(i);
      auto& column = columns.emplace_back();
      for (const FitPoint& point : points) column.push_back(form.terms[i].of(point.x) / point.y);
    }
    if (taken.size() > points.size()) continue;
    const auto found = solve(std::move(columns), std::vector<double>(points.size(), 1.0));
    if (!found || std::ranges::any_of(*found, [](double value) { return value < 0; })) continue;
    std::vector<double> coefficients(terms, 0.0);
    for (std::size_t i = 0; i < taken.size(); ++i) coefficients[taken[i]] = (*found)[i];
    const double squares = sum_of_squares(form, coefficients, points);
    if (!(squares < least)) continue;
    least = squares;
    best = coefficients;
  }
  return best;
}

std::vector<Fit> fit_laws(const std::vector<LawForm>& forms, const std::vector<FitPoint>& points) {
  std::vector<Fit> fits;
  for (const LawForm& form : forms) {
    if (form.terms.size() < points.size()) fits.push_back(fit_one(form, points));
  }
  std::ranges::stable_sort(fits, {}, &Fit::left_out);
  return fits;
}
}  // namespace switchyard::runtime::study
