// SPDX-License-Identifier: Apache-2.0
// Settings, models and placements as text, released config.json, and tokenizers.
#include "launch/config.hpp"
#include "runtime/model/model.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/text/tokenizer.hpp"
#include "tests/fuzz/targets.hpp"

namespace switchyard::fuzz {
namespace {

/// What every command asks of a model first. Lists of very many tensors take time, not care.
void look_at(const runtime::Model& model) {
  model.validate();
  static_cast<void>(model.block());
  static_cast<void>(model.text());
  const std::int64_t experts = model.block().router.experts;
  if (model.num_layers() * experts > 4096) return;
  require(model.parameters().total > 0, "no parameters");
  for (const auto& tensor : model.tensors()) {
    require(!tensor.name.empty(), "a tensor without a name");
    require(tensor.elements() > 0, "a tensor without elements");
  }
}

void look_at(const runtime::Tokenizer& tokenizer) {
  for (const char* text :
       {"", "Hello, world", "  two\n\xc3\xa9\xe4\xb8\xad 12345", "\xff\xfe<s>"}) {
    may_refuse([&] {
      for (const std::int64_t id : tokenizer.encode(text)) {
        static_cast<void>(tokenizer.bytes_of(id));
        static_cast<void>(tokenizer.special(id));
      }
    });
  }
  static_cast<void>(tokenizer.bytes_of(-1));
  static_cast<void>(tokenizer.describe());
  static_cast<void>(tokenizer.find("<s>"));
}
}  // namespace

/// A file of --config.
void config_text(Bytes bytes) {
  const MemoryFile file(bytes);
  may_refuse([&] {
    for (const auto& entry : launch::read_config_file(file.path())) {
      require(!entry.values.empty(), "a field without a value");
    }
  });
}

/// A file of --model.
void model_text(Bytes bytes) {
  const MemoryFile file(bytes);
  may_refuse([&] { look_at(runtime::Model::from_file(file.path())); });
}

/// Two bytes: experts and ranks; then a file of --placement.
void placement_text(Bytes bytes) {
  Input input(bytes);
  const int experts = input.between(1, 64);
  const int ranks = input.between(1, 8);
  const MemoryFile file(input.rest());
  may_refuse([&] {
    const auto placement = runtime::Placement::from_file(file.path(), experts, ranks);
    require(placement.ranks() == ranks && placement.experts() == experts, "another size");
    for (int e = 0; e < experts; ++e) require(!placement.hosts_of(e).empty(), "no host");
  });
}

/// A released config.json.
void config_json(Bytes bytes) {
  const std::string text = Input(bytes).text();
  may_refuse([&] { look_at(runtime::Model::from_config_json(text, "")); });
}

void tokenizer_json(Bytes bytes) {
  const std::string text = Input(bytes).text();
  may_refuse([&] { look_at(*runtime::json_tokenizer(text, "tokenizer.json")); });
}

/// tokenizer.model.
void sentencepiece(Bytes bytes) {
  const std::string text = Input(bytes).text();
  may_refuse([&] { look_at(*runtime::sentencepiece_tokenizer(text, "tokenizer.model")); });
}
}  // namespace switchyard::fuzz
