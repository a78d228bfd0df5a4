// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Starts points of a study, one process tree after the other.
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "launch/study/folder.hpp"
#include "launch/supervise/job.hpp"
#include "launch/supervise/leftovers.hpp"
#include "runtime/study/points.hpp"

namespace switchyard::launch {

/// How points are started, which changes nothing that they compute.
struct StartSettings {
  std::string mpirun;  ///< found; "" if no point needs it
  std::vector<std::string> mpirun_options;
  bool oversubscribe = false;
  double limit_s = 0;                         ///< of one start; 0: none
  std::function<void(std::string_view)> say;  ///< what a start says beside its result, once each
};

class PointStarter {
 public:
  /// @param study  settled; outlives this
  PointStarter(const runtime::study::Study& study, StartSettings settings);

  /// What would be typed to start it, without where its result goes.
  [[nodiscard]] std::vector<std::string> words_of(const runtime::study::Point& point) const;

  /// Runs it to its end. @param asked  set if somebody asked this process to leave meanwhile
  /// @throws std::system_error  it cannot be started
  [[nodiscard]] FinishedStart run(const runtime::study::Point& point, int repetition,
                                  SignalQueue& signals, bool& asked);

 private:
  [[nodiscard]] std::vector<std::string> real_words(const runtime::study::Point& point) const;
  [[nodiscard]] std::vector<std::string> simulated_words(const runtime::study::Point& point) const;

  const runtime::study::Study& study_;
  StartSettings settings_;
  RunFolder folder_;
  std::set<std::string, std::less<>> said_;
};
}  // namespace switchyard::launch
