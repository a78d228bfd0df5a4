// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Laws of few coefficients, fitted to the times of a sweep.
#include <string>
#include <vector>

namespace switchyard::runtime::study {

/// One term of a law: a name, and what the coefficient is multiplied with.
struct Term {
  std::string name;
  double (*of)(double x) = nullptr;
};

/// t(x) as a sum of terms, each with a coefficient that is not negative: they are costs.
struct LawForm {
  std::string name;     ///< "amdahl"
  std::string formula;  ///< "t(R) = a + b/R"
  std::vector<Term> terms;
};

/// What can be said of strong scaling: Amdahl's law, and with it a cost that grows with the ranks,
/// which is Gunther's universal scalability law with a = t(1)(sigma - kappa), b = t(1)(1 - sigma),
/// c = t(1) kappa.
[[nodiscard]] std::vector<LawForm> strong_laws();
/// Of weak scaling: what one rank takes, what crosses ranks (a share of 1 - 1/R of even traffic),
/// and what every further rank adds.
[[nodiscard]] std::vector<LawForm> weak_laws();
/// Of experts and top-k: a straight line.
[[nodiscard]] std::vector<LawForm> line_laws(const std::string& letter);

struct FitPoint {
  double x = 0;
  double y = 0;  ///< above 0
};

struct Fit {
  LawForm form;
  std::vector<double> coefficients;  ///< one a term, in the unit of y
  double residual = 0;               ///< root of the mean square of (fitted - y) / y
  double worst = 0;                  ///< the largest of them, without its sign
  double left_out = 0;  ///< the same as residual, each point told by a fit to the others
  [[nodiscard]] double at(double x) const;
};

/// Least squares of the relative residuals, by Householder's QR; of all sets of terms the best
/// whose coefficients come out at 0 or more (the others are 0).
/// @param points  different x; at least as many as terms
[[nodiscard]] std::vector<double> least_squares(const LawForm& form,
                                                const std::vector<FitPoint>& points);

/// Those of the forms that have fewer terms than there are points, since a law with as many passes
/// through every point and says nothing; the one that tells left-out points best comes first.
[[nodiscard]] std::vector<Fit> fit_laws(const std::vector<LawForm>& forms,
                                        const std::vector<FitPoint>& points);
}  // namespace switchyard::runtime::study
