// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// softmax(q k) v of one sequence, and the keys and values that it remembers. Everything goes in
/// blocks of 64 positions, counted from position 0: a query's bits depend on what it sees alone,
/// not on how many queries come at once, how the sequence was cut, or what was forgotten.
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "experts/kernels/aligned.hpp"
#include "experts/kernels/isa.hpp"
#include "experts/tensor.hpp"

namespace switchyard::runtime {

/// Keys and values of consecutive positions of one sequence, as panels for the kernels: keys
/// [key_dim][32 positions], values [64 positions][32 elements].
class KeyValues {
 public:
  static constexpr std::int64_t kBlock = 64;  ///< positions

  /// @param key_sets  forms of every key (see Rotary::sets)
  KeyValues(std::int64_t heads, std::int64_t key_dim, std::int64_t value_dim,
            std::int64_t key_sets = 1);
  /// Values are the first value_dim elements of the keys and stored with them alone (latents).
  [[nodiscard]] static KeyValues latent(std::int64_t key_dim, std::int64_t value_dim);

  /// Makes room for positions [end(), end() + count); they are zero until they are put.
  void extend(std::int64_t count);
  void put_key(std::int64_t position, std::int64_t head, std::span<const float> key,
               std::int64_t set = 0);
  void put_value(std::int64_t position, std::int64_t head, std::span<const float> value);
  /// As if nothing from `end` on had been put. Returns false, and changes nothing, if it has not
  /// come that far, or has dropped something from `needed` on.
  [[nodiscard]] bool rewind(std::int64_t end, std::int64_t needed);
  /// Drops the blocks of which nothing from `position` on is a part.
  void forget_before(std::int64_t position);

  [[nodiscard]] std::int64_t end() const { return end_; }  ///< positions that were ever put
  [[nodiscard]] std::int64_t heads() const { return heads_; }
  [[nodiscard]] std::int64_t key_dim() const { return key_dim_; }
  [[nodiscard]] std::int64_t value_dim() const { return value_dim_; }
  [[nodiscard]] std::int64_t bytes() const;
  [[nodiscard]] const float* keys(std::int64_t block, std::int64_t head, std::int64_t set) const;
  /// @param scratch  where they are put together if they are stored in the keys
  [[nodiscard]] const float* values(std::int64_t block, std::int64_t head,
                                    experts::AlignedBuffer& scratch) const;

 private:
  [[nodiscard]] std::int64_t block_floats() const { return heads_ * head_floats(); }
  [[nodiscard]] std::int64_t head_floats() const {
    const std::int64_t values = values_in_keys_ ? 0 : (value_dim_ + 31) / 32 * 32;
    return kBlock * (key_sets_ * key_dim_ + values);
  }
  [[nodiscard]] float* part(std::int64_t block, std::int64_t head, std::int64_t offset);

  std::int64_t heads_;
  std::int64_t key_dim_;
  std::int64_t value_dim_;
  std::int64_t key_sets_;
  bool values_in_keys_ = false;
  std::int64_t first_block_ = 0;
  std::int64_t end_ = 0;
  std::deque<experts::AlignedBuffer> blocks_;
};

/// What a query of position p sees: positions up to p, of these the last `window`, of its own chunk
/// of `chunk` positions, and that `allowed` does not strike out.
struct AttendRule {
  std::int64_t window = 0;         ///< 0: none
  std::int64_t chunk = 0;          ///< 0: none
  double cap = 0;                  ///< scores become cap tanh(score / cap); 0: none
  std::span<const float> sinks{};  ///< [heads]: one more logit whose share is thrown away; or none
  std::int64_t set = 0;            ///< of keys
  /// [queries, positions]; 0: not seen. Empty: everything.
  experts::MatrixView<const std::uint8_t> allowed{};

  /// The first position that a query of position p sees.
  [[nodiscard]] std::int64_t first_seen(std::int64_t position) const;
};

struct AttendScratch {
  experts::AlignedBuffer packed;
  experts::AlignedBuffer scores;
  experts::AlignedBuffer sums;
  experts::AlignedBuffer part;
  experts::AlignedBuffer values;
  std::vector<const float*> rows;
  std::vector<float*> results;
};

/// out = softmax(q k) v for consecutive queries. Scores: one fused chain over key_dim. The result:
/// a fused chain over the positions of a block, blocks added in order, divided by the sum of
/// exponentials.
/// @param queries  [rows, heads * key_dim], turned and scaled; heads a multiple of cache.heads(),
///                 consecutive heads share keys
/// @param first    position of row 0; all rows' keys and values are in the cache
/// @param out      [rows, heads * value_dim]
void attend(const AttendRule& rule, const KeyValues& cache,
            experts::MatrixView<const float> queries, std::int64_t first,
            experts::MatrixView<float> out, experts::Isa isa, AttendScratch& scratch);
}  // namespace switchyard::runtime
