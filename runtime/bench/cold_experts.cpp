// SPDX-License-Identifier: Apache-2.0
#include "runtime/bench/cold_experts.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <system_error>

#include "experts/index.hpp"
#include "experts/kernels/probe.hpp"

namespace switchyard::runtime::bench {
namespace {
constexpr std::int64_t kLeastCold = 400'000'000;
constexpr std::int64_t kLastCaches = 4;

std::int64_t cold_bytes(const FfnSettings& settings) {
  if (settings.cold_bytes > 0) return settings.cold_bytes;
  return std::max(kLeastCold, kLastCaches * experts::last_cache_bytes());
}

experts::BlockSpec block_of(const experts::ExpertSpec& expert) {
  experts::BlockSpec block;
  block.router.hidden = expert.hidden;
  block.router.experts = ColdExperts::kDistinct;
  block.router.top_k = 1;
  block.expert = expert;
  return block;
}

std::int64_t turns(std::int64_t wanted_bytes, std::int64_t each) {
  return std::max(ColdExperts::kDistinct, (wanted_bytes + each - 1) / each);
}
}  // namespace

ColdExperts::ColdExperts(const FfnSettings& settings, experts::DType stored)
    : block_(block_of(settings.expert)),
      stored_(stored),
      isa_(settings.isa),
      seed_(settings.seed),
      expert_bytes_(experts::PackedExpert::packed_bytes(settings.expert, stored)),
      count_(turns(cold_bytes(settings), expert_bytes_)),
      private_(at(count_ * expert_bytes_)) {
  fill(private_.as<std::byte>());
  private_views_ = views(private_.as<std::byte>());
  if (settings.shared_pages) map_shared_pages();
  if (settings.free_order) {
    free_views_ = views(private_.as<std::byte>());
    for (auto& set : free_views_) {
      for (auto& expert : set) expert.add_in_any_order();
    }
  }
  if (settings.openblas && stored == experts::DType::kFloat32) {
    copy_plain(turns(cold_bytes(settings), expert_bytes_));
  }
}

void ColdExperts::fill(std::byte* memory) {
  auto from = source();
  for (std::int64_t i = 0; i < count_; ++i) {
    std::byte* const block = memory + i * expert_bytes_;
    if (i < kDistinct) {
      experts::PackedExpert::pack(block_.expert, from.expert(i), stored_, block);
    } else {
      std::memcpy(block, memory + i % kDistinct * expert_bytes_, at(expert_bytes_));
    }
  }
}

void ColdExperts::map_shared_pages() {
  void* const memory =
      ::mmap(nullptr, private_.size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::system_error(errno, std::generic_category(), "bench ffn: shared pages");
  }
  shared_ = {memory, [bytes = private_.size()](void* pages) { ::munmap(pages, bytes); }};
  std::memcpy(memory, private_.as<std::byte>(), private_.size());
  shared_views_ = views(static_cast<const std::byte*>(memory));
}

std::vector<ColdExperts::Views> ColdExperts::views(const std::byte* memory) const {
  std::vector<Views> all;
  for (const auto math : {experts::Math::kFloat32, experts::Math::kNative}) {
    Views views;
    for (std::int64_t i = 0; i < count_; ++i) {
      views.emplace_back(block_.expert, stored_, memory + i * expert_bytes_, isa_, math);
    }
    all.push_back(std::move(views));
  }
  return all;
}

void ColdExperts::copy_plain(std::int64_t count) {
  auto from = source();
  for (std::int64_t i = 0; i < count; ++i) plain_.push_back(from.expert(i % kDistinct));
}
}  // namespace switchyard::runtime::bench
