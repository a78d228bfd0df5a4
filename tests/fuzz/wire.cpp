// SPDX-License-Identifier: Apache-2.0
// What ranks say to each other: headers of frames, manifests, and the offers behind both.
#include <array>
#include <memory>
#include <vector>

#include "comm/exchange/manifest.hpp"
#include "comm/exchange/round.hpp"
#include "comm/wire/frame.hpp"
#include "tests/fuzz/targets.hpp"

namespace switchyard::fuzz {
namespace {

std::vector<int> some_ranks(int count) {
  std::vector<int> ranks;
  for (int i = 0; i < count; ++i) ranks.push_back(i);
  return ranks;
}
}  // namespace

/// First byte: bit 0, the checksum is set right; bit 1, the receiver expects what the header says.
/// Then 64 bytes of header, and what else the receiver expects.
void frame(Bytes bytes) {
  Input input(bytes);
  const auto how = input.number<std::uint8_t>();
  const auto size = static_cast<std::size_t>((how & 4U) != 0 ? 64 : input.between(0, 64));
  std::array<std::byte, comm::kFrameHeaderBytes> wire{};
  const Bytes given = input.take(size);
  if (!given.empty()) std::memcpy(wire.data(), given.data(), given.size());
  comm::FrameHeader header;
  std::memcpy(&header, wire.data(), sizeof header);
  if ((how & 1U) != 0) comm::write_header(header, wire);
  comm::ExpectedFrame expected;
  if ((how & 2U) != 0) {
    expected = {.kind = header.kind,
                .epoch = header.epoch,
                .from = header.from,
                .to = header.to,
                .sequence = header.sequence,
                .row_bytes = header.row_bytes};
  }
  may_refuse([&] {
    const auto read = comm::read_header(Bytes(wire).first(size), expected);
    require(read.rows >= 0 && read.note_bytes >= 0 && read.results >= 0, "a negative count");
    require(comm::body_extent(read).bytes() >= 0 || read.row_bytes < 0, "a negative body");
  });
}

/// Stages, ranks, rows and results as a header would have said, then the manifest.
void manifest(Bytes bytes) {
  Input input(bytes);
  const int stages = input.between(1, comm::kMaxStages);
  const std::vector<int> ranks = some_ranks(input.between(1, 8));
  const auto rows = input.number<std::uint16_t>();
  const auto results = input.number<std::uint16_t>();
  const Bytes rest = input.rest();
  // As long as it is and no longer, so that a read past its end shows.
  const auto words = std::make_unique<std::int32_t[]>(rest.size() / 4);
  if (rest.size() >= 4) std::memcpy(words.get(), rest.data(), rest.size() / 4 * 4);
  const Bytes given(reinterpret_cast<const std::byte*>(words.get()), rest.size() / 4 * 4);
  may_refuse([&] {
    comm::Manifest read;
    comm::read_manifest(given, 1, stages, ranks, rows, results, read);
    std::int64_t sum = 0;
    for (const auto& share : read.shares) {
      for (std::int32_t i = 0; i < share.rows; ++i) {
        require(share.list[i] >= 0 && share.list[i] < rows, "a row beyond the load");
      }
      for (std::int32_t i = 0; i < share.note_bytes; ++i) {
        sum += std::to_integer<int>(share.note[i]);
      }
      require(share.stage_results[stages - 1] == share.results, "results in no stage");
    }
    require(sum >= 0, "bytes");
  });
}

/// An offer of a few rows to a few ranks, right or wrong; a right one is packed for its node and
/// read back.
void offer(Bytes bytes) {
  Input input(bytes);
  const int ranks = input.between(1, 5);
  const int stages = input.between(1, 4);
  const std::array<std::byte, 4> base{};
  comm::Offer offer;
  offer.base = base.data();
  offer.row_bytes = input.between(0, 2) * 4;
  const bool staged = input.between(0, 1) == 1;
  for (int r = 0; r <= ranks; ++r) {
    const std::int64_t before = r == 0 ? 0 : offer.row_offsets.back();
    const std::int64_t notes = r == 0 ? 0 : offer.note_offsets.back();
    offer.row_offsets.push_back(before + (r == 0 ? 0 : input.between(-1, 9)));
    offer.note_offsets.push_back(notes + (r == 0 ? 0 : input.between(-1, 9)));
    if (r < ranks) offer.results.push_back(input.between(-1, 20));
  }
  for (std::int64_t i = 0; i < offer.row_offsets.back(); ++i) {
    offer.rows.push_back(input.between(-1, 40));
  }
  offer.notes.resize(
      static_cast<std::size_t>(std::max<std::int64_t>(offer.note_offsets.back(), 0)));
  for (int i = 0; staged && i < ranks * stages; ++i) {
    offer.stage_rows.push_back(input.between(0, 9));
    offer.stage_results.push_back(input.between(0, 20));
  }
  may_refuse([&] {
    comm::require_offer(offer, ranks, stages);
    const std::vector<int> all = some_ranks(ranks);
    const int cut = staged ? stages : 1;
    std::vector<std::int32_t> numbers;
    comm::NodeLoad load;
    load.pack(offer, cut, all, numbers);
    comm::Manifest read;
    comm::read_manifest(load.manifest, 0, cut, all, static_cast<std::int64_t>(load.rows.size()),
                        load.results, read);
    for (int r = 0; r < ranks; ++r) {
      const auto at = static_cast<std::size_t>(r);
      const comm::ManifestShare& share = read.shares[at];
      require(share.rows == comm::count_of(offer.row_offsets, r), "other rows");
      require(share.results == offer.results[at], "other results");
      for (std::int32_t i = 0; i < share.rows; ++i) {
        const auto row = static_cast<std::size_t>(offer.row_offsets[at] + i);
        require(load.rows[static_cast<std::size_t>(share.list[i])] == offer.rows[row],
                "another row");
      }
    }
  });
}
}  // namespace switchyard::fuzz
