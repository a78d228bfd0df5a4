// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One MoE system as data: its shape, its router, its published figures. Presets, files in protobuf
/// text format and released config.json files all become this; everything else reads it.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "experts/weights.hpp"

namespace switchyard::model::v1 {
class Model;  // generated from model.proto; seen by .cpp files only
}

namespace switchyard::runtime {

/// A tensor of the whole model, by the name and shape of its released checkpoint.
struct TensorShape {
  std::string name;
  std::vector<std::int64_t> shape;
  [[nodiscard]] std::int64_t elements() const;
};

struct ParameterCount {
  std::int64_t total = 0;
  std::int64_t active = 0;             ///< every weight a token can touch, both embeddings included
  std::int64_t active_less_input = 0;  ///< without the input embedding (a lookup)
  std::int64_t active_less_embeddings = 0;  ///< without both embedding matrices
};

/// Value type; copies are cheap (shared and immutable inside, set() copies first).
class Model {
 public:
  /// A preset compiled into the program, by its name or any unique beginning ("olmoe").
  /// @throws std::invalid_argument  "model: got 'olmo2', want one of ...; nearest is
  /// olmoe-1b-7b-0924"
  [[nodiscard]] static Model preset(std::string_view name);
  [[nodiscard]] static std::vector<std::string> preset_names();
  /// Protobuf text format. @throws std::invalid_argument with file, line and column
  [[nodiscard]] static Model from_file(const std::filesystem::path& file);
  /// A preset's name, or a file that exists.
  [[nodiscard]] static Model from_name_or_file(const std::string& name_or_file);
  /// A released config.json (or the `config` of a golden file, where keys may be missing).
  /// @param family  "" to read model_type or architectures from the json
  [[nodiscard]] static Model from_config_json(std::string_view json, std::string_view family);

  Model(const Model&);
  Model& operator=(const Model&);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  /// Changes one field: "top_k=7". Names are those of model.proto.
  /// @throws std::invalid_argument  "--set topk=7: no such field, nearest is top_k"
  void set(std::string_view assignment);
  /// The same model with its first `count` layers only.
  /// @throws std::invalid_argument  "--layers: got 2, want 4 to 61: layer 3 is the first with
  /// experts"
  [[nodiscard]] Model first_layers(std::int64_t count) const;
  /// Checks that the shape can exist. @throws std::invalid_argument naming the field
  void validate() const;

  [[nodiscard]] std::string name() const;
  [[nodiscard]] std::string family() const;
  [[nodiscard]] std::int64_t num_layers() const;
  [[nodiscard]] std::int64_t num_moe_layers() const;
  /// Layer numbers (from 0) of the MoE layers, in order.
  [[nodiscard]] std::vector<std::int64_t> moe_layers() const;
  /// Router, experts and always-on parts of one MoE layer. Dropless: capacity is the caller's wish.
  [[nodiscard]] experts::BlockSpec block() const;
  [[nodiscard]] bool router_bias() const;
  [[nodiscard]] bool selection_bias() const;
  /// Every tensor, as loader and synthetic model use them; counts are sums over this list.
  [[nodiscard]] std::vector<TensorShape> tensors() const;
  [[nodiscard]] ParameterCount parameters() const;
  /// Canonical protobuf text: equal models have equal text. For digests and reports.
  [[nodiscard]] std::string text() const;
  [[nodiscard]] const switchyard::model::v1::Model& message() const { return *message_; }

 private:
  explicit Model(switchyard::model::v1::Model message);
  std::shared_ptr<const switchyard::model::v1::Model> message_;
};
}  // namespace switchyard::runtime
