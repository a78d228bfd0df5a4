// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The routing of a trace, for a job that is to send its tokens the same way: at any rank count.
#include <cstdint>
#include <string>

#include "experts/router/routing.hpp"
#include "experts/router/spec.hpp"
#include "runtime/trace/reader.hpp"

namespace switchyard::runtime {

/// Step i of the job takes step i of the trace, which begins anew behind its last one. Layers are
/// counted from 0 in both.
class TraceReplay {
 public:
  /// @throws std::system_error, std::invalid_argument  as TraceReader; a trace without a step, or
  ///         whose layers have other tokens
  explicit TraceReplay(const std::string& file);

  /// @throws std::invalid_argument  "FILE: trace of 64 experts and 8 slots, want 128 and 8 as ..."
  void require_fit(const experts::RouterSpec& spec, std::int64_t layers) const;

  [[nodiscard]] const TraceReader& trace() const { return reader_; }
  [[nodiscard]] std::int64_t tokens(std::int64_t step) const;
  [[nodiscard]] std::int64_t most_tokens() const { return most_tokens_; }

  /// Tokens [first, first + count) of a step. Weights that the trace does not know are 1 / top_k.
  /// Where only counts are known each expert is given as many tokens, drawn by (step, layer): loads
  /// are exact, and which token goes where is made up.
  /// @param ragged  leaves empty slots out instead of counting them as dropped
  [[nodiscard]] experts::Routing routing(std::int64_t step, std::int64_t layer, std::int64_t first,
                                         std::int64_t count, bool ragged);

 private:
  /// With a choice of experts, read or made up. Keeps the last one: ranks of one process share it.
  [[nodiscard]] const TraceLayer& look_at(std::int64_t step, std::int64_t layer);

  TraceReader reader_;
  std::int64_t most_tokens_ = 0;
  TraceLayer seen_;
  std::int64_t step_ = -1;  ///< of seen_
  std::int64_t layer_ = -1;
};

/// A choice of experts with these counts: [tokens, top_k], kNoExpert where slots are left. A pure
/// function, spread over the tokens by a shuffle that (step, layer) decide.
[[nodiscard]] std::vector<std::int32_t> choice_with_counts(const std::vector<std::int64_t>& counts,
                                                           std::int64_t tokens, std::int64_t top_k,
                                                           std::int64_t step, std::int64_t layer);
}  // namespace switchyard::runtime
