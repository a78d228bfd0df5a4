// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <iterator>
#include <map>

#include "runtime/model/model.hpp"
#include "runtime/model/safetensors.hpp"

namespace {
using switchyard::experts::Activation;
using switchyard::experts::BlockSpec;
using switchyard::experts::Choice;
using switchyard::experts::DenseMode;
using switchyard::experts::GateOn;
using switchyard::experts::GroupScore;
using switchyard::experts::Logits;
using switchyard::experts::LogitTransform;
using switchyard::experts::Normalize;
using switchyard::experts::Scoring;
using switchyard::experts::SharedGate;
using switchyard::experts::Unit;
using switchyard::experts::Weighting;
using switchyard::runtime::Model;
using switchyard::runtime::SafetensorsFile;
using switchyard::runtime::TensorSet;
using testing::ElementsAre;
using testing::HasSubstr;

const std::filesystem::path kGolden = SWITCHYARD_TEST_DATA "/golden";

Model read(const std::string& json, const std::string& family = "") {
  return Model::from_config_json(json, family);
}

BlockSpec block(const std::string& family, const std::string& keys) {
  return read("{" + keys + "}", family).block();
}

std::string refusal(const std::string& json, const std::string& family = "") {
  try {
    (void)read(json, family);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

std::map<std::string, std::vector<std::int64_t>> shapes(const Model& model) {
  std::map<std::string, std::vector<std::int64_t>> result;
  for (const auto& tensor : model.tensors()) result[tensor.name] = tensor.shape;
  return result;
}

/// What a checkpoint's files hold, by the name and shape of each tensor.
std::map<std::string, std::vector<std::int64_t>> stored(const std::filesystem::path& directory) {
  std::map<std::string, std::vector<std::int64_t>> result;
  const auto tensors = TensorSet::open_directory(directory);
  for (const std::string& name : tensors->names()) result[name] = tensors->at(name).shape;
  return result;
}

// tests/golden/README.md says where the files come from.
TEST(ConfigJson, ATinyModelListsExactlyTheTensorsOfItsCheckpoint) {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden / "models")) {
    std::ifstream file(entry.path() / "config.json");
    const std::string json{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(shapes(read(json)), stored(entry.path())) << entry.path();
    ++models;
  }
  EXPECT_EQ(models, 7);
}

TEST(ConfigJson, EveryGoldenBlockHasTheExpertsItsFileCounts) {
  int blocks = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden / "moe")) {
    const SafetensorsFile file(entry.path());
    const auto& about = file.metadata();
    const BlockSpec block = read(about.at("config"), about.at("family")).block();
    EXPECT_EQ(std::to_string(block.router.all_experts()), about.at("num_experts")) << entry.path();
    EXPECT_EQ(std::to_string(block.router.top_k), about.at("top_k")) << entry.path();
    EXPECT_EQ(block.router.hidden, file.tensors().at("golden.hidden_in").shape.at(1));
    ++blocks;
  }
  EXPECT_EQ(blocks, 28);
}

TEST(ConfigJson, AnArcticLayerIsDenseOrHasABranchBesideItsExperts) {
  const Model model = read(R"({"model_type": "arctic", "hidden_size": 48, "intermediate_size": 40,
      "moe_layer_frequency": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
      "num_hidden_layers": 2, "num_experts_per_tok": 2, "num_local_experts": 8,
      "parallel_attn_mlp_res": true, "vocab_size": 96})");
  EXPECT_THAT(model.moe_layers(), ElementsAre(1));
  const auto tensors = shapes(model);
  EXPECT_THAT(tensors.at("model.layers.0.block_sparse_moe.mlp.w1.weight"), ElementsAre(40, 48));
  EXPECT_THAT(tensors.at("model.layers.1.residual_mlp.w1.weight"), ElementsAre(48, 48));
  EXPECT_FALSE(tensors.contains("model.layers.0.residual_layernorm.weight"));
  EXPECT_EQ(model.block().dense_mode, DenseMode::kParallel);
  EXPECT_EQ(model.block().dense->width, 48);
}

