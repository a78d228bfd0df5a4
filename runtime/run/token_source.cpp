// SPDX-License-Identifier: Apache-2.0
#include "runtime/run/token_source.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "experts/synthetic.hpp"

namespace switchyard::runtime {
namespace {
class SyntheticTokens final : public TokenSource {
 public:
  explicit SyntheticTokens(std::uint64_t seed) : seed_(seed) {}
  void read(std::int64_t step, std::int64_t /*tokens*/, std::int64_t first,
            experts::MatrixView<float> out) override {
    experts::fill_tokens(seed_, step, first, out);
  }
  [[nodiscard]] std::int64_t rows() const override { return -1; }

 private:
  std::uint64_t seed_;
};

class FileTokens final : public TokenSource {
 public:
  FileTokens(const std::string& file, std::int64_t hidden)
      : file_(file), row_bytes_(hidden * std::int64_t{sizeof(float)}) {
    if (std::filesystem::is_directory(file)) fail(EISDIR);
    stream_.open(file, std::ios::binary);
    if (!stream_) fail(errno);
    const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(file));
    if (bytes % row_bytes_ != 0) {
      throw std::invalid_argument("--input " + file + ": got " + std::to_string(bytes) +
                                  " bytes, want a multiple of " + std::to_string(row_bytes_) +
                                  ", one row of " + std::to_string(hidden) + " float32");
    }
    rows_ = bytes / row_bytes_;
  }

  void read(std::int64_t step, std::int64_t tokens, std::int64_t first,
            experts::MatrixView<float> out) override {
    if (rows_ == 0 && out.rows > 0) {
      throw std::invalid_argument("--input " + file_ + ": got 0 rows, want at least 1");
    }
    std::int64_t next = rows_ > 0 ? (step * tokens + first) % rows_ : 0;
    for (std::int64_t t = 0; t < out.rows;) {
      const std::int64_t count = std::min(out.rows - t, rows_ - next);
      stream_.clear();
      stream_.seekg(next * row_bytes_);
      stream_.read(reinterpret_cast<char*>(out.row(t).data()), count * row_bytes_);
      if (!stream_) fail(EIO);
      t += count;
      next = (next + count) % rows_;
    }
  }
  [[nodiscard]] std::int64_t rows() const override { return rows_; }

 private:
  [[noreturn]] void fail(int error) const {
    throw std::system_error(error, std::generic_category(), "--input " + file_);
  }
  std::string file_;
  std::int64_t row_bytes_;
  std::int64_t rows_ = 0;
  std::ifstream stream_;
};
}  // namespace

TokenShare share_of(std::int64_t tokens, int rank, int ranks) {
  const std::int64_t each = tokens / ranks;
  const std::int64_t more = tokens % ranks;
  return {.first = each * rank + std::min<std::int64_t>(rank, more),
          .count = each + (rank < more ? 1 : 0)};
}

std::unique_ptr<TokenSource> synthetic_tokens(std::uint64_t seed) {
  return std::make_unique<SyntheticTokens>(seed);
}

std::unique_ptr<TokenSource> file_tokens(const std::string& file, std::int64_t hidden) {
  return std::make_unique<FileTokens>(file, hidden);
}
}  // namespace switchyard::runtime
