// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace/writer.hpp"

#include <span>
#include <stdexcept>
#include <utility>

#include "comm/base/crc32c.hpp"
#include "runtime/trace/format.hpp"

namespace switchyard::runtime {
namespace {
std::span<const std::byte> bytes_in(std::string_view text) {
  return std::as_bytes(std::span(text));
}
}  // namespace

TraceWriter::TraceWriter(std::string what, std::string file, TraceInfo info)
    : info_(std::move(info)), file_(std::move(what), std::move(file)) {
  const std::string header = encode_trace_header(info_);
  content_ = comm::crc32c(bytes_in(header));
  write(header);
}

void TraceWriter::add(std::int64_t step, const TraceLayer& layer) {
  require_order(step);
  const std::int64_t index = frames_ % info_.layers;
  if (const auto wrong = wrong_with(info_, layer)) {
    throw std::invalid_argument("trace: step " + std::to_string(step) + ", layer " +
                                std::to_string(index) + ": " + *wrong);
  }
  const std::string frame = encode_trace_layer(info_, {.layer = index, .step = step}, layer);
  content_ = comm::crc32c(bytes_in(frame).first(kTraceFrame), content_);
  write(frame);
  last_step_ = step;
  ++frames_;
}

void TraceWriter::add(const TraceStep& step) {
  if (static_cast<std::int64_t>(step.layers.size()) != info_.layers) {
    throw std::invalid_argument("trace: step " + std::to_string(step.number) + " has " +
                                std::to_string(step.layers.size()) + " layers, want " +
                                std::to_string(info_.layers));
  }
  for (const TraceLayer& layer : step.layers) add(step.number, layer);
}

void TraceWriter::finish() {
  if (frames_ % info_.layers != 0) {
    throw std::invalid_argument("trace: step " + std::to_string(last_step_) + " has " +
                                std::to_string(frames_ % info_.layers) + " layers, want " +
                                std::to_string(info_.layers));
  }
  write(encode_trace_trailer(
      {.steps = frames_ / info_.layers, .frames = frames_, .content = content_}));
  file_.commit();
}

void TraceWriter::write(const std::string& bytes) {
  file_.write(bytes_in(bytes));
  bytes_ += std::ssize(bytes);
}

void TraceWriter::require_order(std::int64_t step) const {
  const bool begins = frames_ % info_.layers == 0;
  if (begins ? step > last_step_ : step == last_step_) return;
  throw std::invalid_argument("trace: step " + std::to_string(step) + " after " +
                              std::to_string(last_step_) + ", want " +
                              (begins ? "a larger one" : "its other layers first"));
}

void write_routing_trace(const std::string& file, const RoutingTrace& trace) {
  TraceWriter writer("trace", file, trace.info);
  for (const TraceStep& step : trace.steps) writer.add(step);
  writer.finish();
}
}  // namespace switchyard::runtime
