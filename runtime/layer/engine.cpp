// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/engine.hpp"

namespace switchyard::runtime {

Engine::Engine(comm::Group& group, const EngineOptions& options)
    : choice(comm::choose_exchange(group, options.exchange, options.expected)),
      exchange(comm::make_exchange(group, choice.options)),
      board(group, options.node_queue && exchange->shares_addresses()),
      ffn(group, options.threads, options.timeline),
      sharers(board.mates() * options.threads) {}

void Engine::reopen(comm::Group& group) {
  exchange = comm::make_exchange(group, choice.options);
}
}  // namespace switchyard::runtime
