// SPDX-License-Identifier: Apache-2.0
#include "comm/wire/handshake.hpp"

#include <set>
#include <stdexcept>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "comm/wire/vote.hpp"
#include "comm/wire/wire.hpp"
#include "comm/wire/wire.pb.h"

namespace switchyard::comm {
namespace {
constexpr std::uint32_t kHandshakeVersion = 1;
constexpr int kBadConfig = 2;  // the exit status of bad usage, config or data

/// Everyone's message of one type, by rank.
template <class M>
std::vector<M> share(Group& group, const M& mine, const std::string& what) {
  const std::string bytes = mine.SerializeAsString();
  const auto all = allgather(group, std::as_bytes(std::span(bytes)), kHandshake);
  std::vector<M> messages(all.size());
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (!messages[r].ParseFromArray(all[r].data(), static_cast<int>(all[r].size()))) {
      throw ProtocolError(what + ": rank " + std::to_string(r) + " sent " +
                          std::to_string(all[r].size()) + " bytes that are none");
    }
  }
  return messages;
}

void refuse_odd(const std::vector<std::vector<Field>>& ranks, const std::string& where,
                const std::string& said) {
  const auto odd = find_odd(ranks, said);
  if (odd.has_value()) throw CollectiveError(odd->rank, kBadConfig, where + ": " + odd->words);
}
}  // namespace

void handshake(Group& group, const std::vector<Field>& fields) {
  wire::v1::Handshake mine;
  mine.set_version(kHandshakeVersion);
  std::set<std::string> names;
  for (const Field& field : fields) {
    if (!names.insert(field.name).second) {
      throw std::invalid_argument("handshake: field " + field.name + " is given twice");
    }
    wire::v1::Field* const sent = mine.add_fields();
    sent->set_name(field.name);
    sent->set_value(field.value);
  }
  const auto messages = share(group, mine, "handshake");
  std::vector<std::vector<Field>> versions;
  std::vector<std::vector<Field>> all;
  for (const auto& message : messages) {
    versions.push_back({{"handshake version", std::to_string(message.version())}});
    all.emplace_back();
    for (const auto& field : message.fields()) all.back().push_back({field.name(), field.value()});
  }
  // First, for what another version says may not mean what it does here.
  refuse_odd(versions, "handshake", "is another program");
  refuse_odd(all, "handshake", "was started with other settings");
}

void require_same_frames(Group& group, const FrameSetup& mine) {
  wire::v1::FrameFormat format;
  format.set_version(mine.version);
  format.set_header_bytes(mine.header_bytes);
  format.set_transport(mine.transport);
  format.set_epoch(mine.epoch);
  std::vector<std::vector<Field>> all;
  for (const auto& rank : share(group, format, "exchange")) {
    all.push_back({{"frame version", std::to_string(rank.version())},
                   {"header bytes", std::to_string(rank.header_bytes())},
                   {"transport", rank.transport()},
                   {"epoch", std::to_string(rank.epoch())}});
  }
  refuse_odd(all, "exchange", "opened another one");
}
}  // namespace switchyard::comm
