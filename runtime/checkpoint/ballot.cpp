// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/ballot.hpp"

#include <map>
#include <utility>

#include "comm/base/error.hpp"
#include "comm/base/words.hpp"
#include "runtime/checkpoint/messages.hpp"
#include "runtime/report/digest.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::size_t kMostWords = 4096;

template <class Message>
std::optional<comm::Problem> problem_in(const Message& message) {
  if (message.status() == 0) return std::nullopt;
  return comm::Problem{.status = static_cast<int>(message.status()), .message = message.problem()};
}

template <class Message>
void set_problem(const std::optional<comm::Problem>& problem, Message& message) {
  if (!problem) return;
  message.set_status(static_cast<std::uint32_t>(problem->status));
  // Paths may be anything, strings of protobuf only UTF-8.
  std::string words = problem->message.substr(0, kMostWords);
  for (char& c : words) {
    if (c < ' ' || c > '~') c = '?';
  }
  message.set_problem(words);
}
}  // namespace

std::string encode(const Vote& vote) {
  proto::Vote message;
  set_problem(vote.problem, message);
  if (!vote.problem) {
    for (const TensorInfo& tensor : vote.written.tensors) to_message(tensor, *message.add_tensor());
    to_message(vote.written.shard, *message.mutable_shard());
  }
  return message.SerializeAsString();
}

Vote decode_vote(const std::string& text, int from) {
  proto::Vote message;
  const std::string where = "checkpoint: vote of rank " + std::to_string(from);
  parse_message(std::as_bytes(std::span(text)), message, where);
  Vote vote{.problem = problem_in(message), .written = {}};
  if (vote.problem) return vote;
  for (const proto::Tensor& tensor : message.tensor()) {
    vote.written.tensors.push_back(from_message(tensor, where));
  }
  vote.written.shard = from_message(message.shard(), where);
  return vote;
}

std::string encode(const Verdict& verdict) {
  proto::Verdict message;
  set_problem(verdict.problem, message);
  message.set_bytes(static_cast<std::uint64_t>(verdict.bytes));
  return message.SerializeAsString();
}

Verdict decode_verdict(const std::string& text) {
  proto::Verdict message;
  parse_message(std::as_bytes(std::span(text)), message, "checkpoint: verdict");
  return {.problem = problem_in(message), .bytes = static_cast<std::int64_t>(message.bytes())};
}

std::optional<comm::Problem> problem_of(const std::vector<Vote>& votes) {
  std::optional<comm::Problem> first;
  std::int64_t others = 0;
  for (std::size_t rank = 0; rank < votes.size(); ++rank) {
    if (!votes[rank].problem) continue;
    if (first) {
      ++others;
      continue;
    }
    first = votes[rank].problem;
    first->message = "rank " + std::to_string(rank) + ": " + first->message;
  }
  if (others > 0) first->message += " (and " + comm::counted(others, "other rank") + ")";
  return first;
}

Manifest merge(const CheckpointInfo& info, std::vector<Vote> votes) {
  Manifest manifest;
  manifest.info = info;
  manifest.info.writer_world = static_cast<int>(votes.size());
  manifest.info.model_sha256 = sha256(info.model_text);
  std::map<std::string, std::pair<TensorInfo, std::size_t>> table;
  for (const Vote& vote : votes) {
    for (const TensorInfo& tensor : vote.written.tensors) {
      const auto [entry, fresh] = table.try_emplace(tensor.name, tensor, 0);
      if (fresh || entry->second.first == tensor) continue;
      throw std::invalid_argument("checkpoint: tensor " + tensor.name +
                                  ": ranks disagree on its type or shape");
    }
  }
  for (auto& [name, entry] : table) {
    entry.second = manifest.tensors.size();
    manifest.tensors.push_back(entry.first);
  }
  for (Vote& vote : votes) {
    for (PieceInfo& piece : vote.written.shard.pieces) {
      piece.tensor = table.at(vote.written.tensors.at(piece.tensor).name).second;
    }
    manifest.shards.push_back(std::move(vote.written.shard));
  }
  check_manifest(manifest, "checkpoint");
  manifest.content_sha256 = content_of(manifest);
  return manifest;
}
}  // namespace switchyard::runtime
