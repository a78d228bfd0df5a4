// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Weights, tokens and routings that anyone can make again: a counter-based generator
/// (Philox4x32-10, Salmon et al. 2011), specified number by number in experts/README.md.
#include <array>
#include <cstdint>
#include <mutex>
#include <string>

#include "experts/kernels/aligned.hpp"
#include "experts/router/routing.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts {

/// Which stream of numbers: part of Philox's counter. Never renumbered.
enum class Stream : std::uint32_t {
  kTokens = 0,
  kRouter = 1,
  kRouterSecond = 2,
  kRouterThird = 3,
  kRouterBias = 4,
  kSelectionBias = 5,
  kGate = 6,
  kUp = 7,
  kLinear = 8,
  kDown = 9,
  kGateBias = 10,
  kUpBias = 11,
  kDownBias = 12,
  kSharedGate = 13,
  kOutputBias = 14,
  kRouting = 15,
  kShuffle = 16,
  kSampling = 17,
  kMatrix = 18,  ///< these three: of a whole model, outside its blocks
  kFactor = 19,
  kAdded = 20,
  kPrompt = 21,
  kCoin = 22,  ///< these two: of workloads (urn.hpp)
  kWorkload = 23,
};

/// Pseudo experts in the counter's id word: the shared network and the dense one.
inline constexpr std::int64_t kSharedId = 1'000'000'000;
inline constexpr std::int64_t kDenseId = 1'000'000'001;

/// Four random words of (key, counter); 10 rounds.
[[nodiscard]] std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key);

/// Fills `out` with element i = amplitude * u_i, u_i uniform in [-1, 1), of the stream
/// (seed, layer, id, stream), starting at element `first`.
void fill_uniform(std::uint64_t seed, std::uint32_t layer, std::int64_t id, Stream stream,
                  std::int64_t first, float amplitude, std::span<float> out);

/// Rows of unit variance for step `step`, by global token number. @param out  [tokens, hidden]
void fill_tokens(std::uint64_t seed, std::int64_t step, std::int64_t first_token,
                 MatrixView<float> out);

/// Weights of unit gain (uniform, variance 1 / inputs) for one block. Expert tensors are made when
/// asked for, one expert at a time; a tensor does not depend on who asks.
class SyntheticSource final : public WeightSource {
 public:
  /// @param layer  number of the block; part of every counter
  SyntheticSource(BlockSpec spec, std::uint64_t seed, std::uint32_t layer, bool router_bias,
                  bool selection_bias);
  [[nodiscard]] RouterTensors router() override;
  [[nodiscard]] ExpertTensors expert(std::int64_t logical) override;
  [[nodiscard]] std::string identity(std::int64_t logical) override;
  [[nodiscard]] ExpertTensors shared() override;
  [[nodiscard]] WeightView shared_gate() override;
  [[nodiscard]] ExpertTensors dense() override;
  [[nodiscard]] std::vector<float> output_bias() override;

 private:
  /// The memory of a network that nobody looks at any more: new pages cost as much as the numbers
  /// in them. Networks may be asked for, and let go, on several threads.
  class Spare : public std::enable_shared_from_this<Spare> {
   public:
    [[nodiscard]] std::shared_ptr<AlignedBuffer> take(std::size_t bytes);

   private:
    std::mutex lock_;
    std::unique_ptr<AlignedBuffer> buffer_;
  };

  [[nodiscard]] ExpertTensors network(const ExpertSpec& spec, std::int64_t id);
  BlockSpec spec_;
  std::uint64_t seed_;
  std::uint32_t layer_;
  bool router_bias_;
  bool selection_bias_;
  std::shared_ptr<std::vector<float>> shared_gate_;
  std::shared_ptr<Spare> spare_ = std::make_shared<Spare>();
};

/// Loads for experiments: k distinct experts a token, drawn one after the other without
/// replacement, expert e with probability proportional to (e + 1)^-exponent; weights 1 / k. Keyed
/// by global token, so every rank count sees the same. exponent 0: uniform.
[[nodiscard]] Routing synthetic_routing(const RouterSpec& spec, double exponent, std::uint64_t seed,
                                        std::int64_t step, std::uint32_t layer,
                                        std::int64_t first_token, std::int64_t tokens);

/// The load of tests/peers, which other programs make for themselves: one stream
/// s = 1664525 s + 1013904223 (mod 2^32) over all tokens in global order; a token takes
/// (s / 256) mod experts, again and again, until it has k distinct ones. Weights 1 / k.
/// Cost: that of all tokens before the first, too.
[[nodiscard]] Routing peers_routing(const RouterSpec& spec, std::uint32_t seed,
                                    std::int64_t first_token, std::int64_t tokens);
}  // namespace switchyard::experts
