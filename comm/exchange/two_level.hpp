// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Between nodes as messages and inside a node in shared memory: a row crosses to a node once,
/// however many of its ranks want it.
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "comm/exchange/cross_board.hpp"
#include "comm/exchange/manifest.hpp"
#include "comm/exchange/round.hpp"
#include "comm/group/stream.hpp"
#include "comm/wire/wire_type.hpp"

namespace switchyard::comm {

/// Rank r of one node sends to the rank with the same place on each other node, which takes the
/// rows in for all its mates: so the work of a node's links is spread over its ranks. The mates
/// read them in its memory. Results go from the rank that computed them straight home: one row
/// each, so that nothing would be saved by collecting them.
///
/// Cost: a row is packed once for every node that wants it, and sent once; inside a node it is
/// copied once into shared memory. Wire bytes are those of the messages and what mates read.
class TwoLevelExchange final : public RoundExchange {
 public:
  /// Collective.
  /// @param stages  in [1, kMaxStages]
  /// @param wire    of rows and results that cross to another node; they are float32 then
  TwoLevelExchange(Group& group, Channel rows, Channel results, int stages, WireType wire);
  ~TwoLevelExchange() override;

  [[nodiscard]] int stages() const override { return stages_; }
  [[nodiscard]] bool shares_addresses() const override { return true; }
  void await_stage(int stage) override;
  void release_stage(int stage) override;
  void progress() override;

 private:
  /// What goes to one other node.
  struct Outgoing {
    Outgoing(int to_node, Stream to) : node(to_node), stream(std::move(to)) {}
    int node;
    NodeLoad load;
    Buffer head, manifest, rows;
    Pending head_out, manifest_out;
    Stream stream;
  };
  /// What comes from one rank of another node, for this rank and its mates.
  struct Incoming {
    enum class Awaits { kHead, kManifest, kRows };
    explicit Incoming(Stream in) : from(in.peer()), stream(std::move(in)) {}
    int from;
    Awaits awaits = Awaits::kHead;
    FrameHeader header;
    Buffer head;
    Pending head_in, manifest_in;
    Manifest manifest;
    std::span<std::byte> manifest_bytes;
    std::byte* rows = nullptr;  ///< where mates read them
    Buffer narrow;              ///< as they came, if they are not float32
    std::int64_t widened = 0;   ///< how many of them are in `rows`
    Stream stream;
  };
  /// Results for, and from, one rank of another node.
  struct Home {
    Home(Stream out_stream, Stream in_stream)
        : rank(out_stream.peer()), sent(std::move(out_stream)), received(std::move(in_stream)) {}
    int rank;
    std::byte* out = nullptr;  ///< in shared memory: mates may write results of this rank
    Buffer in;
    Buffer narrow_out, narrow_in;  ///< as they travel, if that is not float32
    std::int64_t narrowed = 0;     ///< results that are in narrow_out
    std::int64_t widened = 0;      ///< results that are in `in`
    Stream sent, received;
  };

  void carry_rows(const Offer& offer) override;
  void locate_rows(int from, std::span<const std::byte*> rows) const override;
  [[nodiscard]] const std::byte* own_rows(const Offer&) const override { return own_rows_; }
  [[nodiscard]] std::byte* own_slots(std::int64_t bytes) override;
  void open_slots() override;
  void carry_results() override;
  [[nodiscard]] Traffic carried() const override;

  void lay_out_own(const Offer& offer);
  void announce(Outgoing& out, const Offer& offer);
  void pack(Outgoing& out, const Offer& offer);
  void send_rows(int first_stage, int end_stage);
  void advance(Incoming& in);
  void advance(Home& home);
  void take_in(Incoming& in);
  void fill_arrival(int from);
  void mark_stages();
  /// The line about `source` for this rank: its own, or that of the mate that took it in.
  [[nodiscard]] const CrossLine& line_of(int source) const;
  [[nodiscard]] int forwarder(int source, int node) const;
  [[nodiscard]] bool same_node(int rank) const;
  [[nodiscard]] std::int64_t wire_row(std::int64_t row_bytes) const;
  [[nodiscard]] std::uint64_t staged(int stages) const;
  [[nodiscard]] bool known();
  [[nodiscard]] bool all_through();
  void wait(const std::function<bool()>& done);
  [[nodiscard]] std::string late() const;

  int stages_;
  WireType wire_;
  Channel rows_channel_;
  CrossBoard board_;
  std::vector<Outgoing> outgoing_;
  std::vector<Incoming> incoming_;
  std::vector<Home> homes_;
  const std::byte* own_rows_ = nullptr;
  std::int64_t row_bytes_ = 0;
  std::int64_t result_bytes_offered_ = 0;
  int marked_ = 0;                           ///< stages of this round that are marked as here
  int released_ = 0;                         ///< stages whose results may leave
  bool forwarded_ = false;                   ///< all lines about other nodes' rows are written
  std::vector<std::int32_t> numbers_;        ///< scratch of packing
  std::vector<std::int64_t> cuts_;           ///< scratch, [stages]
  std::vector<std::int64_t> stage_results_;  ///< [size, stages], that this rank's offer expects
  Traffic traffic_;                          ///< without what streams count
};
}  // namespace switchyard::comm
