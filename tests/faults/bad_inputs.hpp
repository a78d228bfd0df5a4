// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The 75 bad inputs: each has a number, and is a test at 1, 2 and 4 ranks. Where: 1 to 29
/// bad_settings.cpp, 30 to 51 bad_work.cpp, 52 to 75 bad_saved.cpp, what of these is the machine's
/// bad_machine.cpp. A number may have several cases.
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/launch/bad_input.hpp"

namespace switchyard::tests {

/// A command as it is started at some rank count, and how it has to end.
struct BadStart {
  std::vector<std::string> words;  ///< of switchyard
  /// The whole message behind "error: "; empty: none. What all ranks agree on is told by the lowest
  /// one that has it: its "rank 0: " and "(and 3 other ranks)" are left out. # stands for a number
  /// or checksum that differs from one time to the next.
  std::string says;
  std::vector<std::string> notes = {};        ///< lines beside it, whole; each must be there
  std::vector<std::string> rank1 = {};        ///< what rank 1 is started with, if not the same
  std::string rank1_program = {};             ///< and which program that is
  std::vector<std::string> environment = {};  ///< "NAME=VALUE", of mpirun
  std::vector<std::string> before = {};       ///< the program's own words
  bool by_mpirun = true;
};

struct BadCase {
  int number;        ///< 1 to 75
  std::string name;  ///< what is wrong
  int status;        ///< 0: nothing is, and the run has to work
  std::function<BadStart(int ranks)> start;
  std::vector<int> ranks = {1, 2, 4};
  /// Of a run that works: what its JSON must hold.
  std::function<bool(const nlohmann::json&, int ranks)> holds = {};
  bool root = false;  ///< only root can make it
};

/// A number that other tests prove, or that is not there yet.
struct Elsewhere {
  int number;
  std::string where;
};

[[nodiscard]] std::vector<BadCase> bad_settings();
[[nodiscard]] std::vector<BadCase> bad_work();
[[nodiscard]] std::vector<BadCase> bad_saved();
[[nodiscard]] std::vector<BadCase> bad_machine();
[[nodiscard]] std::vector<Elsewhere> proved_elsewhere();
}  // namespace switchyard::tests
