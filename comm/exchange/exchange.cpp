// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/exchange.hpp"

#include <stdexcept>
#include <string>

#include "comm/exchange/alltoallv.hpp"
#include "comm/exchange/local.hpp"
#include "comm/exchange/node.hpp"
#include "comm/exchange/p2p.hpp"
#include "comm/exchange/relay.hpp"
#include "comm/exchange/two_level.hpp"
#include "comm/group/local_group.hpp"
#include "comm/wire/frame.hpp"
#include "comm/wire/wire.hpp"

namespace switchyard::comm {
namespace {
constexpr int kDefaultStages = 4;

/// The transport's own name: "auto" has none.
std::string choose(const ExchangeOptions& options, Group& group) {
  const bool mpi = dynamic_cast<MpiGroup*>(&group) != nullptr;
  const bool local = is_local(group);
  const bool one_node = group.nodes().nodes == 1;
  const std::string& wanted = options.transport;
  if (wanted == "auto") {
    if (!one_node) return "two-level";
    return group.size() == 1 ? "p2p" : local ? "local" : "node";
  }
  if (wanted == "p2p" || wanted == "relay" || wanted == "two-level" ||
      (wanted == "alltoallv" && mpi) || (wanted == "local" && local) ||
      (wanted == "node" && one_node)) {
    return wanted;
  }
  if (wanted == "node") {
    throw std::invalid_argument(
        "transport: got 'node' for ranks on several nodes, want two-level or p2p");
  }
  std::string known = "auto, node, two-level, relay or p2p";
  if (mpi) known = "auto, node, two-level, relay, p2p or alltoallv";
  if (local) known = "auto, node, two-level, relay, p2p or local";
  throw std::invalid_argument("transport: got '" + wanted + "', want " + known);
}

void require_used(const ExchangeOptions& options, const std::string& chosen, const Group& group) {
  if (options.stages < 0 || options.stages > kMaxStages) {
    throw std::invalid_argument("stages: got " + std::to_string(options.stages) + ", want 0 to " +
                                std::to_string(kMaxStages));
  }
  // Alone or on one node nothing crosses: a wire changes nothing, and no promise is broken.
  if (chosen == "two-level" || options.transport == "auto" || group.size() == 1) return;
  if (options.wire == WireType::kFloat32 && options.stages == 0) return;
  throw std::invalid_argument("transport: got '" + chosen +
                              "' with a wire or stages, want two-level");
}
}  // namespace

std::unique_ptr<Exchange> make_exchange(Group& group, std::string_view transport) {
  return make_exchange(group, ExchangeOptions{.transport = std::string(transport)});
}

std::unique_ptr<Exchange> make_exchange(Group& group, const ExchangeOptions& options) {
  const std::string chosen = choose(options, group);
  require_used(options, chosen, group);
  const int stages = options.stages > 0 ? options.stages : kDefaultStages;
  const Channel channel = group.new_channel();
  std::string frames = chosen;
  if (chosen == "two-level") {
    frames += ", " + std::to_string(stages) + " stages, " + std::string(name_of(options.wire));
  }
  require_same_frames(group, {.version = kFrameVersion,
                              .header_bytes = kFrameHeaderBytes,
                              .transport = frames,
                              .epoch = RoundExchange::epoch(channel)});
  if (chosen == "alltoallv") {
    return std::make_unique<AlltoallvExchange>(dynamic_cast<MpiGroup&>(group), channel);
  }
  if (chosen == "node") {
    return std::make_unique<NodeExchange>(group, channel, Distances(group.size()));
  }
  if (chosen == "local") return std::make_unique<LocalExchange>(group, channel);
  if (chosen == "relay") return std::make_unique<RelayExchange>(group, channel);
  if (chosen == "two-level") {
    const Channel results = group.new_channel();
    return std::make_unique<TwoLevelExchange>(group, channel, results, stages, options.wire);
  }
  return std::make_unique<P2pExchange>(group, channel);
}
}  // namespace switchyard::comm
