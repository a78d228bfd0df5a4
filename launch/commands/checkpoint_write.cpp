// SPDX-License-Identifier: Apache-2.0
// checkpoint reshard, import, export: steps in other files, from released weights and back.
#include <algorithm>
#include <charconv>
#include <limits>
#include <stdexcept>

#include "launch/commands/all.hpp"
#include "launch/commands/checkpoint_options.hpp"
#include "launch/progress.hpp"
#include "runtime/checkpoint/opening.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {

Option step_option(const std::string& name, const std::string& without) {
  return integer_option(name, "NUMBER", "a saved step; without: " + without, std::nullopt);
}

Positionals one_folder() {
  return {.unit = "DIRECTORY", .help = "a folder of checkpoints", .least = 1, .most = 1};
}

runtime::StepPath step_path(const Options& options, std::size_t positional,
                            const std::string& step) {
  return {.directory = options.positionals().at(positional),
          .step = options.has(step) ? options.integer(step) : -1};
}

std::int64_t bytes_from(const std::string& flag, const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  const int shift = unit.empty() ? 0 : unit == "K" ? 10 : unit == "M" ? 20 : unit == "G" ? 30 : -1;
  if (error != std::errc() || shift < 0 || value < 1 ||
      value > (std::numeric_limits<std::int64_t>::max() >> shift)) {
    throw std::invalid_argument("--" + flag + ": got '" + text +
                                "', want bytes, as 1000000, 64K, 256M or 4G");
  }
  return value << shift;
}

runtime::ByteProgress shown_by(Progress& progress) {
  return [&progress](std::int64_t done, std::int64_t all) { progress.at(done >> 20, all >> 20); };
}