TEST(ConfigJson, NormTopkProbDecidesWhetherWeightsAreRenormalised) {
  for (const char* family : {"qwen2_moe", "qwen3_moe", "qwen3_next", "olmoe"}) {
    EXPECT_EQ(block(family, R"("norm_topk_prob": true)").router.normalize, Normalize::kSum);
    EXPECT_EQ(block(family, R"("norm_topk_prob": false)").router.normalize, Normalize::kNone);
    EXPECT_EQ(block(family, R"("norm_topk_prob": true)").router.norm_eps, 0.0F);
  }
  for (const char* family : {"deepseek_v3", "glm4_moe", "glm_moe_dsa", "mistral4"}) {
    EXPECT_EQ(block(family, R"("norm_topk_prob": true)").router.normalize, Normalize::kSum);
    EXPECT_EQ(block(family, R"("norm_topk_prob": true)").router.norm_eps, 1e-20F);
    EXPECT_EQ(block(family, R"("norm_topk_prob": false)").router.normalize, Normalize::kNone);
  }
  // The references of these ignore it.
  for (const char* family : {"deepseek_v2", "longcat_flash"}) {
    const std::string keys = R"({"norm_topk_prob": true, "num_experts_per_tok": 4})";
    EXPECT_EQ(read(keys, family).block().router.normalize, Normalize::kNone);
    EXPECT_THAT(read(keys, family).text(), HasSubstr("norm_topk_prob true has no effect"));
  }
}

TEST(ConfigJson, MissingKeysTakeTheDefaultsOfTheOfficialClass) {
  EXPECT_EQ(block("qwen2_moe", "").router.normalize, Normalize::kNone);
  EXPECT_EQ(block("qwen3_moe", "").router.normalize, Normalize::kNone);
  EXPECT_EQ(block("qwen3_next", "").router.normalize, Normalize::kSum);
  EXPECT_EQ(block("deepseek_v3", "").router.groups, 8);
  EXPECT_EQ(block("deepseek_v3", "").router.scale, 2.5F);
  EXPECT_EQ(block("glm4_moe", "").router.scale, 1.0F);
  EXPECT_EQ(block("glm_moe_dsa", "").router.scale, 2.5F);
  EXPECT_EQ(block("longcat_flash", "").router.scale, 6.0F);
  EXPECT_EQ(block("longcat_flash", "").router.identity, 256);
  EXPECT_EQ(block("ernie4_5_moe", "").router.norm_eps, 1e-12F);
  EXPECT_EQ(block("ernie4_5_moe", "").shared->width, 2 * 1536);
  EXPECT_EQ(block("phimoe", "").router.sparsemixer_jitter, 0.01F);
  EXPECT_EQ(block("arctic", "").router.top_k, 1);
  EXPECT_EQ(block("jetmoe", "").expert.width, 5632);
  EXPECT_EQ(block("gpt_oss", "").expert.swiglu_limit, 7.0F);
  EXPECT_EQ(block("minimax_m2", "").router.experts, 256);
  EXPECT_EQ(read("{}", "qwen3_next").num_layers(), 48);
}

TEST(ConfigJson, ActivationsAreTakenByTheNamesOfTheirTable) {
  const auto activation = [](const std::string& name) {
    return block("mixtral", R"("hidden_act": ")" + name + '"').expert.activation;
  };
  EXPECT_EQ(activation("silu"), Activation::kSilu);
  EXPECT_EQ(activation("gelu"), Activation::kGeluErf);
  EXPECT_EQ(activation("gelu_pytorch_tanh"), Activation::kGeluTanh);
  EXPECT_EQ(activation("gelu_new"), Activation::kGeluTanh);
  EXPECT_EQ(activation("relu"), Activation::kRelu);
  EXPECT_EQ(block("jetmoe", R"("activation_function": "gelu")").expert.activation,
            Activation::kGeluErf);
  EXPECT_EQ(block("dbrx", R"("ffn_config": {"ffn_act_fn": {"name": "gelu"}})").expert.activation,
            Activation::kGeluErf);
  EXPECT_EQ(block("grok1", "").expert.activation, Activation::kGeluTanh);
  EXPECT_EQ(refusal(R"({"hidden_act": "mish"})", "mixtral"),
            "config.json: hidden_act is \"mish\", want silu, gelu, gelu_pytorch_tanh, gelu_new or "
            "relu");
}

