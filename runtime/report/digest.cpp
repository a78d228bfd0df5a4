// SPDX-License-Identifier: Apache-2.0
#include "runtime/report/digest.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <openssl/evp.h>
#include <stdexcept>

#include "comm/collective.hpp"

namespace switchyard::runtime {

void rows_to_root(comm::Group& group, experts::MatrixView<const float> mine,
                  const std::function<void(std::span<const std::byte>)>& sink) {
  constexpr std::int64_t kPiece = std::int64_t{16} << 20;
  const std::int64_t row_bytes = mine.cols * std::int64_t{sizeof(float)};
  const std::int64_t piece_rows =
      std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(row_bytes, 1));
  const auto rows = comm::allgather_values<std::int64_t>(group, std::span(&mine.rows, 1));
  const comm::Channel channel = group.new_channel();
  for (int rank = 0; rank < group.size(); ++rank) {
    const std::int64_t total = rows[static_cast<std::size_t>(rank)][0];
    for (std::int64_t first = 0; first < total; first += piece_rows) {
      const std::int64_t count = std::min(piece_rows, total - first);
      const comm::Extent extent{.row_bytes = row_bytes, .rows = count};
      if (rank == 0) {
        if (group.rank() == 0) {
          sink(std::as_bytes(
              std::span(mine.row(first).data(), static_cast<std::size_t>(count * mine.cols))));
        }
      } else if (group.rank() == rank) {
        comm::Buffer buffer(static_cast<std::size_t>(extent.bytes()));
        std::memcpy(buffer.data(), mine.row(first).data(), buffer.size());
        auto sending = group.send(0, channel, std::move(buffer), extent);
        group.wait(sending);
      } else if (group.rank() == 0) {
        auto receiving = group.receive(rank, channel, {}, extent);
        group.wait(receiving);
        const comm::Buffer buffer = receiving.take();
        sink(buffer.bytes().first(static_cast<std::size_t>(extent.bytes())));
      }
    }
  }
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
