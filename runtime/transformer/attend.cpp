// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/attend.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "experts/kernels/dispatch.hpp"
#include "experts/kernels/math.hpp"

namespace switchyard::runtime {
namespace {
namespace panel = experts::panel;

constexpr std::int64_t kBlock = KeyValues::kBlock;
/// Rows (a query and a head each) that go through the panels together, and most of their scores.
constexpr std::int64_t kRowsAtOnce = 96;
constexpr std::int64_t kScoresAtOnce = std::int64_t{1} << 19U;

/// Rows [first_row, first_row + rows) of one key head: row r is query r / group, its head r %
/// group.
struct Tile {
  std::int64_t head;  ///< of the keys
  std::int64_t group;
  std::int64_t first_row;
  std::int64_t rows;
  std::int64_t first_block;
  std::int64_t end_block;
  [[nodiscard]] std::int64_t query(std::int64_t r) const { return (first_row + r) / group; }
  [[nodiscard]] std::int64_t query_head(std::int64_t r) const {
    return head * group + (first_row + r) % group;
  }
  [[nodiscard]] std::int64_t width() const { return (end_block - first_block) * kBlock; }
};

class Attention {
 public:
  Attention(const AttendRule& rule, const KeyValues& cache,
            experts::MatrixView<const float> queries, std::int64_t first,
            experts::MatrixView<float> out, experts::Isa isa, AttendScratch& scratch)
      : rule_(rule),
        cache_(cache),
        queries_(queries),
        first_(first),
        out_(out),
        kernels_(experts::kernels_of(isa)),
        scratch_(scratch) {}

  void run() {
    const std::int64_t group = queries_.cols / cache_.key_dim() / cache_.heads();
    const std::int64_t all = queries_.rows * group;
    for (std::int64_t head = 0; head < cache_.heads(); ++head) {
      for (std::int64_t row = 0; row < all;) {
        Tile tile{.head = head,
                  .group = group,
                  .first_row = row,
                  .rows = 1,
                  .first_block = rule_.first_seen(first_ + row / group) / kBlock,
                  .end_block = 0};
        tile.rows = std::min(kRowsAtOnce, all - row);
        const auto fit = [&] {
          tile.end_block = (first_ + tile.query(tile.rows - 1)) / kBlock + 1;
        };
        fit();
        while (tile.rows > 1 && tile.rows * tile.width() > kScoresAtOnce) {
          tile.rows = (tile.rows + 1) / 2;
          fit();
        }
        attend_tile(tile);
        row += tile.rows;
      }
    }
  }

 private:
  void attend_tile(const Tile& tile) {
    score(tile);
    float* const scores = scratch_.scores.as<float>();
    scratch_.sums.ensure(static_cast<std::size_t>(tile.rows) * sizeof(float));
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      scratch_.sums.as<float>()[r] = weigh(tile, r, scores + r * tile.width());
    }
    add_values(tile);
  }

  /// scores[r][position] = q k
  void score(const Tile& tile) {
    const std::int64_t depth = cache_.key_dim();
    const auto rows = static_cast<std::size_t>(tile.rows);
    scratch_.rows.resize(rows);
    scratch_.results.resize(rows);
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      scratch_.rows[static_cast<std::size_t>(r)] =
          queries_.data + tile.query(r) * queries_.stride + tile.query_head(r) * depth;
    }
    scratch_.packed.ensure(rows * static_cast<std::size_t>(std::max(depth, kBlock)) *
                           sizeof(float));
    scratch_.scores.ensure(rows * static_cast<std::size_t>(tile.width()) * sizeof(float));
    kernels_.pack_rows(scratch_.rows.data(), nullptr, tile.rows, depth,
                       scratch_.packed.as<float>());
    for (std::int64_t block = tile.first_block; block < tile.end_block; ++block) {
      const std::int64_t column = (block - tile.first_block) * kBlock;
      for (std::int64_t r = 0; r < tile.rows; ++r) {
        scratch_.results[static_cast<std::size_t>(r)] =
            scratch_.scores.as<float>() + r * tile.width() + column;
      }
      multiply(tile, cache_.keys(block, tile.head, rule_.set), depth, kBlock);
    }
  }

