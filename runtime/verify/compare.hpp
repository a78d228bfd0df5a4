// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How results are held against golden tensors.
#include <cstdint>
#include <span>
#include <string>

#include "comm/group/group.hpp"
#include "experts/router/routing.hpp"
#include "experts/tensor.hpp"
#include "runtime/layer/moe_layer.hpp"

namespace switchyard::runtime {

[[nodiscard]] double rms_of(const experts::Matrix& matrix);
/// The largest magnitude of its elements.
[[nodiscard]] double largest_of(const experts::Matrix& matrix);
/// Largest difference; NaN counts as infinite, equal infinities as none.
[[nodiscard]] double difference(experts::MatrixView<const float> got,
                                experts::MatrixView<const float> want);
/// The routing as a dense matrix [tokens, experts], as golden.combine is.
[[nodiscard]] experts::Matrix dense_weights(const experts::Routing& routing, std::int64_t experts);
/// @param topk_idx  [tokens, top_k], of which the routing's tokens begin at `first`
/// @returns the first token whose expert set is another one, or empty
[[nodiscard]] std::string other_experts(std::span<const std::int64_t> topk_idx, std::int64_t top_k,
                                        const experts::Routing& routing, std::int64_t first);
/// Largest error of an output over their root mean square. Rounded weights or activations are off
/// by about 2^-12 (float16), 2^-9 (bfloat16), 1/250 (int8), 1/40 (fp8) or 1/9 (mxfp4) of
/// themselves; three products in a row double that, and the largest of some thousand errors is four
/// or five times the usual one.
/// @param exact  the limit where nothing is rounded
/// @param given  stored type of the file
[[nodiscard]] double output_limit(const LayerOptions& options, experts::DType given, double exact);
/// Every rank's rows as one matrix, on every rank.
[[nodiscard]] experts::Matrix whole(comm::Group& group, const experts::Matrix& mine);
[[nodiscard]] std::int64_t sum_over(comm::Group& group, std::int64_t mine);
/// The largest of every rank's.
[[nodiscard]] double most_over(comm::Group& group, double mine);
/// The words of the lowest rank that has any; empty: none has.
[[nodiscard]] std::string first_words(comm::Group& group, const std::string& mine);
}  // namespace switchyard::runtime
