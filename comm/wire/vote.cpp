// SPDX-License-Identifier: Apache-2.0
#include "comm/wire/vote.hpp"

#include <algorithm>
#include <map>

#include "comm/base/words.hpp"

namespace switchyard::comm {
namespace {
using Value = std::optional<std::string>;  // nothing: the rank lacks the field

struct Winner {
  Value value;
  std::int64_t votes = 0;
};

Value value_of(const std::vector<Field>& fields, const std::string& name) {
  const auto found = std::ranges::find(fields, name, &Field::name);
  return found == fields.end() ? Value() : Value(found->value);
}

std::string show(const Value& value) {
  return value.has_value() ? *value : "absent";
}

Winner winner(const std::vector<Value>& values) {
  std::map<Value, std::int64_t> votes;
  for (const Value& value : values) ++votes[value];
  Winner best;
  for (const Value& value : values) {  // by rank, so that a tie is the lowest rank's
    if (votes[value] > best.votes) best = {value, votes[value]};
  }
  return best;
}
}  // namespace

std::optional<Odd> find_odd(const std::vector<std::vector<Field>>& ranks, const std::string& said) {
  constexpr std::size_t kTold = 4;
  std::vector<std::string> names;  // in the order in which ranks have them
  for (const auto& fields : ranks) {
    for (const Field& field : fields) {
      if (std::ranges::find(names, field.name) == names.end()) names.push_back(field.name);
    }
  }
  std::map<int, std::string> odd;
  for (const std::string& name : names) {
    std::vector<Value> values;
    for (const auto& fields : ranks) values.push_back(value_of(fields, name));
    const Winner want = winner(values);
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      if (values[r] == want.value) continue;
      std::string& words = odd[static_cast<int>(r)];
      if (!words.empty()) words += ", ";
      words += name + " is " + show(values[r]) + ", want " + show(want.value) + " as on " +
               counted(want.votes, "rank");
    }
  }
  if (odd.empty()) return std::nullopt;
  Odd result{.rank = odd.begin()->first, .words = ""};
  std::size_t told = 0;
  for (const auto& [rank, words] : odd) {
    if (told == kTold) break;
    result.words += (told == 0 ? "" : "; ") + rank_names({rank}) +
                    (told == 0 ? " " + said + ": " : ": ") + words;
    ++told;
  }
  if (odd.size() > told) {
    result.words += "; and " + counted(static_cast<std::int64_t>(odd.size() - told), "other rank");
  }
  return result;
}
}  // namespace switchyard::comm