  /// Makes exponentials of a row's scores; gives their sum.
  float weigh(const Tile& tile, std::int64_t r, float* scores) {
    constexpr float kHidden = -std::numeric_limits<float>::infinity();
    const std::int64_t position = first_ + tile.query(r);
    const std::int64_t origin = tile.first_block * kBlock;
    const std::int64_t seen = std::max(rule_.first_seen(position) - origin, std::int64_t{0});
    const std::int64_t end = position + 1 - origin;
    const std::int64_t padded = (end + 15) / 16 * 16;
    if (rule_.cap > 0) {
      for (std::int64_t i = seen; i < end; ++i) {
        scores[i] = static_cast<float>(
            rule_.cap * experts::portable::tanh(static_cast<double>(scores[i]) / rule_.cap));
      }
    }
    std::fill(scores, scores + seen, kHidden);
    std::fill(scores + end, scores + padded, kHidden);
    std::fill(scores + padded, scores + tile.width(), 0.0F);
    if (rule_.allowed.data != nullptr) {
      const auto allowed = rule_.allowed.row(tile.query(r));
      for (std::int64_t i = seen; i < end; ++i) {
        if (allowed[static_cast<std::size_t>(origin + i)] == 0) scores[i] = kHidden;
      }
    }
    const bool sinks = !rule_.sinks.empty();
    const float sink = sinks ? rule_.sinks[static_cast<std::size_t>(tile.query_head(r))] : kHidden;
    float most = sink;
    float sum = 0;
    kernels_.exponentials(scores, padded, &most, &sum);
    return sinks ? sum + experts::portable::exp_float32(sink - most) : sum;
  }

  void add_values(const Tile& tile) {
    const std::int64_t dim = cache_.value_dim();
    const auto elements = static_cast<std::size_t>(tile.rows * dim);
    scratch_.part.ensure(2 * elements * sizeof(float));
    float* const part = scratch_.part.as<float>();
    float* const total = part + elements;
    std::fill(total, total + elements, 0.0F);
    for (std::int64_t block = tile.first_block; block < tile.end_block; ++block) {
      const std::int64_t column = (block - tile.first_block) * kBlock;
      for (std::int64_t r = 0; r < tile.rows; ++r) {
        const auto i = static_cast<std::size_t>(r);
        scratch_.rows[i] = scratch_.scores.as<float>() + r * tile.width() + column;
        scratch_.results[i] = part + r * dim;
      }
      kernels_.pack_rows(scratch_.rows.data(), nullptr, tile.rows, kBlock,
                         scratch_.packed.as<float>());
      multiply(tile, cache_.values(block, tile.head, scratch_.values), kBlock, dim);
      for (std::size_t i = 0; i < elements; ++i) total[i] += part[i];
    }
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      float* const out = out_.data + tile.query(r) * out_.stride + tile.query_head(r) * dim;
      const float sum = scratch_.sums.as<float>()[r];
      for (std::int64_t d = 0; d < dim; ++d) out[d] = total[r * dim + d] / sum;
    }
  }

  void multiply(const Tile& tile, const float* panels, std::int64_t depth, std::int64_t outputs) {
    panel::Product product;
    product.panels = panels;
    product.depth = depth;
    product.outputs = outputs;
    product.end_panel = (outputs + panel::kColumns - 1) / panel::kColumns;
    product.x = scratch_.packed.as<float>();
    product.rows = tile.rows;
    product.results = scratch_.results.data();
    kernels_.run(product);
  }

  const AttendRule& rule_;
  const KeyValues& cache_;
  experts::MatrixView<const float> queries_;
  std::int64_t first_;
  experts::MatrixView<float> out_;
  panel::Kernels kernels_;
  AttendScratch& scratch_;
};
}  // namespace

KeyValues::KeyValues(std::int64_t heads, std::int64_t key_dim, std::int64_t value_dim,
                     std::int64_t key_sets)
    : heads_(heads), key_dim_(key_dim), value_dim_(value_dim), key_sets_(key_sets) {}

KeyValues KeyValues::latent(std::int64_t key_dim, std::int64_t value_dim) {
  KeyValues cache(1, key_dim, value_dim);
  cache.values_in_keys_ = true;
  return cache;
}

void KeyValues::extend(std::int64_t count) {
  end_ += count;
  const auto bytes = static_cast<std::size_t>(block_floats()) * sizeof(float);
  while ((first_block_ + static_cast<std::int64_t>(blocks_.size())) * kBlock < end_) {
    experts::AlignedBuffer& block = blocks_.emplace_back(bytes);
    std::memset(block.as<void>(), 0, bytes);
  }
}

float* KeyValues::part(std::int64_t block, std::int64_t head, std::int64_t offset) {
  return blocks_[static_cast<std::size_t>(block - first_block_)].as<float>() +
         head * head_floats() + offset;
}

void KeyValues::put_key(std::int64_t position, std::int64_t head, std::span<const float> key,
                        std::int64_t set) {
  const std::int64_t place = position % kBlock;
  float* at = part(position / kBlock, head,
                   set * kBlock * key_dim_ + place / panel::kColumns * panel::kColumns * key_dim_ +
                       place % panel::kColumns);
  for (std::int64_t d = 0; d < key_dim_; ++d, at += panel::kColumns) {
    *at = key[static_cast<std::size_t>(d)];
  }
}