TEST(ConfigJson, DeepSeekV2FiltersGroupsOnlyWhenItsMethodSaysSo) {
  const std::string keys = R"("n_group": 4, "n_routed_experts": 16, "num_experts_per_tok": 4,
                              "topk_group": 2, "routed_scaling_factor": 4.0, )";
  const auto limited = block("deepseek_v2", keys + R"("topk_method": "group_limited_greedy")");
  EXPECT_EQ(limited.router.groups, 4);
  EXPECT_EQ(limited.router.groups_kept, 2);
  EXPECT_EQ(limited.router.group_score, GroupScore::kMax);
  EXPECT_EQ(limited.router.scale, 4.0F);
  EXPECT_EQ(limited.router.scoring, Scoring::kSoftmax);
  const auto greedy = block("deepseek_v2", keys + R"("topk_method": "greedy")");
  EXPECT_EQ(greedy.router.groups, 1);
  EXPECT_EQ(block("deepseek_v2", R"("num_experts_per_tok": 2, "n_group": null)").router.groups, 1);
  EXPECT_THAT(refusal("{}", "deepseek_v2"), HasSubstr("num_experts_per_tok is missing"));
}

TEST(ConfigJson, NullOrZeroSharedExpertsMeanNone) {
  for (const char* family : {"deepseek_v3", "glm4_moe", "glm_moe_dsa", "mistral4"}) {
    EXPECT_FALSE(block(family, R"("n_shared_experts": null)").shared.has_value());
    EXPECT_FALSE(block(family, R"("n_shared_experts": 0)").shared.has_value());
    EXPECT_EQ(block(family, R"("n_shared_experts": 2, "moe_intermediate_size": 24)").shared->width,
              48);
  }
  EXPECT_FALSE(block("ernie4_5_moe", R"("moe_num_shared_experts": 0)").shared.has_value());
  EXPECT_FALSE(block("longcat_flash", "").shared.has_value());
}

TEST(ConfigJson, DbrxDividesByTheNormThatItNames) {
  const auto normalized = [](const std::string& value) {
    return block("dbrx", R"("ffn_config": {"moe_normalize_expert_weights": )" + value + "}").router;
  };
  EXPECT_EQ(normalized("1.0").normalize, Normalize::kPNorm);
  EXPECT_EQ(normalized("1.0").norm_p, 1.0F);
  EXPECT_EQ(normalized("2.0").norm_p, 2.0F);
  EXPECT_EQ(normalized("null").normalize, Normalize::kNone);
  EXPECT_EQ(block("dbrx", "").router.norm_p, 1.0F);
  const auto golden = block("dbrx", R"("d_model": 32, "ffn_config": {"ffn_hidden_size": 48,
      "moe_normalize_expert_weights": 1.0, "moe_num_experts": 8, "moe_top_k": 3})");
  EXPECT_EQ(golden.router.hidden, 32);
  EXPECT_EQ(golden.expert.width, 48);
  EXPECT_EQ(golden.router.top_k, 3);
}

TEST(ConfigJson, ArcticRenormalisesOnlySeveralWeights) {
  EXPECT_EQ(block("arctic", R"("num_experts_per_tok": 1)").router.normalize, Normalize::kNone);
  EXPECT_EQ(block("arctic", R"("num_experts_per_tok": 2)").router.normalize, Normalize::kSum);
  EXPECT_EQ(block("arctic", "").dense_mode, DenseMode::kNone);
}

TEST(ConfigJson, HunyuanTakesNumbersOrEqualListsALayer) {
  const auto lists = block("hunyuan_v1_moe", R"("num_experts": [8, 8], "moe_topk": [3, 3],
      "num_shared_expert": [2, 2], "intermediate_size": 48, "num_hidden_layers": 2)");
  EXPECT_EQ(lists.router.experts, 8);
  EXPECT_EQ(lists.router.top_k, 3);
  EXPECT_EQ(lists.shared->width, 96);
  EXPECT_EQ(lists.router.normalize, Normalize::kSum);
  EXPECT_THAT(refusal(R"({"num_experts": [8, 4]})", "hunyuan_v1_moe"),
              HasSubstr("num_experts is [8,4], want the same in every layer"));
  EXPECT_EQ(block("hunyuan_v1_moe", R"("num_shared_expert": 0)").shared->width, 11008)
      << "its class always has the shared MLP";
  const std::string large = R"("num_experts": 16, "use_mixed_mlp_moe": true)";
  EXPECT_EQ(block("hunyuan", large).router.normalize, Normalize::kNone);
  EXPECT_EQ(block("hunyuan", large + R"(, "moe_topk": 2)").router.normalize,
            Normalize::kClampedSum);
}

