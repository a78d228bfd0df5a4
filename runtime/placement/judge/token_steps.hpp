// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What placements are made from and judged on: the experts that the tokens of a job chose, a layer
/// of a step at a time, from a routing trace, a table of loads or a seeded skew.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "experts/router/routing.hpp"

namespace switchyard::runtime {

class TokenSteps {
 public:
  virtual ~TokenSteps() = default;
  [[nodiscard]] virtual std::int64_t steps() const = 0;
  [[nodiscard]] virtual std::int64_t layers() const = 0;
  [[nodiscard]] virtual std::int64_t experts() const = 0;
  /// The number of a layer in the model; without one, its index.
  [[nodiscard]] virtual std::int64_t layer_number(std::int64_t layer) const = 0;
  /// All tokens of a step, in global order; kDropped where a slot has no expert. No weights.
  [[nodiscard]] virtual experts::Routing routing(std::int64_t step, std::int64_t layer) = 0;
  /// What these tokens are, in words; says so where they were drawn from counts.
  [[nodiscard]] virtual std::string origin() const = 0;
};

/// Tokens for counts that have none.
struct DrawSettings {
  std::int64_t tokens = 1024;  ///< a step
  std::uint64_t seed = 1;
};

/// A trace file. Where it has counts only, tokens are drawn.
/// @throws std::system_error, std::invalid_argument  as TraceReader
[[nodiscard]] std::unique_ptr<TokenSteps> trace_steps(const std::string& file,
                                                      const DrawSettings& draw);

/// A table in CSV: columns e0, e1, ... with the load of each expert, `layer` (0 where it is
/// missing) and `tokens` (which the loads of the row are means over); what the other columns say
/// together names a step, and a step's rows stand together.
/// @param top_k  slots of a token; 0: the mean sum of a row with `tokens`, else 1
/// @throws std::system_error, std::invalid_argument  "FILE:3: 11 columns, want 12"
[[nodiscard]] std::unique_ptr<TokenSteps> table_steps(const std::string& file, std::int64_t top_k,
                                                      const DrawSettings& draw);

/// Expert e with a weight of (e + 1)^-exponent, as `run --routing zipf:S` chooses.
[[nodiscard]] std::unique_ptr<TokenSteps> zipf_steps(std::int64_t layers, std::int64_t experts,
                                                     int top_k, double exponent, std::int64_t steps,
                                                     const DrawSettings& draw);

/// Tokens whose slots are loads[e] / sum x top_k of expert e in expectation, none twice in a token
/// and otherwise independent: systematic sampling (Madow 1949) over experts in random order.
/// @param where   of the loads, for messages
/// @param number  different tokens for different numbers
/// @throws std::invalid_argument  "WHERE: tokens choose expert 3 1.25 times, want at most once"
[[nodiscard]] experts::Routing draw_tokens(const std::vector<double>& loads, std::int64_t top_k,
                                           std::int64_t tokens, std::uint64_t seed,
                                           std::uint64_t number, const std::string& where);
}  // namespace switchyard::runtime
