// SPDX-License-Identifier: Apache-2.0
#include "runtime/text/tokenizer.hpp"

namespace switchyard::runtime {
namespace {
class Bytes final : public Tokenizer {
 public:
  [[nodiscard]] std::vector<std::int64_t> encode(std::string_view text) const override {
    std::vector<std::int64_t> ids;
    ids.reserve(text.size());
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
    return ids;
  }
  [[nodiscard]] std::string bytes_of(std::int64_t id) const override {
    if (id < 0 || id > 255) return {};
    return {static_cast<char>(id)};
  }
  [[nodiscard]] bool special(std::int64_t id) const override { return id < 0 || id > 255; }
  [[nodiscard]] bool drops_first_space() const override { return false; }
  [[nodiscard]] std::optional<std::int64_t> find(std::string_view token) const override {
    if (token.size() != 1) return std::nullopt;
    return static_cast<unsigned char>(token.front());
  }
  [[nodiscard]] std::optional<std::int64_t> bos() const override { return std::nullopt; }
  [[nodiscard]] std::optional<std::int64_t> eos() const override { return std::nullopt; }
  [[nodiscard]] std::string describe() const override { return "bytes, 256 ids"; }
};
}  // namespace

std::unique_ptr<Tokenizer> bytes_tokenizer() {
  return std::make_unique<Bytes>();
}
}  // namespace switchyard::runtime