TEST(ConfigJson, ErnieClampsTheSumAndStartsAndEndsWhereItIsTold) {
  const Model model = read(R"({"model_type": "ernie4_5_moe", "num_hidden_layers": 6,
      "moe_layer_start_index": 1, "moe_layer_end_index": 4, "moe_layer_interval": 2,
      "moe_norm_min": 0.5, "moe_k": 3, "moe_num_experts": 10})");
  EXPECT_THAT(model.moe_layers(), ElementsAre(1, 3));
  EXPECT_TRUE(model.selection_bias());
  EXPECT_EQ(model.block().router.normalize, Normalize::kClampedSum);
  EXPECT_EQ(model.block().router.norm_eps, 0.5F);
  EXPECT_EQ(model.block().router.scoring, Scoring::kSoftmax);
  EXPECT_THAT(shapes(model).at("model.layers.1.mlp.moe_statics.e_score_correction_bias"),
              ElementsAre(1, 10));
}

TEST(ConfigJson, LongCatCountsExpertsWithoutWeights) {
  const auto some = block("longcat_flash", R"("expert_ffn_hidden_size": 48, "hidden_size": 32,
      "moe_topk": 4, "n_routed_experts": 8, "routed_scaling_factor": 3.0, "zero_expert_num": 4)");
  EXPECT_EQ(some.router.experts, 8);
  EXPECT_EQ(some.router.identity, 4);
  EXPECT_EQ(some.router.all_experts(), 12);
  EXPECT_EQ(some.router.scale, 3.0F);
  EXPECT_EQ(some.router.normalize, Normalize::kNone);
  EXPECT_EQ(block("longcat_flash", R"("zero_expert_num": 0)").router.identity, 0);
  EXPECT_EQ(block("longcat_flash", R"("zero_expert_num": null)").router.identity, 0);
  EXPECT_TRUE(read("{}", "longcat_flash").selection_bias());
}

TEST(ConfigJson, FamiliesHaveTheirOwnRules) {
  EXPECT_EQ(block("jamba", "").router.normalize, Normalize::kNone);
  EXPECT_EQ(block("granitemoe", "").router.weighting, Weighting::kSoftmaxOfChosen);
  EXPECT_EQ(block("jetmoe", "").router.weighting, Weighting::kSoftmaxOfChosen);
  EXPECT_TRUE(block("jetmoe", "").output_bias);
  EXPECT_FALSE(block("granitemoe", "").output_bias);
  EXPECT_EQ(block("phimoe", R"("router_jitter_noise": 0.12)").router.sparsemixer_jitter, 0.12F);
  EXPECT_EQ(block("phimoe", "").router.choice, Choice::kSparseMixer);
  EXPECT_EQ(block("llama4", "").router.gate_on, GateOn::kInput);
  EXPECT_EQ(block("llama4", R"("intermediate_size": 48)").shared->width, 48);
  EXPECT_EQ(block("minimax_m2", "").router.scoring, Scoring::kSigmoid);
  EXPECT_EQ(block("minimax_m2", "").router.norm_eps, 0.0F);
  EXPECT_TRUE(read("{}", "minimax_m2").selection_bias());
  EXPECT_EQ(block("mistral4", R"("n_group": 4, "topk_group": 2)").router.group_score,
            GroupScore::kSumTop2);
  EXPECT_FALSE(read("{}", "mistral4").selection_bias());
  EXPECT_TRUE(read("{}", "gpt_oss").router_bias());
  EXPECT_EQ(block("gpt_oss", R"("swiglu_limit": 3.5)").expert.swiglu_limit, 3.5F);
  EXPECT_TRUE(block("gpt_oss", "").expert.biases);
  EXPECT_EQ(block("qwen2_moe", "").shared_gate, SharedGate::kSigmoid);
  EXPECT_EQ(block("grok1", R"("num_selected_experts": 3)").router.top_k, 3);
  EXPECT_EQ(block("grok1", R"("num_experts_per_tok": 3)").router.top_k, 3);
  EXPECT_EQ(block("skywork_moe", "").router.transform, LogitTransform::kStandardise);
  EXPECT_EQ(block("yuan", "").router.logits, Logits::kAttention);
  EXPECT_EQ(block("llama_moe", "").router.logits, Logits::kMlpTanh);
  EXPECT_EQ(block("llama_moe", R"("score_scale_factor": 4.0)").router.scale, 4.0F);
  EXPECT_EQ(block("openmoe", "").expert.unit, Unit::kTrilinear);
  EXPECT_EQ(block("openmoe", "").dense_mode, DenseMode::kSequential);
}

