// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Changes one field of a model from text: "top_k=7". Fields and values are found by reflection, so
/// a field added to model.proto can be set without a line here.
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace switchyard::runtime {

/// Spellings of the tables are taken beside those of model.proto: scoring=sparsemixer,
/// expert_activation=gelu, moe_layer_rule=every=2;offset=1; for yes/no also true, false, 1, 0.
/// Lists are numbers with commas between.
/// @throws std::invalid_argument  "--set topk=7: no such field, nearest is top_k"
void set_field(google::protobuf::Message& model, std::string_view assignment);
}  // namespace switchyard::runtime
