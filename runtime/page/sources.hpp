// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Files as they are given, told apart by what is in them, read into findings.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/page/findings.hpp"

namespace switchyard::runtime::page {

struct Sources {
  std::vector<std::string> paths =
      {};         ///< folders of studies, JSON of commands, traces, placements
  int ranks = 0;  ///< for traces without a placement; 0: none
};

enum class SourceKind { kStudy, kJson, kTrace, kPlacement };
/// @throws std::system_error      it cannot be read
/// @throws std::invalid_argument  "DIR: no study.json in it"; it is none of these
[[nodiscard]] SourceKind kind_of_source(const std::string& path);

/// @param progress  of counting a trace: steps done, and of how many; may be empty
/// @throws as the readers; one line that begins with the file
[[nodiscard]] Findings gather_findings(
    const Sources& sources, const std::function<void(std::int64_t, std::int64_t)>& progress);
}  // namespace switchyard::runtime::page
