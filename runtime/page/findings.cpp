// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/findings.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/page/chart/number.hpp"

namespace switchyard::runtime::page {
namespace {
std::string counted(double count, const std::string& what) {
  return number(count, 9) + " " + what + (count == 1 ? "" : "s");
}
}  // namespace

std::string name_of(Kind kind) {
  if (kind == Kind::kReal) return "real";
  return kind == Kind::kSimulated ? "simulated" : "closed form";
}

std::string name_of(const Result& result, const std::vector<Result>& others) {
  std::string name;
  // What most of the others have need not be said.
  const auto odd = [&](auto field) {
    const auto mine = result.*field;
    if (mine != mine) return false;  // not known
    const auto like = [&](const auto& value) {
      return std::ranges::count_if(others, [&](const Result& o) { return o.*field == value; });
    };
    const auto same = like(mine);
    return std::ranges::any_of(others, [&](const Result& other) {
      return other.*field != mine && like(other.*field) >= same;
    });
  };
  const auto add = [&](const std::string& words) {
    if (!words.empty()) name += (name.empty() ? "" : ", ") + words;
  };
  if (std::isfinite(result.ranks)) add(counted(result.ranks, "rank"));
  if (odd(&Result::model)) add(result.model);
  if (odd(&Result::experts)) add(counted(result.experts, "expert"));
  if (odd(&Result::top_k)) add("top-" + number(result.top_k));
  if (odd(&Result::tokens)) add(counted(result.tokens, "token"));
  if (odd(&Result::routing)) add(result.routing);
  if (odd(&Result::placement)) add(result.placement);
  if (name.empty()) add(result.source);
  return name;
}
}  // namespace switchyard::runtime::page
