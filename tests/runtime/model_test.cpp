// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/model.hpp"

#include <algorithm>
#include <fstream>
#include <gmock/gmock.h>
#include <map>
#include <set>
#include <sstream>
#include <unistd.h>

#include "runtime/model/describe.hpp"

namespace {
using switchyard::experts::Activation;
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
using switchyard::runtime::TensorShape;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

using Row = std::map<std::string, std::string>;

/// The fields of one line of comma-separated values; "" inside quotes is a quote.
std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += line[++i];
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      fields.emplace_back();
    } else if (line[i] != '\r') {
      fields.back() += line[i];
    }
  }
  return fields;
}

/// tests/runtime/models.csv: one row a system, gathered from the releases.
std::vector<Row> table() {
  std::ifstream file(SWITCHYARD_TEST_DATA "/runtime/models.csv");
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> columns = split(line);
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> fields = split(line);
    Row row;
    for (std::size_t i = 0; i < columns.size(); ++i) row[columns[i]] = fields.at(i);
    rows.push_back(row);
  }
  return rows;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// The message of the std::invalid_argument that `call` throws; "" if it throws none.
template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

std::string set_refusal(const char* preset, const char* assignment) {
  return refusal([&] { Model::preset(preset).set(assignment); });
}

/// What validate() says after the assignments.
std::string invalid(const char* preset, const std::vector<const char*>& assignments) {
  Model model = Model::preset(preset);
  for (const char* assignment : assignments) model.set(assignment);
  return refusal([&] { model.validate(); });
}

std::map<std::string, std::vector<std::int64_t>> shapes(const Model& model) {
  std::map<std::string, std::vector<std::int64_t>> result;
  for (const TensorShape& tensor : model.tensors()) result[tensor.name] = tensor.shape;
  return result;
}

TEST(Model, EveryRowOfTheTableIsAPresetAndNoOtherIs) {
  std::set<std::string> names;
  for (const Row& row : table()) names.insert(lower(row.at("name")));
  const std::vector<std::string> presets = Model::preset_names();
  EXPECT_EQ(names.size(), 30U);
  EXPECT_EQ(std::set<std::string>(presets.begin(), presets.end()), names);
  EXPECT_EQ(presets.size(), names.size());
  EXPECT_TRUE(std::is_sorted(presets.begin(), presets.end()));
}

TEST(Model, EveryPresetSumsToTheCountsOfTheTableExactly) {
  for (const Row& row : table()) {
    const Model model = Model::preset(row.at("name"));
    const auto count = model.parameters();
    EXPECT_EQ(std::to_string(count.total), row.at("total_params_computed")) << row.at("name");
    EXPECT_EQ(std::to_string(count.active), row.at("active_params_computed")) << row.at("name");
    EXPECT_EQ(std::to_string(model.num_moe_layers()), row.at("num_moe_layers")) << row.at("name");
  }
}

TEST(Model, EveryColumnOfTheTableCanBeSetAndIsWhatThePresetHasAlready) {
  const std::set<std::string> not_fields{
      "name",   "num_moe_layers", "total_params_computed", "active_params_computed",
      "source", "notes"};
  // These hold sentences in some rows.
  const std::set<std::string> in_words{"capacity_factor", "aux_loss_coef"};
  for (const Row& row : table()) {
    const Model preset = Model::preset(row.at("name"));
    for (const auto& [column, value] : row) {
      if (not_fields.contains(column) || value.empty()) continue;
      if (in_words.contains(column) &&
          value.find_first_not_of("0123456789.") != std::string::npos) {
        continue;
      }
      Model changed = preset;
      ASSERT_NO_THROW(changed.set(column + "=" + value)) << row.at("name");
      if (value == "0") continue;  // what the preset leaves out
      EXPECT_EQ(changed.text(), preset.text()) << column << " of " << preset.name();
    }
  }
}

TEST(Model, EveryPresetIsValidAndNamesNoTensorTwice) {
  for (const std::string& name : Model::preset_names()) {
    const Model model = Model::preset(name);
    EXPECT_EQ(refusal([&] { model.validate(); }), "") << name;
    const auto tensors = model.tensors();
    EXPECT_EQ(shapes(model).size(), tensors.size()) << name;
    for (const TensorShape& tensor : tensors) EXPECT_GT(tensor.elements(), 0) << tensor.name;
  }
}

