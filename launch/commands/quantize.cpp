// SPDX-License-Identifier: Apache-2.0
// quantize: a checkpoint with experts in a smaller type, and what that costs.
#include "runtime/quantize/quantize.hpp"

#include <cstdio>

#include "launch/commands/all.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
int quantize(Context& context) {
  const Options& options = context.options;
  for (const char* name : {"checkpoint", "output"}) {
    if (options.has(name)) continue;
    throw std::invalid_argument("--" + std::string(name) + ": got none, want a folder");
  }
  const auto layers = runtime::quantize_checkpoint(
      options.text("checkpoint"), experts::dtype_from(options.text("to")), options.text("output"));
  auto list = nlohmann::ordered_json::array();
  char line[128];
  std::snprintf(line, sizeof line, "%5s  %14s  %12s  %12s  %10s  %10s\n", "layer", "weights",
                "error of rms", "largest", "MB before", "MB after");
  context.out << line;
  for (const runtime::QuantizedLayer& layer : layers) {
    std::snprintf(line, sizeof line, "%5lld  %14lld  %12.6f  %12.6f  %10.3f  %10.3f\n",
                  static_cast<long long>(layer.layer), static_cast<long long>(layer.weights),
                  layer.rms_error, layer.largest_error,
                  1e-6 * static_cast<double>(layer.bytes_before),
                  1e-6 * static_cast<double>(layer.bytes_after));
    context.out << line;
    list.push_back({{"layer", layer.layer},
                    {"weights", layer.weights},
                    {"rms_error_of_rms", layer.rms_error},
                    {"largest_error_of_rms", layer.largest_error},
                    {"bytes_before", layer.bytes_before},
                    {"bytes_after", layer.bytes_after}});
  }
  if (context.json.wanted()) context.json.write({{"to", options.text("to")}, {"layers", list}});
  return runtime::kDone;
}
}  // namespace

Command quantize_command() {
  return {.name = "quantize",
          .summary = "a checkpoint with its experts in int8, FP8 or MXFP4, and what that costs",
          .options = {text_option("checkpoint", "DIRECTORY",
                                  "weights in the Hugging Face layout, experts in floats"),
                      choice_option("to", {"int8", "fp8", "mxfp4"},
                                    "type of the routed experts' matrices", "fp8"),
                      output_option("output", "DIRECTORY", "folder to make; must not exist yet")},
          .run = quantize};
}
}  // namespace switchyard::launch
