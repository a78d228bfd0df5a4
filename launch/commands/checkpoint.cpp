// SPDX-License-Identifier: Apache-2.0
// checkpoint info, verify, diff: what is saved in a folder, and whether it is good.
#include <map>

#include "launch/commands/all.hpp"
#include "launch/commands/checkpoint_options.hpp"
#include "launch/progress.hpp"
#include "runtime/checkpoint/opening.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "runtime/checkpoint/tools/tools.hpp"
#include "runtime/checkpoint/verify.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
using Json = nlohmann::ordered_json;

Json tensors_of(const runtime::Manifest& manifest) {
  Json tensors = Json::array();
  for (const auto& tensor : manifest.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"type", std::string(runtime::name_of(tensor.type))},
                       {"shape", tensor.shape},
                       {"layer", tensor.layer},
                       {"expert", tensor.expert}});
  }
  return tensors;
}

int info(Context& context) {
  const auto files = runtime::posix_file_system();
  const runtime::StepPath path = step_path(context.options, 0, "step");
  const std::int64_t step = runtime::resolve(*files, path);
  const runtime::Manifest manifest = runtime::read_step(*files, path.directory, step);
  std::int64_t bytes = 0;
  std::int64_t file_bytes = 0;
  std::map<std::string, std::int64_t> types;
  for (const auto& tensor : manifest.tensors) {
    bytes += tensor.bytes();
    types[std::string(runtime::name_of(tensor.type))] += tensor.bytes();
  }
  for (const auto& shard : manifest.shards) file_bytes += shard.size;
  const auto steps = runtime::saved_steps(*files, path.directory);
  const auto& about = manifest.info;
  Json json{{"directory", path.directory},
            {"steps", steps},
            {"step", step},
            {"run_id", about.run_id},
            {"incarnation", about.incarnation},
            {"program_version", about.program_version},
            {"model", about.model_name},
            {"model_sha256", about.model_sha256},
            {"seed", about.seed},
            {"files", manifest.shards.size()},
            {"file_bytes", file_bytes},
            {"tensors", manifest.tensors.size()},
            {"tensor_bytes", bytes},
            {"bytes_of_types", types},
            {"placement_epoch", about.placement_epoch},
            {"content_sha256", manifest.content_sha256}};
  context.out << "step            " << step << " of";
  for (const std::int64_t each : steps) context.out << ' ' << each;
  context.out << "\nrun             " << about.run_id << ", start " << about.incarnation
              << ", version " << about.program_version << "\nmodel           " << about.model_name
              << "\ntensors         " << manifest.tensors.size() << ", " << bytes << " bytes:";
  for (const auto& [type, count] : types) context.out << ' ' << type << ' ' << count;
  context.out << "\nfiles           " << manifest.shards.size() << ", " << file_bytes
              << " bytes\ncontent         " << manifest.content_sha256 << '\n';
  if (context.options.flag("tensors")) {
    json["list"] = tensors_of(manifest);
    for (const auto& tensor : manifest.tensors) {
      context.out << tensor.name << ' ' << runtime::name_of(tensor.type);
      for (const std::int64_t extent : tensor.shape) context.out << ' ' << extent;
      context.out << '\n';
    }
  }
  if (context.json.wanted()) context.json.write(json);
  return runtime::kDone;
}

int verify(Context& context) {
  const auto files = runtime::posix_file_system();
  const runtime::StepPath path = step_path(context.options, 0, "step");
  const std::int64_t newest = runtime::resolve(*files, path);
  const auto steps = path.step >= 0 ? std::vector<std::int64_t>{newest}
                                    : runtime::saved_steps(*files, path.directory);
  Json list = Json::array();
  bool good = true;
  for (const std::int64_t step : steps) {
    Progress progress("switchyard checkpoint verify: step " + std::to_string(step) + ", MiB",
                      context.first());
    const auto verdict =
        runtime::verify_checkpoint(*files, path.directory, step, shown_by(progress));
    progress.clear();
    good = good && verdict.good();
    context.out << "step " << step << ": "
                << (verdict.good() ? "good"
                                   : std::to_string(verdict.good_tensors) + " of " +
                                         std::to_string(verdict.tensors) + " tensors good")
                << ", " << verdict.bytes << " bytes read\n";
    Json findings = Json::array();
    for (const auto& finding : verdict.findings) {
      context.out << "  " << finding.words << '\n';
      findings.push_back({{"file", finding.file},
                          {"part", finding.part},
                          {"offset", finding.offset},
                          {"block", finding.block},
                          {"tensor", finding.tensor},
                          {"message", finding.words}});
    }
    list.push_back({{"step", step},
                    {"good", verdict.good()},
                    {"tensors", verdict.tensors},
                    {"good_tensors", verdict.good_tensors},
                    {"bytes", verdict.bytes},
                    {"findings", findings}});
  }
  if (context.json.wanted()) context.json.write({{"good", good}, {"steps", list}});
  return good ? runtime::kDone : runtime::kCheckFailed;
}

int diff(Context& context) {
  const auto files = runtime::posix_file_system();
  const Options& options = context.options;
  Progress progress("switchyard checkpoint diff: MiB", context.first());
  const auto differences =
      runtime::compare(*files, step_path(options, 0, "step"), step_path(options, 1, "other-step"),
                       shown_by(progress));
  progress.clear();
  Json list = Json::array();
  for (const auto& difference : differences) {
    context.out << difference.tensor << ": " << difference.words << '\n';
    list.push_back({{"tensor", difference.tensor}, {"what", difference.words}});
  }
  if (differences.empty()) context.out << "equal, bit by bit\n";
  if (context.json.wanted()) {
    context.json.write({{"equal", differences.empty()}, {"differences", list}});
  }
  return differences.empty() ? runtime::kDone : runtime::kCheckFailed;
}
}  // namespace

Command checkpoint_info_command() {
  return {.name = "checkpoint info",
          .summary = "what a folder of checkpoints holds",
          .options = {step_option("step"), flag_option("tensors", "lists every tensor")},
          .positionals = one_folder(),
          .run = info};
}

Command checkpoint_verify_command() {
  return {.name = "checkpoint verify",
          .summary = "reads every byte of a folder of checkpoints, and says what is good",
          .options = {step_option("step", "all")},
          .positionals = one_folder(),
          .run = verify};
}

Command checkpoint_diff_command() {
  return {.name = "checkpoint diff",
          .summary = "compares two saved steps, bit by bit",
          .options = {step_option("step"), step_option("other-step")},
          .positionals = {.unit = "DIRECTORY",
                          .help = "two folders of checkpoints, or one twice",
                          .least = 2,
                          .most = 2},
          .run = diff};
}
}  // namespace switchyard::launch