void KeyValues::put_value(std::int64_t position, std::int64_t head, std::span<const float> value) {
  if (values_in_keys_) throw std::logic_error("KeyValues: values stand in the keys");
  float* const at = part(position / kBlock, head,
                         key_sets_ * kBlock * key_dim_ + position % kBlock * panel::kColumns);
  for (std::int64_t d = 0; d < value_dim_; ++d) {
    at[d / panel::kColumns * panel::kColumns * kBlock + d % panel::kColumns] =
        value[static_cast<std::size_t>(d)];
  }
}

bool KeyValues::rewind(std::int64_t end, std::int64_t needed) {
  if (end > end_ || needed < first_block_ * kBlock) return false;
  while (!blocks_.empty() &&
         (first_block_ + static_cast<std::int64_t>(blocks_.size()) - 1) * kBlock >= end) {
    blocks_.pop_back();
  }
  const std::int64_t stored = (first_block_ + static_cast<std::int64_t>(blocks_.size())) * kBlock;
  const std::vector<float> zeros(static_cast<std::size_t>(std::max(key_dim_, value_dim_)));
  const auto zero = [&zeros](std::int64_t dim) {
    return std::span(zeros).first(static_cast<std::size_t>(dim));
  };
  for (std::int64_t position = end; position < std::min(end_, stored); ++position) {
    for (std::int64_t head = 0; head < heads_; ++head) {
      for (std::int64_t set = 0; set < key_sets_; ++set) {
        put_key(position, head, zero(key_dim_), set);
      }
      if (!values_in_keys_) put_value(position, head, zero(value_dim_));
    }
  }
  end_ = end;
  return true;
}

void KeyValues::forget_before(std::int64_t position) {
  while (!blocks_.empty() && (first_block_ + 1) * kBlock <= position) {
    blocks_.pop_front();
    ++first_block_;
  }
}

std::int64_t KeyValues::bytes() const {
  return static_cast<std::int64_t>(blocks_.size() * sizeof(float)) * block_floats();
}

const float* KeyValues::keys(std::int64_t block, std::int64_t head, std::int64_t set) const {
  return blocks_[static_cast<std::size_t>(block - first_block_)].as<float>() +
         head * head_floats() + set * kBlock * key_dim_;
}

const float* KeyValues::values(std::int64_t block, std::int64_t head,
                               experts::AlignedBuffer& scratch) const {
  if (values_in_keys_) {
    const std::int64_t panels = (value_dim_ + panel::kColumns - 1) / panel::kColumns;
    scratch.ensure(static_cast<std::size_t>(panels * kBlock * panel::kColumns) * sizeof(float));
    for (std::int64_t p = 0; p < kBlock; ++p) {
      const float* const key = keys(block, head, 0) +
                               p / panel::kColumns * panel::kColumns * key_dim_ +
                               p % panel::kColumns;
      for (std::int64_t d = 0; d < panels * panel::kColumns; ++d) {
        scratch.as<float>()[(d / panel::kColumns * kBlock + p) * panel::kColumns +
                            d % panel::kColumns] = d < value_dim_ ? key[d * panel::kColumns] : 0.0F;
      }
    }
    return scratch.as<float>();
  }
  return blocks_[static_cast<std::size_t>(block - first_block_)].as<float>() +
         head * head_floats() + key_sets_ * kBlock * key_dim_;
}

std::int64_t AttendRule::first_seen(std::int64_t position) const {
  std::int64_t seen = 0;
  if (window > 0) seen = std::max(seen, position + 1 - window);
  if (chunk > 0) seen = std::max(seen, position / chunk * chunk);
  return seen;
}

void attend(const AttendRule& rule, const KeyValues& cache,
            experts::MatrixView<const float> queries, std::int64_t first,
            experts::MatrixView<float> out, experts::Isa isa, AttendScratch& scratch) {
  const std::int64_t heads = queries.cols / cache.key_dim();
  if (heads < 1 || queries.cols != heads * cache.key_dim() || heads % cache.heads() != 0 ||
      out.rows != queries.rows || out.cols != heads * cache.value_dim()) {
    throw std::invalid_argument("attend: queries of " + std::to_string(queries.cols) +
                                " elements and results of " + std::to_string(out.cols) +
                                ", want heads of " + std::to_string(cache.key_dim()) + " and " +
                                std::to_string(cache.value_dim()));
  }
  if (first < 0 || first + queries.rows > cache.end()) {
    throw std::invalid_argument("attend: queries up to position " +
                                std::to_string(first + queries.rows) + ", want keys up to there, " +
                                "have " + std::to_string(cache.end()));
  }
  Attention(rule, cache, queries, first, out, isa, scratch).run();
}
}  // namespace switchyard::runtime