TEST(Model, APresetIsFoundByAnyUniqueBeginningInAnyCase) {
  EXPECT_EQ(Model::preset("olmoe").name(), "olmoe-1b-7b-0924");
  EXPECT_EQ(Model::preset("Mixtral-8x7B").name(), "mixtral-8x7b");
  EXPECT_EQ(Model::preset("glm-4.5").name(), "glm-4.5") << "a whole name wins over glm-4.5-air";
  EXPECT_THAT(refusal([] { (void)Model::preset("mixtral"); }),
              HasSubstr("got 'mixtral', want one of mixtral-8x22b or mixtral-8x7b"));
  EXPECT_THAT(refusal([] { (void)Model::preset("olmoe-1b-7b-0925"); }),
              HasSubstr("; nearest is olmoe-1b-7b-0924"));
}

TEST(Model, AnUnknownFieldIsRefusedWithTheNearestName) {
  EXPECT_EQ(set_refusal("olmoe", "topk=7"), "--set topk=7: no such field, nearest is top_k");
  EXPECT_THAT(set_refusal("olmoe", "num_moe_layers=3"), HasSubstr("is computed"));
  EXPECT_THAT(set_refusal("olmoe", "top_k"), HasSubstr("want FIELD=VALUE"));
  EXPECT_THAT(set_refusal("olmoe", "xyzzy=1"), HasSubstr("no such field, want name, family"));
}

TEST(Model, AWrongValueIsRefusedWithWhatIsAllowed) {
  EXPECT_EQ(set_refusal("olmoe", "scoring=sofmax"),
            "--set scoring=sofmax: got 'sofmax', want softmax, sigmoid or none");
  EXPECT_THAT(set_refusal("olmoe", "top_k=8.5"), HasSubstr("got '8.5', want a whole number"));
  EXPECT_THAT(set_refusal("olmoe", "top_k="), HasSubstr("got '', want a whole number"));
  EXPECT_THAT(set_refusal("olmoe", "top_k=99999999999999999999"), HasSubstr("want a whole number"));
  EXPECT_THAT(set_refusal("olmoe", "norm_eps=nan"), HasSubstr("want a finite number"));
  EXPECT_THAT(set_refusal("olmoe", "router_bias=perhaps"), HasSubstr("want yes or no"));
  EXPECT_THAT(set_refusal("olmoe", "moe_layer_rule=some"), HasSubstr("want all, first_k_dense=N"));
}

TEST(Model, YesAndTrueAndOneAreTheSame) {
  for (const char* word : {"yes", "true", "1", "YES"}) {
    Model model = Model::preset("olmoe");
    model.set(std::string("router_bias=") + word);
    model.set(std::string("expert_bias=") + word);
    EXPECT_TRUE(model.router_bias());
    EXPECT_TRUE(model.block().expert.biases);
  }
}

TEST(Model, SettingACopyLeavesTheOriginalAlone) {
  const Model original = Model::preset("olmoe");
  Model copy = original;
  copy.set("top_k=7");
  EXPECT_EQ(copy.block().router.top_k, 7);
  EXPECT_EQ(original.block().router.top_k, 8);
  EXPECT_NE(copy.text(), original.text());
}

TEST(Model, FiveExpertsChangeTheShapesAndTheSums) {
  const Model original = Model::preset("mixtral-8x7b");
  Model model = original;
  model.set("routed_experts=5");
  model.validate();
  const std::int64_t expert = 3LL * 4096 * 14336;
  const std::int64_t removed = 32LL * 3 * (expert + 4096);  // and their rows of the router
  EXPECT_EQ(model.parameters().total, original.parameters().total - removed);
  EXPECT_EQ(model.parameters().active, original.parameters().active - 32LL * 3 * 4096);
  EXPECT_THAT(shapes(model).at("model.layers.31.block_sparse_moe.gate.weight"),
              ElementsAre(5, 4096));
  EXPECT_FALSE(shapes(model).contains("model.layers.0.block_sparse_moe.experts.5.w1.weight"));
}

TEST(Model, ActiveParametersComeInThreeConventions) {
  const auto count = Model::preset("mixtral-8x7b").parameters();
  EXPECT_EQ(count.active_less_input, count.active - 131072000);
  EXPECT_EQ(count.active_less_embeddings, count.active - 2 * 131072000);
  const auto tied = Model::preset("grok-1").parameters();
  EXPECT_EQ(tied.active_less_input, tied.active) << "a tied table is the output's too";
  EXPECT_EQ(tied.active_less_embeddings, tied.active - 131072LL * 6144);
}

