// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// SIGTERM and SIGUSR1 as a wish to leave, which a command looks at when it can.
namespace switchyard::launch {

/// While one lives, these signals end nothing: they are remembered. One at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// Whether one has come to this process.
  [[nodiscard]] bool came() const;
};
}  // namespace switchyard::launch