TEST(ConfigJson, LayersWithExpertsFollowEachFamilysKeys) {
  const auto layers = [](const std::string& family, const std::string& keys) {
    return read("{" + keys + R"(, "num_hidden_layers": 6})", family).moe_layers();
  };
  EXPECT_THAT(layers("qwen3_moe", R"("decoder_sparse_step": 2, "mlp_only_layers": [3])"),
              ElementsAre(1, 5));
  EXPECT_THAT(layers("jamba", R"("expert_layer_period": 3, "expert_layer_offset": 2)"),
              ElementsAre(2, 5));
  EXPECT_THAT(layers("llama4", R"("interleave_moe_layer_step": 2)"), ElementsAre(1, 3, 5));
  EXPECT_THAT(layers("llama4", R"("moe_layers": [0, 4])"), ElementsAre(0, 4));
  EXPECT_THAT(layers("deepseek_v3", R"("first_k_dense_replace": 4)"), ElementsAre(4, 5));
  EXPECT_THAT(layers("glm_moe_dsa", R"("mlp_layer_types": ["dense", "sparse", "dense", "sparse",
                                                            "sparse", "dense"])"),
              ElementsAre(1, 3, 4));
}

TEST(ConfigJson, TheFamilyIsFoundByModelTypeOrArchitecture) {
  EXPECT_EQ(read(R"({"model_type": "qwen3_moe"})").family(), "qwen3_moe");
  EXPECT_EQ(read(R"({"architectures": ["Ernie4_5_MoeForCausalLM"]})").family(), "ernie4_5_moe");
  EXPECT_EQ(read(R"({"model_type": "llama", "architectures": ["OpenMoeForCausalLM"]})").family(),
            "openmoe");
  EXPECT_EQ(read(R"({"model_type": "deepseek", "n_routed_experts": 64, "num_experts_per_tok": 6})")
                .family(),
            "deepseek_moe");
  EXPECT_EQ(read(R"({"model_type": "grok-1"})").family(), "grok1");
  EXPECT_EQ(read(R"({"model_type": "llama4", "text_config": {"num_local_experts": 4}})")
                .block()
                .router.experts,
            4);
  EXPECT_THAT(refusal(R"({"model_type": "qwen3_mo"})"),
              HasSubstr("model_type is 'qwen3_mo', want "));
  EXPECT_THAT(refusal(R"({"model_type": "qwen3_mo"})"), HasSubstr("; nearest is qwen3_moe"));
  EXPECT_THAT(refusal("{}", "bert"), HasSubstr("mixtral, qwen2_moe, "));
}

TEST(ConfigJson, BrokenTextIsRefusedByByteAndWrongTypesByKey) {
  EXPECT_THAT(refusal(R"({"a": })"), testing::StartsWith("config.json: byte 7: "));
  EXPECT_THAT(refusal("[]"), HasSubstr("is of type array, want an object"));
  EXPECT_THAT(refusal(std::string("{}\0x", 4)), HasSubstr("byte 3: NUL"));
  EXPECT_EQ(refusal(R"({"num_local_experts": "eight"})", "mixtral"),
            "config.json: num_local_experts is \"eight\", want a whole number");
  EXPECT_THAT(refusal(R"({"num_local_experts": 8.5})", "mixtral"), HasSubstr("is 8.5, want"));
  EXPECT_THAT(refusal(R"({"num_local_experts": 1e300})", "mixtral"), HasSubstr("want a whole"));
  EXPECT_THAT(refusal(R"({"norm_topk_prob": 1})", "olmoe"), HasSubstr("want true or false"));
  EXPECT_THAT(refusal(R"({"ffn_config": {"moe_top_k": []}})", "dbrx"),
              HasSubstr("ffn_config.moe_top_k is [], want a whole number"));
  EXPECT_THAT(refusal(R"({"ffn_config": 3})", "dbrx"),
              HasSubstr("ffn_config is 3, want an object"));
  EXPECT_THAT(refusal(R"({"num_experts_per_tok": 9})", "mixtral"),
              HasSubstr("config.json (mixtral): model: top_k is 9, want 1 to 8"));
  EXPECT_THAT(refusal(R"({"num_hidden_layers": 123456789012})", "llama4"),
              HasSubstr("at most 4096"));
}

