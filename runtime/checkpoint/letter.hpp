// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Messages of any length between ranks that nobody waits for: their length goes ahead.
#include <cstdint>
#include <optional>
#include <string>

#include "comm/group/group.hpp"

namespace switchyard::runtime {

/// A letter on its way.
class SentLetter {
 public:
  SentLetter() = default;
  SentLetter(comm::Group& group, int to, comm::Channel channel, const std::string& text);
  /// True once it is gone, or if there is none.
  [[nodiscard]] bool test();

 private:
  comm::Pending length_;
  comm::Pending text_;
};

/// A letter that will come.
class AwaitedLetter {
 public:
  AwaitedLetter(comm::Group& group, int from, comm::Channel channel);
  /// True once it is here.
  [[nodiscard]] bool test();
  [[nodiscard]] const std::string& text() const { return *text_; }  ///< @pre test() was true
  [[nodiscard]] bool here() const { return text_.has_value(); }
  [[nodiscard]] int from() const { return from_; }

 private:
  comm::Group* group_;
  int from_;
  comm::Channel channel_;
  comm::Pending pending_;
  std::int64_t length_ = -1;  ///< -1: not known yet
  std::optional<std::string> text_;
};
}  // namespace switchyard::runtime
