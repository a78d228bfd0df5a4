// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a scaling study varies and what it keeps, as plain data; study.proto says what each field
/// means. Defaults stand here and nowhere else.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime::study {

/// Who the ranks are: processes, actors of a simulation, or terms of a sum.
enum class RankKind { kReal, kSimulated, kFast };
inline constexpr std::array kAllKinds = {RankKind::kReal, RankKind::kSimulated, RankKind::kFast};
[[nodiscard]] std::string_view name_of(RankKind kind);  ///< "real", "simulated", "fast"

enum class Over { kStrong, kWeak, kExperts, kTopK, kSkew, kPlacement };
inline constexpr std::array kAllSweeps = {Over::kStrong, Over::kWeak, Over::kExperts,
                                          Over::kTopK,   Over::kSkew, Over::kPlacement};
[[nodiscard]] std::string_view name_of(Over over);  ///< "strong", "weak", "experts", "top-k", ...
/// Whether it varies ranks, and so has no values of its own.
[[nodiscard]] constexpr bool over_ranks(Over over) {
  return over == Over::kStrong || over == Over::kWeak;
}

/// Rank counts by kind.
using RankCounts = std::array<std::vector<int>, kAllKinds.size()>;

struct Sweep {
  Over over = Over::kStrong;
  std::vector<std::string> values = {};
  RankCounts ranks = {};  ///< none at all: the study's
};

struct Study {
  std::string name;
  std::string model;
  std::vector<std::string> set;  ///< FIELD=VALUE
  std::int64_t layers = 1;
  std::int64_t tokens = 1024;
  std::int64_t tokens_per_rank = 256;
  std::int64_t steps = 5;
  std::int64_t warmup = 1;
  std::uint64_t seed = 1;
  std::string weights = "float32";
  std::string math = "float32";
  std::string routing = "uniform";
  std::string placement = "linear";
  std::string transport = "auto";
  RankCounts ranks;
  std::vector<std::string> machines;
  std::vector<std::int64_t> rooms = {};  ///< ranks that each has room for; settle finds out
  std::vector<Sweep> sweeps;
  int repetitions = 6;  ///< fewest whose range covers the median 19 times of 20
  double confidence = 0.95;
};

/// "strong", or "skew=uniform,zipf:1.2", as the command line has it.
/// @throws std::invalid_argument  "--sweep: got 'skwe', want strong, weak, ..."
[[nodiscard]] Sweep sweep_from(const std::string& text);

/// Parses a study.proto in text format. Not checked yet: flags may still change it.
/// @param where  what to call the text in messages: a file's path
/// @throws std::invalid_argument  "FILE:3:7: ..." of the format, "FILE: version: got 2, ..."
[[nodiscard]] Study study_from_text(std::string_view text, const std::string& where);
/// What study_from_text reads back as the same study; all fields are in it.
[[nodiscard]] std::string to_text(const Study& study);

/// Fills in what a study that says nothing of it has (strong and weak sweeps), and checks what can
/// be without starting anything: counts, values, models, placements, machines.
/// @throws std::invalid_argument  "study: sweep top-k: got 65, want at most 64: ..."
/// @throws std::system_error      a file that cannot be read
void settle(Study& study);
}  // namespace switchyard::runtime::study