// A preset and the released config.json of the same system are one model.
TEST(ConfigJson, ReleasedSettingsGiveThePresetsCountsAndBlock) {
  const auto same = [](const char* preset, const std::string& json) {
    const Model released = read(json);
    const Model expected = Model::preset(preset);
    EXPECT_EQ(released.parameters().total, expected.parameters().total) << preset;
    EXPECT_EQ(released.parameters().active, expected.parameters().active) << preset;
    EXPECT_EQ(shapes(released), shapes(expected)) << preset;
    const auto a = released.block();
    const auto b = expected.block();
    EXPECT_EQ(a.router.scale, b.router.scale) << preset;
    EXPECT_EQ(a.router.normalize, b.router.normalize) << preset;
    EXPECT_EQ(a.router.scoring, b.router.scoring) << preset;
    EXPECT_EQ(a.router.logits, b.router.logits) << preset;
  };
  same("deepseek-v3", R"({"model_type": "deepseek_v3"})");
  same("mixtral-8x7b", R"({"model_type": "mixtral"})");
  same("gpt-oss-120b", R"({"model_type": "gpt_oss"})");
  same("glm-5", R"({"model_type": "glm_moe_dsa"})");
  same("glm-4.5-air", R"({"model_type": "glm4_moe", "head_dim": 128, "attention_bias": true})");
  same("jamba", R"({"model_type": "jamba"})");
  same("grok-1", R"({"model_type": "grok1"})");
  same("yuan", R"({"model_type": "yuan", "attention_projection_size": 4096})");
  same("skywork", R"({"model_type": "skywork"})");
  same("jetmoe", R"({"model_type": "jetmoe", "num_hidden_layers": 24})");
  same("llama-4-scout", R"({"model_type": "llama4_text"})");
  same("llama-4-maverick", R"({"model_type": "llama4", "text_config":
                              {"interleave_moe_layer_step": 2, "num_local_experts": 128}})");
  same("phi-3.5", R"({"model_type": "phimoe", "attention_bias": true, "lm_head_bias": true})");
  same("olmoe", R"({"model_type": "olmoe", "intermediate_size": 1024})");
  same("openmoe", R"({"architectures": ["OpenMoeForCausalLM"], "hidden_act": "swiglu"})");
  same("llama-moe", R"({"model_type": "llama_moe", "num_experts": 8, "num_selects": 2,
                        "score_scale_factor": 4.0})");
  same("hunyuan", R"({"model_type": "hunyuan", "vocab_size": 128512, "hidden_size": 6400,
      "intermediate_size": 18304, "num_hidden_layers": 64, "num_attention_heads": 80,
      "num_key_value_heads": 8, "num_experts": 16, "moe_topk": 1, "num_shared_expert": 1,
      "use_mixed_mlp_moe": true, "use_cla": true, "cla_share_factor": 2, "use_qk_norm": true,
      "tie_word_embeddings": true})");
  same("arctic", R"({"model_type": "arctic", "hidden_size": 7168, "intermediate_size": 4864,
      "num_hidden_layers": 35, "num_attention_heads": 56, "num_key_value_heads": 8,
      "num_local_experts": 128, "num_experts_per_tok": 2, "moe_layer_frequency": 1,
      "parallel_attn_mlp_res": true})");
  same("dbrx", R"({"model_type": "dbrx", "d_model": 6144, "n_heads": 48, "n_layers": 40,
      "vocab_size": 100352, "attn_config": {"kv_n_heads": 8}, "ffn_config":
      {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4}})");
  same("deepseekmoe", R"({"model_type": "deepseek", "hidden_size": 2048, "vocab_size": 102400,
      "intermediate_size": 10944, "moe_intermediate_size": 1408, "num_hidden_layers": 28,
      "num_attention_heads": 16, "num_key_value_heads": 16, "n_shared_experts": 2,
      "n_routed_experts": 64, "num_experts_per_tok": 6, "first_k_dense_replace": 1,
      "norm_topk_prob": false, "scoring_func": "softmax"})");
}
}  // namespace
