// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a page can show, whatever files it came from. Figures that nobody knows are not finite.
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "runtime/page/chart/heat.hpp"

namespace switchyard::runtime::page {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

enum class Kind { kReal, kSimulated, kFast };
[[nodiscard]] constexpr bool is_real(Kind kind) {
  return kind == Kind::kReal;
}

/// A value and the interval that it was found in.
struct Spread {
  double value = kUnknown;
  double low = kUnknown;
  double high = kUnknown;
};

struct PhaseShare {
  std::string name = {};
  double ms = kUnknown;
  double waiting_ms = 0;  ///< of these
};

/// One setting that was run or simulated.
struct Result {
  std::string id = {};      ///< of a study's point; empty: a file of its own
  std::string source = {};  ///< file
  std::string command = {};
  Kind kind = Kind::kReal;
  std::string machine = {}, model = {}, routing = {}, placement = {}, transport = {}, status = {};
  double ranks = kUnknown;
  double experts = kUnknown;
  double top_k = kUnknown;
  double layers = kUnknown;
  double tokens = kUnknown;  ///< a step, all ranks together
  Spread step_ms = {};
  double tokens_per_s = kUnknown;
  std::vector<PhaseShare> phases = {};
  bool phase_means = false;  ///< over ranks; else the slowest rank's
  double balancedness = kUnknown;
  std::string digest = {};
  Matrix2 bytes = {};                             ///< [from, to]; no rows: not known
  std::vector<double> balancedness_by_step = {};  ///< empty: not known
  Matrix2 rows = {};                              ///< [layer, rank]
  std::int64_t load = -1;                         ///< index into loads
};

/// A point of a curve.
struct SweepRow {
  std::string x = {};  ///< as words
  double number = kUnknown;
  std::string point = {};  ///< id of its result
  Spread step_ms = {};
  double p99_ms = kUnknown;
  double speedup = kUnknown;
  Spread efficiency = {};
};

struct Law {
  std::string name = {}, formula = {};
  double residual = kUnknown;
  std::vector<std::pair<double, double>> curve = {};  ///< x, ms
};

struct Series {
  std::string label = {};
  Kind kind = Kind::kReal;
  std::vector<SweepRow> rows = {};
  std::vector<Law> laws = {};  ///< the best one only
  std::string no_law = {};     ///< why there is none
};

struct Sweep {
  std::string name = {};  ///< strong, weak, experts, top-k, skew, placement
  std::string x = {};     ///< ranks, experts, top_k, routing, placement
  std::vector<Series> series = {};
};

/// The same setting for real and simulated.
struct Agreement {
  std::string real = {}, simulated = {};  ///< ids or files
  Kind kind = Kind::kSimulated;
  std::string name = {}, machine = {};
  Spread real_ms = {};
  double simulated_ms = kUnknown;
  double error = kUnknown;
  double beyond_spread = kUnknown;
};

struct AgreementSummary {
  Kind kind = Kind::kSimulated;
  std::string machine = {};
  double pairs = 0;
  double mean_error = kUnknown;
  double worst_error = kUnknown;
  double mean_beyond = kUnknown;
};

/// How often each expert was chosen.
struct Load {
  std::string name = {};
  Matrix2 rows = {};  ///< [layer, expert]
  std::vector<std::string> layer_names = {};
};

/// What one placement makes of some tokens.
struct Placed {
  std::string name = {};  ///< "linear", a file's name
  std::string load = {};  ///< what the tokens are
  int ranks = 0;
  std::vector<std::string> layer_names = {};
  Matrix2 copies = {};                    ///< [layer, slot]: rows of each copy of an expert
  std::vector<std::int64_t> cuts = {};    ///< slots before which a rank ends
  Matrix2 rows = {};                      ///< [layer, rank]
  Matrix2 traffic = {};                   ///< [from, to] rows of the way out, once a rank
  std::vector<std::int64_t> steps = {};   ///< numbers
  std::vector<double> balancedness = {};  ///< [steps]
  std::vector<std::string> expert_names =
      {};                     ///< [slots], where all layers have the same; else empty
  double overall = kUnknown;  ///< balancedness of all steps together
};

/// How plans of `place compare` did.
struct PolicyVerdict {
  std::string name = {};
  double regret = kUnknown;
  double hindsight = kUnknown;
  double balancedness = kUnknown;
};

struct Findings {
  std::string title = {};
  std::string made_on = {};               ///< host, processor
  std::string again = {};                 ///< the line that gives the study again
  std::vector<std::string> notes = {};    ///< sentences: what is missing, what failed
  std::vector<std::string> methods = {};  ///< sentences: how figures were made
  std::vector<std::string> sources = {};  ///< files, and what each is
  std::vector<Result> results = {};
  std::vector<Sweep> sweeps = {};
  std::vector<Agreement> agreements = {};
  std::vector<AgreementSummary> agreement_summaries = {};
  std::vector<Load> loads = {};
  std::vector<Placed> placed = {};
  std::vector<PolicyVerdict> policies = {};
  std::string policies_command = {};
  std::string placed_command = {};
};

/// "4 ranks, zipf:1.0, linear; simulated on NAME": what tells results apart. @param others  all
[[nodiscard]] std::string name_of(const Result& result, const std::vector<Result>& others);
/// "real", "simulated", "closed form".
[[nodiscard]] std::string name_of(Kind kind);
}  // namespace switchyard::runtime::page
