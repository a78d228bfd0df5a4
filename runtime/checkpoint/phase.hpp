// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Says on a group's deadline what a rank is doing, and takes it back.
#include <string_view>

#include "comm/base/deadline.hpp"

namespace switchyard::runtime {

/// Within a scope the position has another phase.
class PhaseMark {
 public:
  /// @param name  a literal
  PhaseMark(comm::Deadline& deadline, std::string_view name)
      : deadline_(deadline), before_(deadline.position().phase) {
    deadline_.phase(name);
  }
  ~PhaseMark() {
    comm::Position position = deadline_.position();
    position.phase = before_;
    deadline_.back_at(position);
  }
  PhaseMark(const PhaseMark&) = delete;
  PhaseMark& operator=(const PhaseMark&) = delete;

 private:
  comm::Deadline& deadline_;
  std::string_view before_;
};
}  // namespace switchyard::runtime
