// SPDX-License-Identifier: Apache-2.0
#include "runtime/verify/laws.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>
#include <span>
#include <vector>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "experts/index.hpp"
#include "experts/reference.hpp"
#include "runtime/stored_source.hpp"
#include "runtime/verify/law_inputs.hpp"

namespace switchyard::runtime {
namespace {
using experts::Matrix;
using experts::MatrixView;
using experts::Routing;

/// Keeps the first thing that went wrong on this rank.
class Verdict {
 public:
  void fail(const std::string& what) {
    if (text_.empty()) text_ = what;
  }
  void require(bool good, const std::string& what) {
    if (!good) fail(what);
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void require_same_bits(Verdict& verdict, MatrixView<const float> got, MatrixView<const float> want,
                       const std::string& what) {
  for (std::int64_t t = 0; t < want.rows; ++t) {
    if (std::memcmp(got.row(t).data(), want.row(t).data(), at(want.cols) * sizeof(float)) != 0) {
      verdict.fail(what + ": token " + std::to_string(t) + " has other bits");
      return;
    }
  }
}

/// @returns the largest error over its bound
double require_within(Verdict& verdict, MatrixView<const float> got,
                      const experts::reference::Bounded& want, const std::string& what) {
  double worst = 0;
  for (std::int64_t t = 0; t < got.rows; ++t) {
    for (std::int64_t c = 0; c < got.cols; ++c) {
      const std::size_t i = at(t * got.cols + c);
      const double value = got(t, c);
      if (std::isinf(value) && value == want.values[i]) continue;  // a hidden expert's logit
      const double over = std::abs(value - want.values[i]) / std::max(want.bounds[i], 1e-300);
      if (over > worst || std::isnan(over)) worst = over;
      if (!(over <= 1)) {
        verdict.fail(what + ": token " + std::to_string(t) + ", element " + std::to_string(c) +
                     ": got " + std::to_string(value) + ", want " + std::to_string(want.values[i]) +
                     " within " + std::to_string(want.bounds[i]));
        return worst;
      }
    }
  }
  return worst;
}

void require_same_routing(Verdict& verdict, const Routing& got, const Routing& want) {
  if (got.offsets != want.offsets || got.experts != want.experts) {
    for (std::int64_t t = 0; t < got.tokens() && t < want.tokens(); ++t) {
      const std::vector<std::int32_t> a(got.experts.begin() + got.offsets[at(t)],
                                        got.experts.begin() + got.offsets[at(t + 1)]);
      const std::vector<std::int32_t> b(want.experts.begin() + want.offsets[at(t)],
                                        want.experts.begin() + want.offsets[at(t + 1)]);
      if (a == b) continue;
      std::string text = "router: token " + std::to_string(t) + " goes to";
      for (const auto e : a) text += ' ' + std::to_string(e);
      text += ", want";
      for (const auto e : b) text += ' ' + std::to_string(e);
      verdict.fail(text);
      return;
    }
    verdict.fail("router: other slots than the reference");
    return;
  }
  for (std::size_t s = 0; s < want.weights.size(); ++s) {
    const double error = std::abs(static_cast<double>(got.weights[s]) - want.weights[s]);
    if (!(error <= 2e-6 * std::max(1.0, std::abs(static_cast<double>(want.weights[s]))))) {
      verdict.fail("router: weight of slot " + std::to_string(s) + " is " +
                   std::to_string(got.weights[s]) + ", want " + std::to_string(want.weights[s]));
      return;
    }
  }
}

std::int64_t first_token(const LawCase& law, int rank) {
  return std::accumulate(law.tokens.begin(), law.tokens.begin() + rank, std::int64_t{0});
}

LayerOptions plain_options(const LawCase& law) {
  LayerOptions options;
  options.transport = "p2p";
  options.node_queue = false;
  options.stored = law.stored;
  return options;
}

/// The routing that the reference finds for this rank's tokens, from everybody's logits.
Routing reference_routing(comm::Group& group, const LawCase& law, const Routing& mine,
                          const std::vector<float>& selection_bias) {
  const auto& spec = law.block.router;
  const std::span<const float> logits(mine.logits.data(),
                                      at(mine.logits.rows() * mine.logits.cols()));
  const bool whole = experts::needs_whole_batch(spec);
  if (!whole) return experts::reference::route(spec, selection_bias, mine.logits);
  std::vector<float> all;
  for (const auto& part : comm::allgather_values<float>(group, logits)) {
    all.insert(all.end(), part.begin(), part.end());
  }
  Matrix batch(static_cast<std::int64_t>(all.size()) / spec.all_experts(), spec.all_experts());
  std::copy(all.begin(), all.end(), batch.data());
  const Routing found = experts::reference::route(spec, selection_bias, batch);
  const std::int64_t first = first_token(law, group.rank());
  Routing cut;
  for (std::int64_t t = first; t < first + mine.tokens(); ++t) {
    cut.offsets.push_back(found.offsets[at(t + 1)] - found.offsets[at(first)]);
  }
  cut.experts.assign(found.experts.begin() + found.offsets[at(first)],
                     found.experts.begin() + found.offsets[at(first + mine.tokens())]);
  cut.weights.assign(found.weights.begin() + found.offsets[at(first)],
                     found.weights.begin() + found.offsets[at(first + mine.tokens())]);
  return cut;
}

/// Laws 2 and 4 on what one layer counted.
void require_conservation(comm::Group& group, const LawCase& law, const LayerStats& stats,
                          Verdict& verdict) {
  const PlanCounts& planned = stats.planned;
  verdict.require(planned.slots == planned.computed + planned.dropped + planned.identity,
                  "conservation: slots are not computed + dropped + identity");
  const std::array<std::int64_t, 2> mine{planned.computed, stats.arrived};
  std::int64_t sent = 0;
  std::int64_t received = 0;
  for (const auto& other : comm::allgather_values<std::int64_t>(group, mine)) {
    sent += other[0];
    received += other[1];
  }
  verdict.require(sent == received, "conservation: " + std::to_string(sent) + " rows sent, " +
                                        std::to_string(received) + " computed");
  std::vector<std::int64_t> wanted(stats.computed.size(), 0);
  for (const auto& rank : comm::allgather_values<std::int64_t>(group, stats.load)) {
    for (std::size_t e = 0; e < wanted.size(); ++e) wanted[e] += rank[e];
  }
  for (const auto& rank : comm::allgather_values<std::int64_t>(group, stats.computed)) {
    for (std::size_t e = 0; e < wanted.size(); ++e) wanted[e] -= rank[e];
  }
  for (std::size_t e = 0; e < wanted.size(); ++e) {
    verdict.require(wanted[e] == 0, "conservation: expert " + std::to_string(e) + " computed " +
                                        std::to_string(-wanted[e]) + " rows more than were sent");
  }
  verdict.require(planned.tokens == law.tokens[at(group.rank())], "plan: lost a token");
}

/// Law 4 on one layer without replicas: each row is named once to each rank that needs it.
void require_deduplication(const Routing& routing, const Placement& placement, int home,
                           const PlanCounts& planned, Verdict& verdict) {
  std::int64_t rows = 0;
  std::int64_t rows_out = 0;
  for (std::int64_t t = 0; t < routing.tokens(); ++t) {
    std::set<std::int32_t> hosts;
    for (std::int64_t s = routing.offsets[at(t)]; s < routing.offsets[at(t + 1)]; ++s) {
      const std::int32_t expert = routing.experts[at(s)];
      if (expert >= 0 && expert < placement.experts()) hosts.insert(placement.hosts_of(expert)[0]);
    }
    rows += static_cast<std::int64_t>(hosts.size());
    rows_out += static_cast<std::int64_t>(hosts.size() - hosts.count(home));
  }
  verdict.require(planned.rows == rows && planned.rows_out == rows_out,
                  "deduplication: " + std::to_string(planned.rows) + " rows named, want " +
                      std::to_string(rows));
}

/// The whole batch as threads of this process.
/// @param options  of a layer in a group whose nodes are of so many ranks; 0: of all
Matrix run_as_threads(const LawCase& law, std::int64_t tokens, const LayerOptions& options,
                      int ranks_per_node) {
  Matrix got(tokens, law.block.router.hidden);
  comm::run_local(law.local_ranks, [&](comm::Group& group) {
    if (ranks_per_node > 0) group.play_nodes(ranks_per_node);
    const std::int64_t share = (tokens + group.size() - 1) / group.size();
    const std::int64_t first = std::min(tokens, share * group.rank());
    const std::int64_t count = std::min(tokens - first, share);
    LawSource source(law);
    MoeLayer layer(group, law.block, source, placement_of(law, group.size()), options);
    const Matrix mine = law_tokens(law, first, count);
    const Matrix out = layer.forward(mine.view());
    std::copy_n(out.data(), out.rows() * out.cols(), got.view().slice(first, count).data);
  });
  return got;
}

void check_local(const LawCase& law, MatrixView<const float> want, Verdict& verdict) {
  LayerOptions options;
  options.transport = law.node_queue ? "node" : "local";
  options.stored = law.stored;
  options.node_queue = law.node_queue;
  require_same_bits(verdict, run_as_threads(law, want.rows, options, 0).view(), want,
                    "ranks as threads");

  // Between nodes: a row is narrowed alone, so with any wire nothing else about the way changes a
  // bit; and with a wire of float32 they are those of one rank.
  options.transport = "two-level";
  options.wire = law.wire;
  options.stages = 1;
  const Matrix whole = run_as_threads(law, want.rows, options, law.ranks_per_node);
  options.stages = 3;
  options.chunk_tokens = law.chunk_tokens;
  options.threads = law.threads;
  options.node_queue = !law.node_queue;
  const Matrix pieces = run_as_threads(law, want.rows, options, law.ranks_per_node);
  require_same_bits(verdict, pieces.view(), whole.view(), "stages and chunks between nodes");
  if (law.wire == comm::WireType::kFloat32) {
    require_same_bits(verdict, whole.view(), want, "ranks as threads on several nodes");
  }
}

/// Law 1 with native math: within one instruction set, against one rank alone.
void check_native(comm::Group& group, const LawCase& law, LawSource& source,
                  MatrixView<const float> tokens, const Routing& routing, LayerOptions drawn,
                  Verdict& verdict) {
  drawn.math = experts::Math::kNative;
  drawn.stored = law.native_stored;
  MoeLayer layer(group, law.block, source, placement_of(law, group.size()), drawn);
  const Matrix got = layer.forward(tokens, routing);
  LayerOptions options = plain_options(law);
  options.math = drawn.math;
  options.stored = drawn.stored;
  options.isa = drawn.isa;
  const auto alone = comm::solo_group();
  MoeLayer solo(*alone, law.block, source, Placement::linear(law.block.router.experts, 1), options);
  require_same_bits(verdict, got.view(), solo.forward(tokens, routing).view(), "native math");
}

void check_against_reference(const LawCase& law, LawSource& source, MatrixView<const float> tokens,
                             const Routing& routing, MatrixView<const float> out, Verdict& verdict,
                             LawCounts& counts) {
  const auto logits = experts::reference::logits(law.block.router, source.router(), tokens);
  counts.worst_over_limit =
      std::max(counts.worst_over_limit,
               require_within(verdict, routing.logits.view(), logits, "router logits"));
  StoredSource stored(source, law.stored);
  const auto block = experts::reference::block(law.block, stored, tokens, routing);
  counts.worst_over_limit =
      std::max(counts.worst_over_limit, require_within(verdict, out, block, "output"));
}
}  // namespace

std::optional<std::string> check_case(comm::Group& group, const LawCase& law, Inject inject,
                                      LawCounts& counts) {
  Verdict verdict;
  LawSource source(law);
  const Matrix tokens =
      law_tokens(law, first_token(law, group.rank()), law.tokens[at(group.rank())]);

  MoeLayer plain(group, law.block, source,
                 Placement::linear(law.block.router.experts, group.size()), plain_options(law));
  const Routing routing = plain.route(tokens.view());
  const Matrix base = plain.forward(tokens.view(), routing);
  require_conservation(group, law, plain.stats(), verdict);
  require_deduplication(routing, plain.placement(), group.rank(), plain.stats().planned, verdict);

  LayerOptions options = plain_options(law);
  options.transport = law.transport;
  options.node_queue = law.node_queue;
  options.chunk_tokens = law.chunk_tokens;
  options.threads = law.threads;
  options.isa = law.isa;
  options.inject = inject;
  MoeLayer drawn(group, law.block, source, placement_of(law, group.size()), options);
  const Matrix other = drawn.forward(tokens.view());
  require_conservation(group, law, drawn.stats(), verdict);
  require_same_bits(verdict, other.view(), base.view(), "drawn setting");
  counts.rows_out += plain.stats().planned.rows_out + drawn.stats().planned.rows_out;

  require_same_routing(verdict, routing,
                       reference_routing(group, law, routing, source.router().selection_bias));
  check_against_reference(law, source, tokens.view(), routing, base.view(), verdict, counts);

  const auto alone = comm::solo_group();
  MoeLayer solo(*alone, law.block, source, Placement::linear(law.block.router.experts, 1),
                plain_options(law));
  require_same_bits(verdict, solo.forward(tokens.view(), routing).view(), base.view(),
                    "one rank alone");
  if (tokens.rows() > 1 && !experts::needs_whole_batch(law.block.router)) {
    const std::int64_t t = tokens.rows() / 2;
    require_same_bits(verdict, solo.forward(tokens.view().slice(t, 1)).view(),
                      base.view().slice(t, 1), "one token alone");
  }

  if (law.native) check_native(group, law, source, tokens.view(), routing, options, verdict);

  if (law.local_ranks > 0) {
    const std::span<const float> mine(base.data(), at(base.rows() * base.cols()));
    const auto parts = comm::gather(group, std::as_bytes(mine));
    if (group.rank() == 0) {
      Matrix whole(std::accumulate(law.tokens.begin(), law.tokens.end(), std::int64_t{0}),
                   base.cols());
      auto* next = reinterpret_cast<std::byte*>(whole.data());
      for (const auto& part : parts) next = std::copy(part.begin(), part.end(), next);
      check_local(law, whole.view(), verdict);
    }
  }

  const auto verdicts = comm::allgather(group, std::as_bytes(std::span(verdict.text())));
  for (std::size_t rank = 0; rank < verdicts.size(); ++rank) {
    if (verdicts[rank].empty()) continue;
    return "rank " + std::to_string(rank) + ": " +
           std::string(reinterpret_cast<const char*>(verdicts[rank].data()), verdicts[rank].size());
  }
  return std::nullopt;
}

namespace {
/// A case that ends in an exception on some rank cannot be shrunk, since the ranks are no longer in
/// step, but it can be named.
std::optional<std::string> check_named(comm::Group& group, const LawCase& law, Inject inject,
                                       LawCounts& counts) {
  const auto named = [&](const std::exception& error) {
    return std::string(error.what()) + "\n  in " + describe(law) +
           "\n  again: verify laws --fuzz 1 --seed " + std::to_string(law.seed);
  };
  try {
    return check_case(group, law, inject, counts);
  } catch (const comm::CollectiveError& error) {
    throw comm::CollectiveError(error.rank(), error.status(), named(error));
  } catch (const comm::TemporaryError& error) {
    throw comm::TemporaryError(named(error));
  } catch (const std::exception& error) {
    throw std::runtime_error(named(error));
  }
}
}  // namespace

LawCounts verify_laws(comm::Group& group, std::uint64_t seed, std::int64_t cases, Inject inject,
                      const std::function<void(std::int64_t)>& progress) {
  LawCounts counts;
  for (std::int64_t i = 0; i < cases; ++i) {
    progress(i);
    const LawCase law = draw_case(seed + static_cast<std::uint64_t>(i), group.size());
    count_case(law, counts.drawn);
    ++counts.cases;
    const auto failure = check_named(group, law, inject, counts);
    if (!failure) continue;
    ++counts.failed;
    LawCounts ignored;
    const LawCase small = shrink(law, [&](const LawCase& candidate) {
      return check_case(group, candidate, inject, ignored).has_value();
    });
    const auto why = check_case(group, small, inject, ignored);
    counts.first_failure = "drawn:    " + describe(law) + "\n          " + *failure +
                           "\nshrunken: " + describe(small) + "\n          " +
                           why.value_or("passes when run again");
    break;
  }
  const std::array<double, 2> mine{counts.worst_over_limit, static_cast<double>(counts.rows_out)};
  counts.rows_out = 0;
  for (const auto& rank : comm::allgather_values<double>(group, mine)) {
    counts.worst_over_limit = std::max(counts.worst_over_limit, rank[0]);
    counts.rows_out += static_cast<std::int64_t>(rank[1]);
  }
  return counts;
}
}  // namespace switchyard::runtime
