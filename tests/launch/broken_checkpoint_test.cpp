// SPDX-License-Identifier: Apache-2.0
// Checkpoints that are broken in every way that copies, converters and bad luck know: each is
// refused with one message that names the file, and the status of data that is wrong.
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace {
using nlohmann::json;
using switchyard::tests::length_bytes;
using switchyard::tests::Outcome;
using switchyard::tests::read_file;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using switchyard::tests::TempFolder;
using switchyard::tests::write_file;
using testing::HasSubstr;
using Folder = std::filesystem::path;

constexpr const char* kFirst = "model-00001-of-00002.safetensors";
constexpr const char* kSecond = "model-00002-of-00002.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kExpert = "model.layers.0.block_sparse_moe.experts.3.w1.weight";

/// A shard taken apart: header and data may be changed on their own.
struct Shard {
  explicit Shard(const Folder& file) : path(file) {
    const std::string bytes = read_file(file);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    header = json::parse(bytes.substr(8, length));
    data = bytes.substr(8 + length);
  }
  void write() const { write(header.dump()); }
  void write(std::string text) const {
    text.resize((text.size() + 7) / 8 * 8, ' ');
    write_file(path, length_bytes(text.size()) + text + data);
  }
  Folder path;
  json header;
  std::string data;
};

/// The shard that holds a tensor.
std::string shard_of(const Folder& folder, const std::string& tensor) {
  return json::parse(read_file(folder / kIndex))["weight_map"][tensor];
}

/// Changes the entry of a tensor in its shard's header.
void change(const Folder& folder, const std::string& tensor,
            const std::function<void(json&)>& edit) {
  Shard shard(folder / shard_of(folder, tensor));
  edit(shard.header[tensor]);
  shard.write();
}

/// Another name in header and index, the data untouched.
void rename(const Folder& folder, const std::string& from, const std::string& to) {
  json index = json::parse(read_file(folder / kIndex));
  Shard shard(folder / index["weight_map"][from].get<std::string>());
  shard.header[to] = shard.header[from];
  shard.header.erase(from);
  shard.write();
  index["weight_map"][to] = index["weight_map"][from];
  index["weight_map"].erase(from);
  write_file(folder / kIndex, index.dump());
}

void configure(const Folder& folder, const std::string& key, const json& value) {
  json config = json::parse(read_file(folder / "config.json"));
  config[key] = value;
  write_file(folder / "config.json", config.dump());
}

struct Case {
  std::string name;
  std::function<void(const Folder&)> break_it;
  std::vector<std::string> says;  ///< all of these, on the one line of the error
  int status = 2;
};

std::vector<Case> broken_files() {
  return {
      {"no_config",
       [](auto& d) { std::filesystem::remove(d / "config.json"); },
       {"config.json"},
       74},
      {"config_no_json",
       [](auto& d) { write_file(d / "config.json", "{\"model_type\": "); },
       {"config.json", "column 16"}},
      {"unknown_architecture",
       [](auto& d) {
         configure(d, "model_type", "gpt2");
         configure(d, "architectures", json::array({"GPT2LMHeadModel"}));
       },
       {"gpt2"}},
      {"no_experts", [](auto& d) { configure(d, "num_local_experts", 0); }, {"routed_experts"}},
      {"more_chosen_than_there_are",
       [](auto& d) { configure(d, "num_experts_per_tok", 9); },
       {"top_k", "8"}},
      {"negative_width", [](auto& d) { configure(d, "hidden_size", -48); }, {"hidden_size"}},
      {"width_in_words", [](auto& d) { configure(d, "hidden_size", "48"); }, {"hidden_size"}},
      {"other_width",
       [](auto& d) { configure(d, "hidden_size", 60); },
       {".safetensors", "[", "60"}},
      {"no_weights",
       [](auto& d) {
         for (auto f : {kFirst, kSecond, kIndex}) std::filesystem::remove(d / f);
       },
       {"model.safetensors"}},
      {"shard_missing", [](auto& d) { std::filesystem::remove(d / kSecond); }, {kSecond}, 74},
      {"shard_is_a_folder",
       [](auto& d) {
         std::filesystem::remove(d / kSecond);
         std::filesystem::create_directory(d / kSecond);
       },
       {kSecond}},
      {"shard_empty", [](auto& d) { write_file(d / kSecond, ""); }, {kSecond}},
      {"shard_truncated",
       [](auto& d) {
         const std::string bytes = read_file(d / kFirst);
         write_file(d / kFirst, bytes.substr(0, bytes.size() / 2));
       },
       {kFirst}},
      {"shard_longer",
       [](auto& d) { write_file(d / kFirst, read_file(d / kFirst) + "trailing"); },
       {kFirst}},
      {"index_no_json", [](auto& d) { write_file(d / kIndex, "weight_map"); }, {kIndex}},
      {"index_without_map",
       [](auto& d) { write_file(d / kIndex, "{\"metadata\": {}}"); },
       {kIndex, "weight_map"}},
      {"index_names_no_file",
       [](auto& d) {
         json index = json::parse(read_file(d / kIndex));
         index["weight_map"][kExpert] = "model-00003-of-00002.safetensors";
         write_file(d / kIndex, index.dump());
       },
       {"model-00003-of-00002.safetensors"},
       74},
      {"index_climbs_out",
       [](auto& d) {
         json index = json::parse(read_file(d / kIndex));
         index["weight_map"][kExpert] = "../../etc/passwd";
         write_file(d / kIndex, index.dump());
       },
       {kIndex}},
      {"index_names_the_other_shard",
       [](auto& d) {
         json index = json::parse(read_file(d / kIndex));
         index["weight_map"][kExpert] = shard_of(d, kExpert) == kFirst ? kSecond : kFirst;
         write_file(d / kIndex, index.dump());
       },
       {kExpert}},
      {"index_forgets_a_tensor",
       [](auto& d) {
         json index = json::parse(read_file(d / kIndex));
         index["weight_map"].erase(kExpert);
         write_file(d / kIndex, index.dump());
       },
       {kExpert}},
  };
}

std::vector<Case> broken_headers() {
  const auto raw = [](const Folder& d, std::uint64_t length) {
    const std::string bytes = read_file(d / kFirst);
    write_file(d / kFirst, length_bytes(length) + bytes.substr(8));
  };
  return {
      {"absurd_header_length",
       [=](auto& d) { raw(d, std::uint64_t{1} << 63U); },
       {kFirst, "header"}},
      {"header_beyond_the_file", [=](auto& d) { raw(d, 100000000); }, {kFirst, "header"}},
      {"header_of_no_bytes", [=](auto& d) { raw(d, 0); }, {kFirst, "header"}},
      {"header_no_json", [](auto& d) { Shard(d / kFirst).write("{\"a\": [1, 2"); }, {kFirst}},
      {"header_a_list", [](auto& d) { Shard(d / kFirst).write("[]"); }, {kFirst}},
      {"tensor_twice",
       [](auto& d) {
         const Shard shard(d / kFirst);
         const std::string name = shard.header.begin().key();
         std::string text = shard.header.dump();
         text.insert(1, json(name).dump() + ":" + shard.header[name].dump() + ",");
         shard.write(text);
       },
       {kFirst, "twice"}},
      {"type_nobody_knows",
       [](auto& d) { change(d, kExpert, [](json& t) { t["dtype"] = "F3"; }); },
       {kExpert, "F3"}},
      {"type_of_another_size",
       [](auto& d) { change(d, kExpert, [](json& t) { t["dtype"] = "F64"; }); },
       {kExpert}},
      {"whole_numbers",
       [](auto& d) { change(d, kExpert, [](json& t) { t["dtype"] = "I32"; }); },
       {kExpert, "I32"}},
      {"transposed",
       [](auto& d) {
         change(d, kExpert, [](json& t) { std::swap(t["shape"][0], t["shape"][1]); });
       },
       {kExpert, "[48, 64]", "[64, 48]"}},
      {"negative_extent",
       [](auto& d) { change(d, kExpert, [](json& t) {
                       t["shape"] = {-64, -48};
                     }); },
       {kExpert}},
      {"shape_overflows",
       [](auto& d) { change(d, kExpert, [](json& t) {
                       t["shape"] = {1LL << 40, 1LL << 40};
                     }); },
       {kExpert}},
      {"offsets_reversed",
       [](auto& d) {
         change(d, kExpert, [](json& t) { std::swap(t["data_offsets"][0], t["data_offsets"][1]); });
       },
       {kExpert}},
      {"offsets_beyond_the_data",
       [](auto& d) {
         change(d, kExpert, [](json& t) {
           t["data_offsets"] = {1LL << 40, (1LL << 40) + 64 * 48 * 4};
         });
       },
       {kFirst}},
      {"offsets_overlap",
       [](auto& d) {
         change(d, kExpert, [](json& t) {
           t["data_offsets"][0] = t["data_offsets"][0].get<long>() - 4;
           t["data_offsets"][1] = t["data_offsets"][1].get<long>() - 4;
         });
       },
       {kFirst}},
  };
}

std::vector<Case> broken_tensors() {
  return {
      {"expert_missing",
       [](auto& d) { rename(d, kExpert, "model.layers.0.block_sparse_moe.experts.3.w9.weight"); },
       {"experts.3.w1.weight", "missing in"}},
      {"expert_too_many",
       [](auto& d) { configure(d, "num_local_experts", 7); },
       {"model.layers.0"}},
      {"router_missing",
       [](auto& d) {
         rename(d, "model.layers.1.block_sparse_moe.gate.weight", "model.layers.1.lost.weight");
       },
       {"model.layers.1"}},
      {"queries_missing",
       [](auto& d) {
         rename(d, "model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.q.weight");
       },
       {"model.layers.1.self_attn.q"}},
      {"keys_transposed",
       [](auto& d) {
         change(d, "model.layers.0.self_attn.k_proj.weight",
                [](json& t) { std::swap(t["shape"][0], t["shape"][1]); });
       },
       {"model.layers.0.self_attn.k_proj.weight", "[48, 16]", "[16, 48]"}},
      {"norm_misshapen",
       [](auto& d) {
         change(d, "model.layers.1.input_layernorm.weight", [](json& t) { t["shape"] = {2, 24}; });
       },
       {"model.layers.1.input_layernorm.weight", "[48]"}},
      {"embedding_missing",
       [](auto& d) { rename(d, "model.embed_tokens.weight", "model.embed.weight"); },
       {"model.embed"}},
      {"head_missing",
       [](auto& d) { rename(d, "lm_head.weight", "head.weight"); },
       {"head.weight"}},
      {"other_vocabulary",
       [](auto& d) { configure(d, "vocab_size", 97); },
       {"[96, 48]", "[97, 48]"}},
      {"layer_too_many_in_config",
       [](auto& d) { configure(d, "num_hidden_layers", 3); },
       {"model.layers.2"}},
      {"layer_too_few_in_config",
       [](auto& d) { configure(d, "num_hidden_layers", 1); },
       {"model.layers.1"}},
  };
}

void expect_refused(const Case& broken, const std::vector<std::string>& command) {
  SCOPED_TRACE(broken.name);
  const TempFolder folder;
  for (const auto& entry :
       std::filesystem::directory_iterator(SWITCHYARD_TEST_DATA "/golden/models/mixtral-tiny")) {
    std::filesystem::copy_file(entry.path(), folder / entry.path().filename().string());
  }
  broken.break_it(folder.path());
  std::vector<std::string> words = command;
  for (const char* word : {"--checkpoint", folder.path().c_str()}) words.emplace_back(word);
  const Outcome outcome = run({.words = switchyard(words)});
  EXPECT_EQ(outcome.status, broken.status) << outcome.err;
  EXPECT_EQ(outcome.err_lines("error:"), 1) << outcome.err;
  for (const std::string& words_of_it : broken.says)
    EXPECT_THAT(outcome.err, HasSubstr(words_of_it));
  EXPECT_EQ(outcome.out, "");
}

const std::vector<std::string> kRun = {"run", "--tokens", "2", "--layers", "2"};
const std::vector<std::string> kGenerate = {"generate", "--prompt-ids", "1,2", "--max-new-tokens",
                                            "1"};

TEST(BrokenCheckpoint, ABrokenFileIsRefusedByRunAndByGenerate) {
  for (const Case& broken : broken_files()) {
    expect_refused(broken, kRun);
    expect_refused(broken, kGenerate);
  }
}

TEST(BrokenCheckpoint, ABrokenHeaderIsRefused) {
  for (const Case& broken : broken_headers()) expect_refused(broken, kGenerate);
}

TEST(BrokenCheckpoint, AWholeModelWithAWrongTensorIsRefused) {
  for (const Case& broken : broken_tensors()) expect_refused(broken, kGenerate);
}
}  // namespace
