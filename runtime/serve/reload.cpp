// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/reload.hpp"

#include <algorithm>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include "experts/ffn.hpp"

namespace switchyard::runtime {

Reload::Reload(const WeightOrigin& origin, std::vector<std::int32_t> logical) {
  std::ranges::sort(logical);
  ready_.logical = std::move(logical);
  ready_.layers.resize(origin.sources.size());
  thread_ = std::thread([this, &origin] {
    try {
      work(origin);
    } catch (...) {
      problem_ = std::current_exception();
    }
    done_.store(true, std::memory_order_release);
  });
}

Reload::~Reload() {
  stop_ = true;
  thread_.join();
}

void Reload::work(const WeightOrigin& origin) {
  constexpr int kLowest = 19;  // of this thread alone: requests go first
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kLowest);
  const auto bytes =
      static_cast<std::size_t>(experts::PackedExpert::packed_bytes(origin.spec, origin.stored));
  for (std::size_t layer = 0; layer < origin.sources.size(); ++layer) {
    for (const std::int32_t logical : ready_.logical) {
      if (stop_) return;
      ReadyExpert one{.logical = logical, .block = experts::AlignedBuffer(bytes)};
      experts::PackedExpert::pack(origin.spec, origin.sources[layer]->expert(logical),
                                  origin.stored, one.block.as<std::byte>());
      ready_.layers[layer].push_back(std::move(one));
    }
  }
}

ReadyExperts Reload::take() {
  if (problem_ != nullptr) std::rethrow_exception(problem_);
  return std::move(ready_);
}
}  // namespace switchyard::runtime
