// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What `generate` and `eval` have in common: a whole model, of a checkpoint or synthetic, and its
/// tokenizer.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/command.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/generate/language_model.hpp"
#include "runtime/generate/routing_load.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/packing/whole_model.hpp"
#include "runtime/serve/keeper.hpp"
#include "runtime/text/tokenizer.hpp"

namespace switchyard::launch {

/// --checkpoint, --model, --set, --layers, --tokenizer, --routing-stats, and those of
/// layer_options, math_options and pack_options.
[[nodiscard]] std::vector<Option> whole_model_options();
/// Before the ranks talk: the model's digest.
/// @throws std::invalid_argument  neither --checkpoint nor --model, or both
[[nodiscard]] std::vector<comm::Field> prepare_whole_model(const Options& options);

/// Whether the layers go on when ranks are lost; and if so, whether this rank waits for that.
enum class Served { kNot, kWorker, kSpare };

/// The model over all ranks. Collective.
struct WholeModel {
  /// @param use  checked against the memory of this rank before anything is loaded
  WholeModel(Context& context, const std::function<runtime::ModelUse(const runtime::Model&)>& use,
             Served served = Served::kNot);
  std::optional<runtime::Checkpoint> checkpoint;  ///< none: weights are synthetic
  runtime::Model of;
  runtime::LayerOptions layer;
  std::unique_ptr<runtime::TransformerModel> model;
  std::unique_ptr<runtime::ModelWeights> weights;  ///< of a served one, to load from again
  double load_s = 0;                               ///< slowest rank
  double weight_bytes = 0;                         ///< largest rank
  [[nodiscard]] std::string describe() const;      ///< "mixtral, 2 layers"
  /// Of a served one.
  [[nodiscard]] runtime::KeptLayers kept() const;
  /// What packing has cost, also on stderr if it was done as needed. Collective.
  /// @param steps_s  of all steps since it was loaded, slowest rank
  [[nodiscard]] runtime::PackReport packing(Context& context, double steps_s) const;
};

/// The ids that end a sequence: the checkpoint's; of a synthetic model nothing does.
[[nodiscard]] runtime::TokenIds ends_of(const WholeModel& whole, const Options& options);

/// The checkpoint's tokenizer. For ids alone (`needed` false) there may be none: nothing then.
[[nodiscard]] std::optional<runtime::TextRules> tokenizer_of(const Options& options, bool needed);

void print_row(std::ostream& out, std::string name, const std::string& value);
[[nodiscard]] std::string fixed(double value, int digits);

/// Model, ranks, kernels and weights: the rows and keys that both commands begin with.
void print_whole(const WholeModel& whole, int ranks, const runtime::PackReport& packing,
                 std::ostream& out);
[[nodiscard]] nlohmann::ordered_json whole_json(const WholeModel& whole,
                                                const runtime::PackReport& packing);
/// --routing-stats: a line a layer.
void print_routing(const std::vector<runtime::LayerLoad>& layers, std::ostream& out);
[[nodiscard]] nlohmann::ordered_json routing_json(const std::vector<runtime::LayerLoad>& layers);
}  // namespace switchyard::launch
