// SPDX-License-Identifier: Apache-2.0
// Owns placement.proto: the only place that sees its generated code.
#include <stdexcept>

#include "runtime/placement/placement.hpp"
#include "runtime/placement/placement.pb.h"
#include "runtime/text_proto.hpp"

namespace switchyard::runtime {

Placement Placement::from_file(const std::filesystem::path& file, std::int64_t experts, int ranks) {
  placement::v1::Placement message;
  parse_text(read_text(file), file.string(), message);
  if (message.version() > 1) {
    throw std::invalid_argument(file.string() + ": placement format version " +
                                std::to_string(message.version()) + ", want at most 1");
  }
  if (message.rank_size() != ranks) {
    throw std::invalid_argument(file.string() + ": placement for " +
                                std::to_string(message.rank_size()) + " ranks, want " +
                                std::to_string(ranks));
  }
  std::vector<std::vector<std::int32_t>> lists;
  for (const auto& rank : message.rank()) {
    lists.emplace_back(rank.expert().begin(), rank.expert().end());
  }
  return from_lists(std::move(lists), experts);
}
}  // namespace switchyard::runtime