TEST(Model, LayersFollowTheRule) {
  EXPECT_EQ(Model::preset("deepseek-v3").moe_layers().front(), 3);
  EXPECT_EQ(Model::preset("deepseek-v3").num_moe_layers(), 58);
  EXPECT_THAT(Model::preset("openmoe").moe_layers(), ElementsAre(3, 7, 11, 15, 19, 23, 27, 31));
  Model model = Model::preset("deepseek-v3");
  model.set("num_layers=9");
  model.set("moe_layer_rule=every=3;offset=2");
  model.set("dense_layers=5, 0");
  EXPECT_THAT(model.moe_layers(), ElementsAre(2, 8));
}

TEST(Model, ShapesThatCannotExistAreRefusedByField) {
  EXPECT_THAT(invalid("olmoe", {"top_k=65"}), HasSubstr("top_k is 65, want 1 to 64"));
  EXPECT_THAT(invalid("olmoe", {"top_k=-1"}), HasSubstr("top_k is -1, want 0 to"));
  EXPECT_THAT(invalid("deepseek-v3", {"n_group=7"}), HasSubstr("n_group is 7, want a divisor"));
  EXPECT_THAT(invalid("deepseek-v3", {"topk_group=9"}), HasSubstr("topk_group is 9, want 1 to 8"));
  EXPECT_THAT(invalid("deepseek-v3", {"group_score=none"}), HasSubstr("group_score is none"));
  EXPECT_THAT(invalid("deepseek-v3", {"first_k_dense=61"}), HasSubstr("first_k_dense is 61"));
  EXPECT_THAT(invalid("olmoe", {"first_k_dense=1"}), HasSubstr("dense_intermediate_size is 0"));
  EXPECT_THAT(invalid("olmoe", {"shared_experts=1"}), HasSubstr("shared_intermediate_size is 0"));
  EXPECT_THAT(invalid("olmoe", {"num_kv_heads=3"}), HasSubstr("num_kv_heads is 3, want a divisor"));
  EXPECT_THAT(invalid("olmoe", {"hidden_size=0"}), HasSubstr("hidden_size is 0"));
  EXPECT_THAT(invalid("olmoe", {"num_layers=1000000000000"}), HasSubstr("num_layers"));
  EXPECT_THAT(invalid("olmoe", {"routed_experts=524288"}), HasSubstr("at most 4194304 in all"));
  EXPECT_THAT(invalid("gpt-oss-20b", {"scoring=sigmoid"}), HasSubstr("scoring is sigmoid"));
}

TEST(Model, TextReadsBackAsTheSameModel) {
  const auto file =
      std::filesystem::temp_directory_path() / ("model." + std::to_string(getpid()) + ".textproto");
  const auto write = [&](const std::string& text) { std::ofstream(file) << text; };
  for (const char* name : {"deepseek-v2", "jamba", "gpt-oss-20b", "mistral-large-3"}) {
    const Model model = Model::preset(name);
    write(model.text());
    EXPECT_EQ(Model::from_file(file).text(), model.text());
    EXPECT_EQ(Model::from_name_or_file(file.string()).name(), model.name());
  }
  write("name: \"x\"\nhidden_sise: 3\n");
  EXPECT_THAT(refusal([&] { (void)Model::from_file(file); }), StartsWith(file.string() + ":2:"));
  write("name: \"x\"\n");
  EXPECT_THAT(refusal([&] { (void)Model::from_file(file); }), HasSubstr("hidden_size is 0"));
  std::filesystem::remove(file);
  EXPECT_THROW((void)Model::from_file(file), std::system_error);
}

TEST(Block, DeepSeekChoosesBiasedSigmoidsInFourOfEightGroups) {
  const Model model = Model::preset("deepseek-v3");
  const auto block = model.block();
  EXPECT_TRUE(model.selection_bias());
  EXPECT_FALSE(model.router_bias());
  EXPECT_EQ(block.router.scoring, Scoring::kSigmoid);
  EXPECT_EQ(block.router.groups, 8);
  EXPECT_EQ(block.router.groups_kept, 4);
  EXPECT_EQ(block.router.group_score, GroupScore::kSumTop2);
  EXPECT_EQ(block.router.normalize, Normalize::kSum);
  EXPECT_EQ(block.router.norm_eps, 1e-20F);
  EXPECT_EQ(block.router.scale, 2.5F);
  EXPECT_EQ(block.shared->width, 2048);
  EXPECT_EQ(block.shared_gate, SharedGate::kNone);
  const auto older = Model::preset("deepseek-v2").block();
  EXPECT_EQ(older.router.group_score, GroupScore::kMax);
  EXPECT_EQ(older.router.groups_kept, 3);
  EXPECT_EQ(older.router.normalize, Normalize::kNone);
  EXPECT_EQ(older.router.scale, 16.0F);
  EXPECT_EQ(older.shared->width, 3072);
}

