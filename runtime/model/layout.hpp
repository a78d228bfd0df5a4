// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How a family names and lays out the tensors of a MoE block. A table, not code: what differs
/// between families is names, which way round a matrix lies, and what is fused with what.
///
/// Names are patterns. {e} stands for an expert's number, {l} for a layer's; "../" at the start
/// goes from the block to its parent: "../router/w" of "decoder_layer_0/moe/" is
/// "decoder_layer_0/router/w". The bias of "x.weight" is "x.bias", of "x_weight" it is "x_bias", of
/// "x" also "x_bias".
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

/// How a product y = W x finds W [out, in] in a file: as it is, or transposed.
enum class Order { kLinear, kMatmul };
/// Where gate and up are: in tensors of their own, or in one whose outputs are all of one and then
/// all of the other, or taken in turns beginning with the gate.
enum class Halves { kSeparate, kGateFirst, kGateSecond, kInterleaved };
/// How experts share a tensor: not at all; along a first dimension [E, rows, cols]; as consecutive
/// rows [E * rows, cols].
enum class Stack { kNone, kTensor, kRows };

/// One way in which a gated network (expert, shared expert, dense MLP) may lie.
struct NetworkForm {
  std::string gate;    ///< the fused tensor, unless halves are separate
  std::string up;      ///< empty when fused
  std::string linear;  ///< third branch of a trilinear unit; empty elsewhere
  std::string down;
  Halves halves = Halves::kSeparate;
  Order order = Order::kLinear;  ///< of gate, up and linear
  Order down_order = Order::kLinear;
  Stack stack = Stack::kNone;
  std::string blocks;  ///< MXFP4: tensor names end in this (4-bit values) and
  std::string scales;  ///< in this (their scales); empty for plain numbers
};

/// One way in which a router may lie.
struct RouterForm {
  std::string weight;
  std::string second;  ///< see RouterTensors
  std::string third;
  Order order = Order::kLinear;
};

/// A family. Of several forms the first whose tensors are there counts.
struct FamilyLayout {
  std::string family;
  std::vector<std::string> prefixes;  ///< of a block in a whole checkpoint: "model.layers.{l}.mlp."
  std::vector<RouterForm> routers;
  std::vector<NetworkForm> experts;
  std::vector<std::string> selection_bias;
  std::vector<NetworkForm> shared;
  std::string shared_gate;
  std::vector<NetworkForm> dense;
  std::string output_bias;
  std::vector<std::string> training_only;  ///< known under the prefix, and no part of the block
  std::vector<std::string> neighbours;     ///< beginnings of names under the prefix of other parts
};

/// @throws std::invalid_argument  "layout: family 'gpt2', want one of arctic, dbrx, ..."
[[nodiscard]] FamilyLayout layout_of(std::string_view family);
[[nodiscard]] std::vector<FamilyLayout> all_layouts();

/// The name that `pattern` stands for.
/// @param number  what {e} or {l} is; ignored if neither is in the pattern
[[nodiscard]] std::string tensor_name(const std::string& prefix, const std::string& pattern,
                                      std::int64_t number);
[[nodiscard]] std::string bias_pattern(const std::string& pattern);
/// True for a tensor under the prefix that is known and no part of the block's forward pass.
[[nodiscard]] bool belongs_elsewhere(const FamilyLayout& layout, const std::string& prefix,
                                     const std::string& name);
}  // namespace switchyard::runtime