namespace {
std::string wanted_output(const Options& options) {
  if (options.has("output")) return options.text("output");
  throw std::invalid_argument("--output: got none, want a folder");
}

/// What the program takes anyway, and what grows with the number of tensors and blocks.
void require_memory(const Options& options, std::int64_t tensors, std::int64_t bytes) {
  constexpr std::int64_t kAlways = std::int64_t{64} << 20;
  const std::int64_t needed = kAlways + 2048 * tensors + 32 * (bytes >> 20);
  const std::int64_t most = bytes_from("max-memory", options.text("max-memory"));
  if (needed <= most) return;
  throw std::invalid_argument("--max-memory: got " + options.text("max-memory") +
                              ", want at least " + std::to_string((needed >> 20) + 1) + "M");
}

std::int64_t experts_of(const runtime::Manifest& manifest) {
  std::int64_t experts = 0;
  for (const auto& tensor : manifest.tensors) experts = std::max(experts, tensor.expert + 1);
  return experts;
}

runtime::Spread spread_from(const Options& options, std::int64_t experts) {
  runtime::Spread spread{.files = static_cast<int>(options.integer("files")),
                         .overwrite = options.flag("overwrite")};
  const std::string name = options.text("placement");
  if (experts == 0 || name == "linear") return spread;
  const auto placement = runtime::Placement::from_name(name, experts, spread.files);
  for (int rank = 0; rank < placement.ranks(); ++rank) {
    const auto held = placement.experts_of(rank);
    spread.experts_of.emplace_back(held.begin(), held.end());
  }
  return spread;
}

void report(Context& context, const runtime::Manifest& manifest, const std::string& directory) {
  std::int64_t bytes = 0;
  for (const auto& shard : manifest.shards) bytes += shard.size;
  context.out << directory << ": step " << manifest.info.step << ", " << manifest.tensors.size()
              << " tensors in " << manifest.shards.size() << " files, " << bytes
              << " bytes\ncontent " << manifest.content_sha256 << '\n';
  if (!context.json.wanted()) return;
  context.json.write({{"directory", directory},
                      {"step", manifest.info.step},
                      {"tensors", manifest.tensors.size()},
                      {"files", manifest.shards.size()},
                      {"file_bytes", bytes},
                      {"content_sha256", manifest.content_sha256}});
}

int reshard(Context& context) {
  const Options& options = context.options;
  const auto files = runtime::posix_file_system();
  runtime::StepPath from = step_path(options, 0, "step");
  const std::string to = wanted_output(options);
  from.step = runtime::resolve(*files, from);
  const auto manifest = runtime::read_manifest(*files, from.directory, from.step);
  std::int64_t bytes = 0;
  for (const auto& shard : manifest.shards) bytes += shard.size;
  require_memory(options, static_cast<std::int64_t>(manifest.tensors.size()), bytes);
  const runtime::Spread spread = spread_from(options, experts_of(manifest));
  Progress progress("switchyard checkpoint reshard: MiB", context.first());
  const auto written = runtime::reshard(*files, from, to, spread, shown_by(progress));
  progress.clear();
  report(context, written, to);
  return runtime::kDone;
}

int import(Context& context) {
  const Options& options = context.options;
  const auto files = runtime::posix_file_system();
  const std::string to = wanted_output(options);
  Progress progress("switchyard checkpoint import: MiB", context.first());
  const auto written = runtime::import_released(
      *files, options.positionals()[0], to,
      {.files = static_cast<int>(options.integer("files")), .overwrite = options.flag("overwrite")},
      shown_by(progress));
  progress.clear();
  report(context, written, to);
  return runtime::kDone;
}

int export_step(Context& context) {
  const Options& options = context.options;
  const auto files = runtime::posix_file_system();
  const std::string to = wanted_output(options);
  Progress progress("switchyard checkpoint export: MiB", context.first());
  const auto exported =
      runtime::export_released(*files, step_path(options, 0, "step"), to,
                               {.file_bytes = bytes_from("file-bytes", options.text("file-bytes")),
                                .like = options.has("like") ? options.text("like") : ""},
                               shown_by(progress));
  progress.clear();
  for (const std::string& name : exported.names) context.out << to << '/' << name << '\n';
  if (context.json.wanted()) {
    context.json.write(
        {{"directory", to}, {"files", exported.names}, {"tensor_bytes", exported.bytes}});
  }
  return runtime::kDone;
}

Option files_option() {
  return integer_option("files", "COUNT", "files that hold the tensors, as if so many ranks wrote",
                        1, {.least = 1, .most = 99999});
}
Option overwrite_option() {
  return flag_option("overwrite", "replaces a good step of that number with other content there");
}
Option output_folder(const std::string& help) {
  return output_option("output", "DIRECTORY", help);
}
}  // namespace

Command checkpoint_reshard_command() {
  return {.name = "checkpoint reshard",
          .summary = "a saved step in other files, for another number of ranks",
          .options = {step_option("step"), output_folder("folder of checkpoints to write it to"),
                      files_option(),
                      text_option("placement", "linear|round-robin|FILE",
                                  "which file holds which expert, as which rank", "linear"),
                      text_option("max-memory", "BYTES", "that may be used, as 256M or 4G", "256M"),
                      overwrite_option()},
          .positionals = one_folder(),
          .run = reshard};
}

Command checkpoint_import_command() {
  return {.name = "checkpoint import",
          .summary =
              "released weights as step 0 of a folder of checkpoints; an exported run as its step",
          .options = {output_folder("folder of checkpoints to write it to"), files_option(),
                      overwrite_option()},
          .positionals = {.unit = "DIRECTORY",
                          .help = "weights in the Hugging Face layout",
                          .least = 1,
                          .most = 1},
          .run = import};
}

Command checkpoint_export_command() {
  return {.name = "checkpoint export",
          .summary = "a saved step as safetensors; one that was imported as the files it was",
          .options = {step_option("step"), output_folder("folder to make; must not exist yet"),
                      text_option("file-bytes", "BYTES",
                                  "most of a file, of a step that was not imported", "4G"),
                      text_option("like", "DIRECTORY",
                                  "of a run's step: released weights, whose tensors the run's "
                                  "replace")},
          .positionals = one_folder(),
          .run = export_step};
}
}  // namespace switchyard::launch