TEST(Block, WithinTopkChoosesByLogitAndWeighsByASoftmaxOfTheChosen) {
  for (const char* name : {"gpt-oss-20b", "jetmoe", "llama-moe", "yuan"}) {
    const auto router = Model::preset(name).block().router;
    EXPECT_EQ(router.scoring, Scoring::kNone) << name;
    EXPECT_EQ(router.weighting, Weighting::kSoftmaxOfChosen) << name;
    EXPECT_EQ(router.normalize, Normalize::kNone) << name;
  }
  EXPECT_EQ(Model::preset("llama-moe").block().router.logits, Logits::kMlpTanh);
  EXPECT_EQ(Model::preset("llama-moe").block().router.scale, 4.0F);
  EXPECT_EQ(Model::preset("yuan").block().router.logits, Logits::kAttention);
}

TEST(Block, FamiliesHaveTheirOwnRouters) {
  EXPECT_EQ(Model::preset("skywork").block().router.transform, LogitTransform::kStandardise);
  EXPECT_EQ(Model::preset("skywork").block().router.normalize, Normalize::kSum);
  EXPECT_EQ(Model::preset("dbrx").block().router.normalize, Normalize::kPNorm);
  EXPECT_EQ(Model::preset("dbrx").block().router.norm_p, 1.0F);
  EXPECT_EQ(Model::preset("phi").block().router.choice, Choice::kSparseMixer);
  EXPECT_EQ(Model::preset("grin").block().router.sparsemixer_jitter, 0.01F);
  EXPECT_EQ(Model::preset("llama-4-scout").block().router.gate_on, GateOn::kInput);
  EXPECT_EQ(Model::preset("llama-4-scout").block().router.scoring, Scoring::kSigmoid);
  EXPECT_EQ(Model::preset("olmoe").block().router.normalize, Normalize::kNone);
  EXPECT_EQ(Model::preset("qwen3-30b").block().router.normalize, Normalize::kSum);
  EXPECT_EQ(Model::preset("glm-4.5").block().router.group_score, GroupScore::kNone)
      << "one group is no filter";
}

TEST(Block, NetworksHaveTheirUnitsWidthsAndBiases) {
  const auto gpt = Model::preset("gpt-oss-120b").block().expert;
  EXPECT_EQ(gpt.activation, Activation::kClampedSwiglu);
  EXPECT_TRUE(gpt.biases);
  EXPECT_EQ(gpt.swiglu_limit, 7.0F);
  EXPECT_EQ(Model::preset("grok-1").block().expert.activation, Activation::kGeluTanh);
  EXPECT_TRUE(Model::preset("jetmoe").block().output_bias);
  EXPECT_FALSE(Model::preset("jetmoe").block().expert.biases);
  const auto arctic = Model::preset("arctic").block();
  EXPECT_EQ(arctic.dense_mode, DenseMode::kParallel);
  EXPECT_EQ(arctic.dense->width, 7168);
  const auto openmoe = Model::preset("openmoe").block();
  EXPECT_EQ(openmoe.dense_mode, DenseMode::kSequential);
  EXPECT_EQ(openmoe.expert.unit, Unit::kTrilinear);
  EXPECT_EQ(openmoe.dense->unit, Unit::kTrilinear);
  const auto qwen = Model::preset("qwen1.5").block();
  EXPECT_EQ(qwen.shared->width, 5632);
  EXPECT_EQ(qwen.shared_gate, SharedGate::kSigmoid);
  EXPECT_EQ(qwen.dense_mode, DenseMode::kNone);
}

TEST(Block, IsDroplessUnlessItsCallerAsks) {
  for (const std::string& name : Model::preset_names()) {
    EXPECT_EQ(Model::preset(name).block().router.capacity.rule,
              switchyard::experts::CapacityRule::kNone)
        << name;
  }
}

