// SPDX-License-Identifier: Apache-2.0
#include "runtime/verify/golden.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>

#include "comm/group/collective.hpp"
#include "experts/index.hpp"
#include "experts/kernels/dispatch.hpp"
#include "runtime/run/token_source.hpp"
#include "runtime/status.hpp"
#include "runtime/verify/compare.hpp"

namespace switchyard::runtime {
namespace {
using experts::Matrix;
using experts::MatrixView;
using experts::Routing;

/// Weights of the chosen experts, against topk_weight in the order of topk_idx.
double slot_weight_error(const GoldenBlock& block, const Matrix& dense) {
  Matrix chosen(dense.rows(), block.top_k);
  for (std::int64_t t = 0; t < dense.rows(); ++t) {
    for (std::int64_t s = 0; s < block.top_k; ++s) {
      chosen(t, s) = dense(t, block.topk_idx[at(t * block.top_k + s)]);
    }
  }
  return difference(chosen.view(), block.topk_weight.view());
}

std::string unequal_duplicates(const GoldenBlock& block, const Matrix& output) {
  for (const auto& group : block.duplicate_rows) {
    for (const auto row : group) {
      if (std::memcmp(output.row(row).data(), output.row(group.front()).data(),
                      at(output.cols()) * sizeof(float)) != 0) {
        return "rows " + std::to_string(group.front()) + " and " + std::to_string(row) +
               " are equal and their outputs are not";
      }
    }
  }
  return {};
}

}  // namespace

double GoldenResult::worst_over_limit() const {
  double worst = 0;
  for (const auto& error : errors) worst = std::max(worst, error.over_limit());
  return worst;
}

GoldenResult check_golden(comm::Group& group, GoldenBlock& block, const LayerOptions& options,
                          const std::string& placement) {
  GoldenResult result;
  result.name = block.name;
  result.tokens = block.tokens;
  result.not_forward = static_cast<std::int64_t>(block.not_forward.size());
  for (const auto& name : block.unknown) {
    result.failures.push_back("tensor " + name + " is in the file and nobody used it");
  }
  if (const std::string problem = check_unpacked(block); !problem.empty()) {
    result.failures.push_back(problem);
  }

  const TokenShare share = share_of(block.tokens, group.rank(), group.size());
  std::optional<Placement> where;
  together(group, [&] {
    where = Placement::from_name(placement, block.spec.router.experts, group.size());
  });
  MoeLayer layer(group, block.spec, *block.weights, *where, options);
  result.path = std::string(layer.transport()) + ", " + std::string(name_of(options.isa)) + ", " +
                std::string(name_of(options.stored));
  const std::string_view math = experts::math_name(options.isa, options.math, options.stored);
  if (math != "float32") result.path += ", " + std::string(math);
  const auto tokens = block.hidden_in.view().slice(share.first, share.count);
  const Routing routing = layer.route(tokens);
  const Matrix mine = layer.forward(tokens, routing);

  const Matrix output = whole(group, mine);
  const Matrix logits = whole(group, routing.logits);
  const Matrix my_weights = dense_weights(routing, block.experts);
  const Matrix weights = whole(group, my_weights);
  const double rms = rms_of(block.output);
  const double largest = std::max(1.0, largest_of(block.topk_weight));
  if (!std::isfinite(rms) || !std::isfinite(largest)) {
    result.failures.emplace_back("golden.output or golden.topk_weight is not finite in the file");
  }
  result.errors = {{.quantity = "output",
                    .error = difference(output.view(), block.output.view()) / (rms > 0 ? rms : 1),
                    .limit = output_limit(options, block.weights->expert(0).up.type, 2e-5)},
                   {.quantity = "router logits",
                    .error = difference(logits.view(), block.router_logits.view()),
                    .limit = 1e-5},
                   {.quantity = "combine weights",
                    .error = std::max(difference(weights.view(), block.combine.view()),
                                      slot_weight_error(block, weights)),
                    .limit = 2e-6 * largest}};
  for (const auto& error : result.errors) {
    if (!(error.over_limit() <= 1)) {
      result.failures.push_back(error.quantity + ": error " + std::to_string(error.over_limit()) +
                                " times the limit");
    }
  }

  const std::string mismatch = other_experts(block.topk_idx, block.top_k, routing, share.first);
  if (const std::string words = first_words(group, mismatch); !words.empty()) {
    result.failures.push_back(words);
  }
  if (const std::string text = unequal_duplicates(block, output); !text.empty()) {
    result.failures.push_back(text);
  }
  const LayerStats& stats = layer.stats();
  for (std::int64_t e = 0; e < block.experts; ++e) {
    const std::int64_t got = sum_over(group, stats.load[at(e)]);
    if (got != block.expert_counts[at(e)]) {
      result.failures.push_back("expert " + std::to_string(e) + " has " + std::to_string(got) +
                                " tokens, want " + std::to_string(block.expert_counts[at(e)]));
    }
  }
  result.rows_out = sum_over(group, stats.planned.rows_out);
  const std::int64_t computed = sum_over(group, stats.arrived);
  const std::int64_t planned = sum_over(group, stats.planned.computed);
  if (computed != planned) {
    result.failures.push_back("conservation: " + std::to_string(planned) + " rows sent, " +
                              std::to_string(computed) + " computed");
  }
  return result;
}
}  // namespace switchyard::runtime
