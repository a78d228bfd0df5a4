// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange.hpp"

#include <stdexcept>
#include <string>

#include "comm/exchange_alltoallv.hpp"
#include "comm/exchange_local.hpp"
#include "comm/exchange_node.hpp"
#include "comm/exchange_p2p.hpp"
#include "comm/frame.hpp"
#include "comm/local_group.hpp"
#include "comm/wire.hpp"

namespace switchyard::comm {
namespace {
/// The transport's own name: "auto" has none.
std::string choose(const std::string& wanted, bool mpi, bool local, bool one_node, int ranks) {
  if (wanted == "auto") return ranks > 1 && one_node ? (local ? "local" : "node") : "p2p";
  if (wanted == "p2p" || (wanted == "alltoallv" && mpi) || (wanted == "local" && local) ||
      (wanted == "node" && one_node)) {
    return wanted;
  }
  if (wanted == "node") {
    throw std::invalid_argument("transport: got 'node' for ranks on several nodes, want p2p");
  }
  std::string known = "auto, node or p2p";
  if (mpi) known = "auto, node, p2p or alltoallv";
  if (local) known = "auto, node, p2p or local";
  throw std::invalid_argument("transport: got '" + wanted + "', want " + known);
}
}  // namespace

std::unique_ptr<Exchange> make_exchange(Group& group, std::string_view transport) {
  auto* const mpi = dynamic_cast<MpiGroup*>(&group);
  const std::string chosen = choose(std::string(transport), mpi != nullptr, is_local(group),
                                    group.nodes().nodes == 1, group.size());
  const Channel channel = group.new_channel();
  require_same_frames(group, {.version = kFrameVersion,
                              .header_bytes = kFrameHeaderBytes,
                              .transport = chosen,
                              .epoch = RoundExchange::epoch(channel)});
  if (chosen == "alltoallv") return std::make_unique<AlltoallvExchange>(*mpi, channel);
  if (chosen == "node") return std::make_unique<NodeExchange>(group, channel);
  if (chosen == "local") return std::make_unique<LocalExchange>(group, channel);
  return std::make_unique<P2pExchange>(group, channel);
}
}  // namespace switchyard::comm
