// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "runtime/model/layout.hpp"

namespace switchyard::runtime {
namespace {

using Names = std::vector<std::string>;
using Forms = std::vector<NetworkForm>;

/// Where layers stand in a language model, and in one that is part of a larger model.
Names layers(const std::string& part) {
  return {"model.layers.{l}." + part + ".", "language_model.model.layers.{l}." + part + ".",
          "model.language_model.layers.{l}." + part + "."};
}

/// Mixtral's names beside those that fused in-memory models use ("block_sparse_moe" becomes "mlp").
Names sparse_layers() {
  Names names = layers("block_sparse_moe");
  for (std::string& name : layers("mlp")) names.push_back(std::move(name));
  return names;
}

NetworkForm separate(std::string gate, std::string up, std::string down) {
  return {.gate = std::move(gate),
          .up = std::move(up),
          .linear = {},
          .down = std::move(down),
          .blocks = {},
          .scales = {}};
}

/// [E, 2 * width, hidden] and [E, hidden, width], or both transposed.
NetworkForm fused(std::string both, std::string down, Halves halves, Order order) {
  NetworkForm form = separate(std::move(both), {}, std::move(down));
  form.halves = halves;
  form.order = form.down_order = order;
  form.stack = Stack::kTensor;
  return form;
}

NetworkForm packed(std::string both, std::string down, std::string blocks, std::string scales) {
  NetworkForm form = fused(std::move(both), std::move(down), Halves::kInterleaved, Order::kLinear);
  form.blocks = std::move(blocks);
  form.scales = std::move(scales);
  return form;
}

NetworkForm with_linear(NetworkForm form, std::string linear) {
  form.linear = std::move(linear);
  return form;
}

NetworkForm with(NetworkForm form, Order order, Order down_order, Stack stack) {
  form.order = order;
  form.down_order = down_order;
  form.stack = stack;
  return form;
}

NetworkForm proj(const std::string& of) {
  return separate(of + ".gate_proj.weight", of + ".up_proj.weight", of + ".down_proj.weight");
}
NetworkForm w132(const std::string& of) {
  return separate(of + ".w1.weight", of + ".w3.weight", of + ".w2.weight");
}
/// What recent releases of transformers merge experts into while loading.
NetworkForm merged() {
  return fused("experts.gate_up_proj", "experts.down_proj", Halves::kGateFirst, Order::kLinear);
}
/// DBRX and OLMoE's own checkpoints: every expert's rows, down as [width, hidden].
NetworkForm expert_rows() {
  return with(separate("experts.mlp.w1", "experts.mlp.v1", "experts.mlp.w2"), Order::kLinear,
              Order::kMatmul, Stack::kRows);
}

Forms proj_experts() {
  return {proj("experts.{e}"), merged()};
}
Forms w132_experts() {
  return {w132("experts.{e}"), merged()};
}
RouterForm linear_router(std::string weight) {
  return {.weight = std::move(weight), .second = {}, .third = {}};
}

FamilyLayout family(std::string name, Names prefixes, std::vector<RouterForm> routers,
                    Forms experts) {
  FamilyLayout row;
  row.family = std::move(name);
  row.prefixes = std::move(prefixes);
  row.routers = std::move(routers);
  row.experts = std::move(experts);
  return row;
}

FamilyLayout mixtral_like(std::string name) {
  return family(std::move(name), sparse_layers(),
                {linear_router("gate.weight"), linear_router("router.weight")}, w132_experts());
}

FamilyLayout qwen_like(std::string name) {
  FamilyLayout row =
      family(std::move(name), layers("mlp"), {linear_router("gate.weight")}, proj_experts());
  row.experts.push_back(
      fused("experts.gate_up_proj", "experts.down_proj", Halves::kGateFirst, Order::kMatmul));
  row.shared = {proj("shared_expert")};
  row.shared_gate = "shared_expert_gate.weight";
  return row;
}

FamilyLayout deepseek_like(std::string name) {
  FamilyLayout row =
      family(std::move(name), layers("mlp"), {linear_router("gate.weight")}, proj_experts());
  row.selection_bias = {"gate.e_score_correction_bias"};
  row.shared = {proj("shared_experts")};
  return row;
}

FamilyLayout hunyuan_like(std::string name) {
  FamilyLayout row =
      family(std::move(name), layers("mlp"), {linear_router("gate.wg.weight")}, proj_experts());
  row.shared = {proj("shared_mlp")};
  return row;
}

FamilyLayout granite_like(std::string name, Names prefixes) {
  return family(
      std::move(name), std::move(prefixes), {linear_router("router.layer.weight")},
      {fused("input_linear.weight", "output_linear.weight", Halves::kGateFirst, Order::kLinear)});
}

FamilyLayout arctic() {
  FamilyLayout row = mixtral_like("arctic");
  row.dense = {w132("../residual_mlp")};
  return row;
}

FamilyLayout minimax() {
  FamilyLayout row = mixtral_like("minimax_m2");
  row.selection_bias = {"e_score_correction_bias", "gate.e_score_correction_bias"};
  return row;
}

FamilyLayout ernie() {
  FamilyLayout row = deepseek_like("ernie4_5_moe");
  row.selection_bias = {"moe_statics.e_score_correction_bias"};
  return row;
}

FamilyLayout longcat() {
  FamilyLayout row = family("longcat_flash", layers("mlp"),
                            {linear_router("router.classifier.weight")}, proj_experts());
  row.selection_bias = {"router.e_score_correction_bias"};
  return row;
}

FamilyLayout olmoe() {
  FamilyLayout row =
      family("olmoe", layers("mlp"),
             {linear_router("gate.weight"), linear_router("router.layer.weight")}, proj_experts());
  row.prefixes.emplace_back("transformer.blocks.{l}.ffn.");
  row.experts.push_back(expert_rows());
  return row;
}

FamilyLayout jetmoe() {
  FamilyLayout row = granite_like("jetmoe", layers("mlp"));
  row.output_bias = "bias";
  return row;
}

FamilyLayout gpt_oss() {
  FamilyLayout row = family(
      "gpt_oss", layers("mlp"), {linear_router("router.weight"), linear_router("gate.weight")},
      {fused("experts.gate_up_proj", "experts.down_proj", Halves::kInterleaved, Order::kMatmul),
       packed("experts.gate_up_proj", "experts.down_proj", "_blocks", "_scales"),
       fused("mlp1_weight", "mlp2_weight", Halves::kInterleaved, Order::kLinear),
       packed("mlp1_weight", "mlp2_weight", ".blocks", ".scales")});
  row.prefixes.emplace_back("block.{l}.mlp.");
  row.neighbours = {"norm."};
  return row;
}

FamilyLayout llama4() {
  FamilyLayout row = family(
      "llama4", layers("feed_forward"),
      {linear_router("router.weight"),
       {.weight = "router_DE", .second = {}, .third = {}, .order = Order::kMatmul}},
      {fused("experts.gate_up_proj", "experts.down_proj", Halves::kGateFirst, Order::kMatmul),
       with(
           separate("experts.moe_w_in_eD_F", "experts.moe_w_swiglu_eD_F", "experts.moe_w_out_eF_D"),
           Order::kMatmul, Order::kMatmul, Stack::kRows),
       proj("experts.{e}")});
  row.prefixes.emplace_back("layers.{l}.feed_forward.");
  row.shared = {proj("shared_expert"),
                separate("w_in_shared_FD.weight", "w_swiglu_FD.weight", "w_out_shared_DF.weight")};
  row.neighbours = {"norm."};
  return row;
}

FamilyLayout grok1() {
  FamilyLayout row =
      family("grok1", {"language_model/decoder_layer_{l}/moe/", "model.layers.{l}.moe_block."},
             {{.weight = "../router/w", .second = {}, .third = {}, .order = Order::kMatmul},
              linear_router("gate.weight")},
             {with(separate("linear/w", "linear_v/w", "linear_1/w"), Order::kMatmul, Order::kMatmul,
                   Stack::kTensor),
              separate("experts.{e}.linear.weight", "experts.{e}.linear_v.weight",
                       "experts.{e}.linear_1.weight")});
  return row;
}

FamilyLayout llama_moe() {
  FamilyLayout row =
      family("llama_moe", layers("mlp"),
             {{.weight = "gate.gate_network.0.weight",
               .second = "gate.gate_network.2.weight",
               .third = {}}},
             {separate("calculator.experts.weight_gate.{e}", "calculator.experts.weight_up.{e}",
                       "calculator.experts.weight_down.{e}")});
  row.training_only = {"gate.weight_noise.weight"};
  return row;
}

FamilyLayout yuan() {
  NetworkForm experts = separate("experts.{e}.w1.weight", {}, "experts.{e}.w2.weight");
  experts.halves = Halves::kGateFirst;
  return family(
      "yuan", layers("mlp"),
      {{.weight = "gate.query.weight", .second = "gate.key.weight", .third = "gate.value.weight"}},
      {experts});
}

/// The half that goes through swish is the second one.
FamilyLayout openmoe() {
  FamilyLayout row = family(
      "openmoe", layers("mlp"), {linear_router("gate_weight")},
      {with_linear(fused("experts.wi_gate", "experts.wo", Halves::kGateSecond, Order::kMatmul),
                   "experts.wi_up")});
  NetworkForm extra =
      separate("../extra_mlp.gate_proj.weight", {}, "../extra_mlp.down_proj.weight");
  extra.halves = Halves::kGateSecond;
  row.dense = {with_linear(extra, "../extra_mlp.up_proj.weight"), proj("../extra_mlp")};
  return row;
}

FamilyLayout mistral_large() {
  FamilyLayout row = family("mistral_large_3", {"layers.{l}."}, {linear_router("gate.weight")},
                            {w132("experts.{e}")});
  row.shared = {w132("shared_experts")};
  row.neighbours = {"attention.", "attention_norm.", "ffn_norm."};
  return row;
}
}  // namespace

std::vector<FamilyLayout> all_layouts() {
  return {arctic(),
          family("dbrx", {"transformer.blocks.{l}.ffn."}, {linear_router("router.layer.weight")},
                 {expert_rows()}),
          deepseek_like("deepseek"),
          deepseek_like("deepseek_moe"),
          deepseek_like("deepseek_v2"),
          deepseek_like("deepseek_v3"),
          ernie(),
          deepseek_like("glm4_moe"),
          deepseek_like("glm_moe_dsa"),
          gpt_oss(),
          granite_like("granitemoe", layers("block_sparse_moe")),
          mixtral_like("grin"),
          grok1(),
          hunyuan_like("hunyuan"),
          hunyuan_like("hunyuan_v1_moe"),
          family("jamba", layers("feed_forward"), {linear_router("router.weight")}, proj_experts()),
          jetmoe(),
          llama4(),
          llama_moe(),
          longcat(),
          minimax(),
          deepseek_like("mistral4"),
          mistral_large(),
          mixtral_like("mixtral"),
          olmoe(),
          openmoe(),
          mixtral_like("phimoe"),
          qwen_like("qwen2_moe"),
          qwen_like("qwen3_moe"),
          qwen_like("qwen3_next"),
          mixtral_like("skywork_moe"),
          yuan()};
}
}  // namespace switchyard::runtime
