// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange.hpp"

#include <stdexcept>
#include <string>

#include "comm/exchange_alltoallv.hpp"
#include "comm/exchange_local.hpp"
#include "comm/exchange_p2p.hpp"
#include "comm/frame.hpp"
#include "comm/local_group.hpp"
#include "comm/wire.hpp"

namespace switchyard::comm {
namespace {
/// The transport's own name: "auto" has none.
std::string choose(const std::string& wanted, bool mpi, bool local) {
  if (wanted == "auto") return local ? "local" : "p2p";
  if (wanted == "p2p" || (wanted == "alltoallv" && mpi) || (wanted == "local" && local)) {
    return wanted;
  }
  std::string known = "auto or p2p";
  if (mpi) known = "auto, p2p or alltoallv";
  if (local) known = "auto, p2p or local";
  throw std::invalid_argument("transport: got '" + wanted + "', want " + known);
}
}  // namespace

std::unique_ptr<Exchange> make_exchange(Group& group, std::string_view transport) {
  auto* const mpi = dynamic_cast<MpiGroup*>(&group);
  const std::string chosen = choose(std::string(transport), mpi != nullptr, is_local(group));
  const Channel channel = group.new_channel();
  require_same_frames(group, {.version = kFrameVersion,
                              .header_bytes = kFrameHeaderBytes,
                              .transport = chosen,
                              .epoch = RoundExchange::epoch(channel)});
  if (chosen == "alltoallv") return std::make_unique<AlltoallvExchange>(*mpi, channel);
  if (chosen == "local") return std::make_unique<LocalExchange>(group, channel);
  return std::make_unique<P2pExchange>(group, channel);
}
}  // namespace switchyard::comm
