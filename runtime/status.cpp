// SPDX-License-Identifier: Apache-2.0
#include "runtime/status.hpp"

#include <optional>
#include <stdexcept>
#include <system_error>

#include "comm/base/error.hpp"

namespace switchyard::runtime {

int status_of(const std::exception& error) {
  if (const auto* shared = dynamic_cast<const comm::CollectiveError*>(&error)) {
    return shared->status();
  }
  if (dynamic_cast<const comm::TemporaryError*>(&error) != nullptr) return kTemporary;
  if (dynamic_cast<const std::invalid_argument*>(&error) != nullptr) return kUsage;
  if (dynamic_cast<const std::system_error*>(&error) != nullptr) return kIo;
  return kInternal;
}

comm::Problem problem_of(const std::exception& error) {
  return {.status = status_of(error), .message = error.what()};
}

void together(comm::Group& group, const std::function<void()>& body) {
  static_cast<void>(together(group, {}, body));
}

std::vector<std::vector<std::byte>> together(comm::Group& group, std::span<const std::byte> note,
                                             const std::function<void()>& body) {
  std::optional<comm::Problem> problem;
  try {
    body();
  } catch (const std::exception& error) {
    problem = problem_of(error);
  }
  return comm::agree(group, problem, note);
}
}  // namespace switchyard::runtime
