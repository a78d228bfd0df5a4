// SPDX-License-Identifier: Apache-2.0
#include "launch/supervise/hosts.hpp"

#include <array>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <unistd.h>

namespace switchyard::launch {
namespace {
Host host_from(std::string_view text) {
  const std::size_t colon = text.find(':');
  Host host{.name = std::string(text.substr(0, colon))};
  bool good = !host.name.empty() && host.name.find_first_not_of(
                                        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789.-_") == std::string::npos;
  if (colon != std::string_view::npos) {
    const std::string_view number = text.substr(colon + 1);
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), host.slots);
    good = good && error == std::errc() && end == number.data() + number.size() && host.slots > 0;
  }
  if (good) return host;
  throw std::invalid_argument("--hosts: got '" + std::string(text) + "', want NAME or NAME:SLOTS");
}

bool is_this_one(const std::string& name) {
  std::array<char, 256> own{};
  ::gethostname(own.data(), own.size() - 1);
  return name == "localhost" || name == own.data();
}
}  // namespace

std::vector<Host> hosts_from(std::string_view text) {
  std::vector<Host> hosts;
  while (true) {
    const std::size_t comma = text.find(',');
    hosts.push_back(host_from(text.substr(0, comma)));
    if (comma == std::string_view::npos) return hosts;
    text.remove_prefix(comma + 1);
  }
}

std::string list_of(const std::vector<Host>& hosts) {
  std::string text;
  for (const Host& host : hosts) {
    text += (text.empty() ? "" : ",") + host.name + ":" + std::to_string(host.slots);
  }
  return text;
}

int slots_of(const std::vector<Host>& hosts) {
  int slots = 0;
  for (const Host& host : hosts) slots += host.slots;
  return slots;
}

std::vector<Host> reachable(const std::vector<Host>& hosts, const std::string& probe) {
  std::vector<Host> found;
  for (const Host& host : hosts) {
    std::string command = probe;
    for (std::size_t at = command.find("{}"); at != std::string::npos;
         at = command.find("{}", at)) {
      command.replace(at, 2, host.name);
      at += host.name.size();
    }
    if (is_this_one(host.name) || std::system(command.c_str()) == 0) found.push_back(host);
  }
  return found;
}
}  // namespace switchyard::launch
