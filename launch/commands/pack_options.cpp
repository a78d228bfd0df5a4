// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/pack_options.hpp"

#include "launch/machine.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
constexpr double kGibibyte = 1024.0 * 1024 * 1024;
constexpr double kMostGibibytes = 1 << 24;
}  // namespace

std::vector<Option> pack_options() {
  std::vector<std::string> modes;
  for (const auto mode : runtime::pack_modes()) modes.emplace_back(name_of(mode));
  return {
      choice_option("pack", modes,
                    "when a rank packs its experts: eager, ahead; lazy, as a step needs them; "
                    "auto: those of a checkpoint that do not fit into memory as needed",
                    std::string(name_of(runtime::PackMode::kAuto))),
      text_option("pack-cache", "DIRECTORY",
                  "keeps packed experts, which are mapped from there the next time"),
      real_option("memory-per-rank", "GIB",
                  "that weights, caches and rows of a rank may fill; "
                  "without: its part of what the machine has",
                  std::nullopt, {.most = kMostGibibytes, .above = true}),
  };
}

std::int64_t memory_of(const Options& options) {
  if (!options.has("memory-per-rank")) return memory_of_one_rank();
  return static_cast<std::int64_t>(options.real("memory-per-rank") * kGibibyte);
}

std::shared_ptr<runtime::PackCache> pack_cache_of(Context& context) {
  if (!context.options.has("pack-cache")) return nullptr;
  std::shared_ptr<runtime::PackCache> cache;
  runtime::together(context.group(), [&] {
    cache = std::make_shared<runtime::PackCache>(
        context.options.text("pack-cache"),
        [&reporter = context.reporter](const std::string& text) { reporter.warning(text); });
  });
  return cache;
}

runtime::Packing settle_packing(Context& context, const runtime::Model& model,
                                const runtime::ModelUse& use, runtime::LayerOptions& layer) {
  const auto mode = runtime::pack_mode_from(context.options.text("pack"));
  return runtime::settle_packing(context.group(), model, use, mode, memory_of(context.options),
                                 layer);
}

void put(nlohmann::ordered_json& json, const runtime::PackReport& report) {
  json["packing"] = {{"experts", report.experts},     {"as_needed", report.as_needed},
                     {"cache_read", report.read},     {"cache_written", report.written},
                     {"as_needed_s", report.seconds}, {"slowdown", report.slowdown}};
}
}  // namespace switchyard::launch
