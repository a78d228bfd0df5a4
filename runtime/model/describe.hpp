// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Models as rows of a table, for people and for scripts. Nothing here prints.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/model/model.hpp"

namespace switchyard::runtime {

struct Property {
  std::string name;   ///< "total parameters"
  std::string value;  ///< "46,702,792,704 (published 46.70B, +0.01%)"
};

/// One model in full: origin, shape, router in words, attention, and parameters, computed and
/// published, active ones in the three conventions in use.
[[nodiscard]] std::vector<Property> describe_model(const Model& model);

/// One model in a line.
struct ModelSummary {
  std::string name;
  std::string family;
  std::int64_t layers = 0;
  std::int64_t moe_layers = 0;
  std::int64_t hidden_size = 0;
  std::int64_t moe_intermediate_size = 0;
  std::int64_t routed_experts = 0;
  std::int64_t top_k = 0;
  std::int64_t shared_experts = 0;
  ParameterCount parameters;
  std::int64_t total_published = 0;   ///< 0: not published
  std::string corrections;            ///< of what is widely quoted wrongly
  std::int64_t active_published = 0;  ///< 0: not published
};
[[nodiscard]] ModelSummary summarise(const Model& model);

struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  ///< each as long as columns
};

/// All presets, in order of their names.
[[nodiscard]] Table model_table();
/// The same for any models.
[[nodiscard]] Table model_table(const std::vector<ModelSummary>& models);
}  // namespace switchyard::runtime
