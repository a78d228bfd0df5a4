// SPDX-License-Identifier: Apache-2.0
#include "runtime/report/digest.hpp"

#include <array>
#include <new>
#include <openssl/evp.h>
#include <stdexcept>

#include "comm/group/collective.hpp"

namespace switchyard::runtime {

void rows_to_root(comm::Group& group, experts::MatrixView<const float> mine,
                  const std::function<void(std::span<const std::byte>)>& sink) {
  const auto values = static_cast<std::size_t>(mine.rows * mine.cols);
  const std::span<const float> all = values > 0 ? std::span(mine.data, values) : std::span<float>();
  comm::stream_to_root(group, std::as_bytes(all),
                       [&](int, std::span<const std::byte> bytes) { sink(bytes); });
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr ||
      EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) != 1) {
    EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_));
    throw std::runtime_error("sha256: the crypto library offers no SHA-256");
  }
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_));
}

void Sha256::add(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) != 1) {
    throw std::runtime_error("sha256: update failed");
  }
}

std::string Sha256::hex() {
  std::array<unsigned char, 32> sum{};
  unsigned int length = 0;
  if (EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), sum.data(), &length) != 1) {
    throw std::runtime_error("sha256: final failed");
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : sum) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

std::string sha256(std::string_view text) {
  Sha256 sum;
  sum.add(std::as_bytes(std::span(text)));
  return sum.hex();
}
}  // namespace switchyard::runtime
