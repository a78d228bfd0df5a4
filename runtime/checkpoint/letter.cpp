// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/letter.hpp"

#include <cstring>
#include <utility>

#include "comm/base/error.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;

comm::Extent bytes(std::int64_t count) {
  return {.row_bytes = 1, .rows = count};
}
}  // namespace

SentLetter::SentLetter(comm::Group& group, int to, comm::Channel channel, const std::string& text) {
  const auto length = static_cast<std::int64_t>(text.size());
  comm::Buffer first(sizeof length);
  std::memcpy(first.data(), &length, sizeof length);
  length_ = group.send(to, channel, std::move(first), bytes(sizeof length));
  if (text.empty()) return;
  comm::Buffer second(text.size());
  std::memcpy(second.data(), text.data(), text.size());
  text_ = group.send(to, channel, std::move(second), bytes(length));
}

bool SentLetter::test() {
  return length_.test() && text_.test();
}

AwaitedLetter::AwaitedLetter(comm::Group& group, int from, comm::Channel channel)
    : group_(&group),
      from_(from),
      channel_(channel),
      pending_(group.receive(from, channel, comm::Buffer(), bytes(sizeof length_))) {}

bool AwaitedLetter::test() {
  while (!text_) {
    if (!pending_.test()) return false;
    const comm::Buffer got = pending_.take();
    if (length_ < 0) {
      std::memcpy(&length_, got.data(), sizeof length_);
      if (length_ < 0 || length_ > kMostBytes) {
        throw comm::ProtocolError("checkpoint: rank " + std::to_string(from_) + " sends " +
                                  std::to_string(length_) + " bytes");
      }
      if (length_ == 0) text_.emplace();
      if (length_ > 0) pending_ = group_->receive(from_, channel_, comm::Buffer(), bytes(length_));
      continue;
    }
    text_.emplace(reinterpret_cast<const char*>(got.data()), static_cast<std::size_t>(length_));
  }
  return true;
}
}  // namespace switchyard::runtime
