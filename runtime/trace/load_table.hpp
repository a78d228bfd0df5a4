// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Measured loads of experts, a domain of texts each: a table of comma-separated values with the
/// columns benchmark, domain, tokens, layer, e0, e1, ...
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/trace/trace.hpp"

namespace switchyard::runtime {

struct LoadDomain {
  std::string benchmark;
  std::string domain;
  std::vector<std::int64_t> tokens;        ///< [layers], behind the means
  std::vector<std::vector<double>> means;  ///< [layers][experts], times a token chose it
};

struct LoadTable {
  std::int64_t layers = 0;
  std::int64_t experts = 0;
  std::vector<LoadDomain> domains;  ///< in the order of the file
};

/// @param where  for messages: the file
/// @throws std::invalid_argument  "FILE:3: domain 'law' has layer 5 after 3, want 4"
[[nodiscard]] LoadTable parse_load_table(std::string_view text, const std::string& where);
[[nodiscard]] LoadTable read_load_table(const std::string& file);

/// Indices of the domains of that name, or "benchmark/domain".
/// @throws std::invalid_argument  "--domain: got 'lwa', want one of the 176 of FILE, such as ..."
[[nodiscard]] std::vector<std::size_t> find_domain(const LoadTable& table, const std::string& name);

/// Slots of a token: what the means of a row sum to, rounded.
/// @throws std::invalid_argument  rows that do not agree
[[nodiscard]] std::int64_t top_k_of(const LoadTable& table);

/// Counts only: a step a domain, each count the mean times the tokens, rounded.
[[nodiscard]] RoutingTrace trace_of(const LoadTable& table, std::int64_t top_k);
}  // namespace switchyard::runtime
