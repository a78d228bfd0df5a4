// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/place_options.hpp"

#include <algorithm>
#include <stdexcept>

#include "experts/ffn.hpp"
#include "launch/commands/run_options.hpp"
#include "runtime/model/model.hpp"
#include "runtime/run/settings.hpp"

namespace switchyard::launch {
namespace {
using runtime::TokenSteps;

std::unique_ptr<TokenSteps> source_of(const Options& options, std::int64_t layers) {
  const int given = (options.has("trace") ? 1 : 0) + (options.has("load") ? 1 : 0) +
                    (options.has("routing") ? 1 : 0);
  if (given != 1) {
    throw std::invalid_argument("place: got " + std::to_string(given) +
                                " of --trace, --load and --routing, want one");
  }
  const runtime::DrawSettings draw{.tokens = options.integer("tokens"),
                                   .seed = static_cast<std::uint64_t>(options.integer("seed"))};
  if (options.has("trace")) return runtime::trace_steps(options.text("trace"), draw);
  if (options.has("load")) {
    return runtime::table_steps(options.text("load"), options.integer("top-k"), draw);
  }
  const double exponent = runtime::routing_exponent(options.text("routing"));
  if (exponent < 0) {
    throw std::invalid_argument("--routing: got '" + options.text("routing") +
                                "', want uniform or zipf:S: there are no weights");
  }
  const std::int64_t top_k = options.integer("top-k");
  return runtime::zipf_steps(layers, options.integer("experts"),
                             top_k == 0 ? 8 : static_cast<int>(top_k), exponent,
                             options.integer("steps"), draw);
}

void weigh(const Options& options, PlaceRequest& request) {
  if (options.has("model")) {
    const auto model = runtime::Model::from_name_or_file(options.text("model"));
    const auto block = model.block();
    if (block.router.experts != request.steps->experts()) {
      throw std::invalid_argument("--model: " + model.name() + " has " +
                                  std::to_string(block.router.experts) + " experts, want " +
                                  std::to_string(request.steps->experts()) + ", as the tokens");
    }
    request.row_bytes = static_cast<double>(block.router.hidden) * sizeof(float);
    request.expert_bytes = static_cast<double>(experts::PackedExpert::packed_bytes(
        block.expert, experts::dtype_from(options.text("weights"))));
  }
  if (options.has("row-bytes")) request.row_bytes = options.real("row-bytes");
  if (options.has("expert-bytes")) request.expert_bytes = options.real("expert-bytes");
}
}  // namespace

std::vector<Option> place_options() {
  constexpr std::int64_t kMostRanks = 1 << 16;
  return {
      text_option("trace", "FILE", "a routing trace: the tokens to plan for"),
      text_option("load", "CSV",
                  "or a table of loads: columns e0, e1, ..., layer, tokens; the others name steps"),
      text_option("routing", "uniform|zipf:S", "or seeded choices"),
      integer_option("tokens", "COUNT", "a step, where they are drawn and not recorded", 4096,
                     {.least = 1, .most = std::int64_t{1} << 32}),
      integer_option("top-k", "COUNT", "slots of a drawn token; 0: of the table, else 8", 0,
                     {.least = 0, .most = 1 << 16}),
      integer_option("experts", "COUNT", "with --routing", 256, {.least = 1, .most = 65535}),
      integer_option("layers", "COUNT", "with --routing", 1, {.least = 1, .most = 65535}),
      integer_option("steps", "COUNT", "with --routing", 2, {.least = 1}),
      integer_option("seed", "NUMBER", "of drawn tokens", 1, {.least = 0}),
      integer_option("ranks", "COUNT", "that experts are placed on", 8,
                     {.least = 1, .most = kMostRanks}),
      integer_option("ranks-per-node", "COUNT", "0: all on one node", 0,
                     {.least = 0, .most = kMostRanks}),
      integer_option("slots", "COUNT",
                     "copies of experts a rank holds; 0: just enough for one each", 0,
                     {.least = 0, .most = 65535}),
      integer_option("groups", "COUNT", "of experts that eplb keeps on a node; 0: each its own", 0),
      real_option("copy-rows", "ROWS", "that shadow wants to save with a shadowed expert", 0),
      integer_option("trials", "COUNT", "placements that search tries on the tokens", 300,
                     {.least = 0, .most = 1 << 20}),
      text_option("model", "NAME|FILE", "whose rows and experts give bytes"),
      weights_option(),
      real_option("row-bytes", "BYTES", "of a row on the wire, if not the model's float32 ones",
                  std::nullopt),
      real_option("expert-bytes", "BYTES", "of an expert, if not the model's", std::nullopt),
      real_option("node-bandwidth", "GB/S", "of a rank, within its node", 200,
                  {.least = 0, .above = true}),
      real_option("fabric-bandwidth", "GB/S", "of a rank, to other nodes", 50,
                  {.least = 0, .above = true})};
}

PlaceRequest place_request(const Options& options) {
  PlaceRequest request;
  request.steps = source_of(options, options.integer("layers"));
  weigh(options, request);
  auto& shape = request.judge.shape;
  const std::int64_t ranks = options.integer("ranks");
  const std::int64_t on_node = options.integer("ranks-per-node");
  const std::int64_t slots = options.integer("slots");
  if (on_node > ranks) {
    throw std::invalid_argument("--ranks-per-node: got " + std::to_string(on_node) +
                                ", want at most " + std::to_string(ranks) + ", the ranks");
  }
  shape.ranks = static_cast<int>(ranks);
  shape.ranks_per_node = static_cast<int>(on_node == 0 ? ranks : on_node);
  shape.slots = slots == 0 ? (request.steps->experts() + ranks - 1) / ranks : slots;
  request.judge.options = {.groups = options.integer("groups"),
                           .copy_rows = options.real("copy-rows"),
                           .trials = static_cast<int>(options.integer("trials"))};
  const std::int64_t groups = request.judge.options.groups;
  if (groups > 0 && request.steps->experts() % groups != 0) {
    throw std::invalid_argument("--groups: got " + std::to_string(groups) + ", want a divisor of " +
                                std::to_string(request.steps->experts()) + ", the experts");
  }
  request.judge.expert_bytes = request.expert_bytes.value_or(0);
  request.judge.links = {.node = options.real("node-bandwidth") * 1e9,
                         .fabric = options.real("fabric-bandwidth") * 1e9};
  return request;
}

std::vector<runtime::Placement> placements_of(const PlaceRequest& request,
                                              const std::string& name) {
  const bool layered = runtime::Placement::layered(name);
  std::vector<runtime::Placement> placements;
  for (std::int64_t layer = 0; layer < request.steps->layers(); ++layer) {
    const std::int64_t number = layered ? request.steps->layer_number(layer) : runtime::kEveryLayer;
    placements.push_back(runtime::Placement::from_name(name, request.steps->experts(),
                                                       request.judge.shape.ranks, number));
  }
  return placements;
}
}  // namespace switchyard::launch
