// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The hosts of a supervised job, and which of them are still there.
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::launch {

struct Host {
  std::string name;
  int slots = 1;
};

/// "a:4,b:4,c". @throws std::invalid_argument  "--hosts: got 'a:x', want NAME or NAME:SLOTS"
[[nodiscard]] std::vector<Host> hosts_from(std::string_view text);
[[nodiscard]] std::string list_of(const std::vector<Host>& hosts);
[[nodiscard]] int slots_of(const std::vector<Host>& hosts);
/// Those for which the command succeeds. @param probe  for a shell; {} stands for the name
[[nodiscard]] std::vector<Host> reachable(const std::vector<Host>& hosts, const std::string& probe);
}  // namespace switchyard::launch
