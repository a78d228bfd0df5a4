// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Draws experts by integer weights, without putting back until told to; as README.md specifies it.
#include <cstdint>
#include <span>
#include <vector>

namespace switchyard::experts {

/// floor(a b / 2^64).
[[nodiscard]] std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b);

/// Expert e weighs max(1, floor(2^32 (e + 1)^-exponent + 1/2)): all 2^32 if that is 0.
[[nodiscard]] std::vector<std::uint64_t> zipf_weights(std::int64_t experts, double exponent);

/// Integer weights of experts in a binary indexed tree: draws one and takes it out in log(experts).
class Urn {
 public:
  /// @param weights  whose sum is below 2^64; 0: never drawn
  explicit Urn(std::span<const std::uint64_t> weights);
  /// The expert in whose share of [0, total) the number floor(word total / 2^64) falls; out of the
  /// urn from now on. @pre total() > 0
  [[nodiscard]] std::int32_t draw(std::uint64_t word);
  /// Out of the urn, if it is in it. @return  whether it was
  bool take(std::int32_t expert);
  /// All that was taken out.
  void put_back();
  [[nodiscard]] std::uint64_t total() const { return total_; }

 private:
  /// Modulo 2^64, so that a weight can be taken out again.
  void add(std::size_t expert, std::uint64_t weight);

  std::vector<std::uint64_t> weights_;  ///< 0 while it is out
  std::vector<std::uint64_t> tree_;
  std::uint64_t total_ = 0;
  /// An expert that is out, and its weight.
  struct Taken {
    std::int32_t expert = 0;
    std::uint64_t weight = 0;
  };
  std::vector<Taken> taken_;
};

/// The 64-bit numbers that the draws of a step's layer take: streams of Philox, one a purpose.
class DrawNumbers {
 public:
  DrawNumbers(std::uint64_t seed, std::int64_t step, std::uint32_t layer);
  /// Of a token's draw number `draw`, below 2^17.
  [[nodiscard]] std::uint64_t of_routing(std::int64_t token, std::size_t draw);
  /// Of the same, for what else has to be decided.
  [[nodiscard]] std::uint64_t of_coin(std::int64_t token, std::size_t draw) const;
  /// Of the layer as a whole. @param index  below 2^32
  [[nodiscard]] std::uint64_t of_layer(std::uint32_t index) const;

 private:
  std::uint32_t layer_;
  std::uint32_t step_;
  std::uint32_t key_[2];
  std::int64_t token_ = -1;  ///< whose pair of draws words_ has
  std::size_t pair_ = 0;
  std::uint32_t words_[4] = {};
};
}  // namespace switchyard::experts