TEST(Tensors, CarryTheNamesAndShapesOfTheirRelease) {
  const auto dbrx = shapes(Model::preset("dbrx"));
  EXPECT_THAT(dbrx.at("transformer.blocks.39.ffn.experts.mlp.w2"), ElementsAre(16 * 10752, 6144));
  EXPECT_THAT(dbrx.at("transformer.blocks.0.norm_attn_norm.attn.Wqkv.weight"),
              ElementsAre(6144 + 2 * 1024, 6144));
  const auto gpt = shapes(Model::preset("gpt-oss-20b"));
  EXPECT_THAT(gpt.at("model.layers.0.mlp.experts.gate_up_proj"), ElementsAre(32, 2880, 5760));
  EXPECT_THAT(gpt.at("model.layers.0.mlp.experts.gate_up_proj_bias"), ElementsAre(32, 5760));
  EXPECT_THAT(gpt.at("model.layers.0.self_attn.sinks"), ElementsAre(64));
  const auto deepseek = shapes(Model::preset("deepseek-v3"));
  EXPECT_THAT(deepseek.at("model.layers.3.mlp.gate.e_score_correction_bias"), ElementsAre(256));
  EXPECT_THAT(deepseek.at("model.layers.60.mlp.experts.255.down_proj.weight"),
              ElementsAre(7168, 2048));
  EXPECT_THAT(deepseek.at("model.layers.2.mlp.up_proj.weight"), ElementsAre(18432, 7168));
  const auto grok = shapes(Model::preset("grok-1"));
  EXPECT_THAT(grok.at("language_model/decoder_layer_63/router/w"), ElementsAre(6144, 8));
  EXPECT_THAT(grok.at("language_model/decoder_layer_0/moe/linear_1/w"),
              ElementsAre(8, 32768, 6144));
  const auto openmoe = shapes(Model::preset("openmoe"));
  EXPECT_THAT(openmoe.at("model.layers.3.mlp.experts.wi_gate"), ElementsAre(32, 3072, 24576));
  EXPECT_THAT(openmoe.at("model.layers.3.extra_mlp.up_proj.weight"), ElementsAre(12288, 3072));
  const auto yuan = shapes(Model::preset("yuan"));
  EXPECT_THAT(yuan.at("model.layers.0.mlp.gate.query.weight"), ElementsAre(32, 2048));
  EXPECT_THAT(yuan.at("model.layers.0.mlp.experts.31.w1.weight"), ElementsAre(16384, 2048));
  const auto llama_moe = shapes(Model::preset("llama-moe"));
  EXPECT_THAT(llama_moe.at("model.layers.0.mlp.gate.gate_network.2.weight"), ElementsAre(8, 8));
  EXPECT_THAT(llama_moe.at("model.layers.0.mlp.calculator.experts.weight_down.7"),
              ElementsAre(4096, 1376));
}

TEST(Describe, SaysTheRouterAndEveryConventionOfTheCounts) {
  std::map<std::string, std::string> rows;
  for (const auto& [name, value] : describe_model(Model::preset("mixtral-8x7b"))) {
    rows[name] = value;
  }
  EXPECT_EQ(rows.at("total parameters"), "46,702,792,704 (published 46.70B, +0.01%)");
  EXPECT_EQ(rows.at("active parameters"), "12,879,925,248 (published 12.90B, -0.16%)");
  EXPECT_THAT(rows.at("active less input embedding"), StartsWith("12,748,853,248 "));
  EXPECT_THAT(rows.at("active less both embeddings"), StartsWith("12,617,781,248 "));
  EXPECT_EQ(rows.at("layers"), "32, with experts 32");
  EXPECT_NE(rows.at("router"), "");
  const auto grok = describe_model(Model::preset("grok-1"));
  EXPECT_TRUE(std::any_of(grok.begin(), grok.end(), [](const auto& row) {
    return row.name == "active parameters" && row.value == "83,756,587,008 (not published)";
  }));
}

TEST(Describe, TheTableHasARowAPresetAndACellAColumn) {
  const auto models = switchyard::runtime::model_table();
  ASSERT_EQ(models.rows.size(), 30U);
  for (const auto& row : models.rows) EXPECT_EQ(row.size(), models.columns.size());
  EXPECT_EQ(models.rows.front().front(), "arctic");
}
}  // namespace
