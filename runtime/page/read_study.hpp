// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// JSON that our commands wrote, as findings.
#include "runtime/page/findings.hpp"
#include "runtime/page/reading.hpp"

namespace switchyard::runtime::page {

/// A study's study.json, format 1. @throws std::invalid_argument  a newer format, by number
void add_study(const Reading& study, Findings& findings);
/// What `run --json` and `simulate --json` write. @param file  its name
void add_result(const Reading& result, const std::string& file, Findings& findings);
/// What `place compare --json` writes.
void add_comparison(const Reading& compare, Findings& findings);

/// Where there are no sweeps: a curve over ranks from results of files, if they have several rank
/// counts; and real results beside simulated ones of the same settings.
void add_sweep_of_results(Findings& findings);
}  // namespace switchyard::runtime::page
