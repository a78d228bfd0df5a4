// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace/reader.hpp"

#include <cerrno>
#include <fcntl.h>
#include <stdexcept>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "comm/base/crc32c.hpp"
#include "experts/index.hpp"
#include "runtime/trace/payload.hpp"

namespace switchyard::runtime {
namespace {
[[noreturn]] void fail_reading(int error, const std::string& file) {
  throw std::system_error(error, std::generic_category(), "trace: cannot read " + file);
}

/// -1: not to be opened; the reason is in errno.
int open_regular(const std::string& file, std::int64_t& bytes) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return -1;
  struct stat status {};
  if (::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) {
    bytes = status.st_size;
    return descriptor;
  }
  const int error = S_ISDIR(status.st_mode) ? EISDIR : ESPIPE;
  ::close(descriptor);
  errno = error;
  return -1;
}
}  // namespace

TraceReader::TraceReader(std::string file) : file_(std::move(file)) {
  descriptor_ = open_regular(file_, file_bytes_);
  if (descriptor_ < 0) fail_reading(errno, file_);
  try {
    read_index();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

TraceReader::~TraceReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

TraceReader::TraceReader(TraceReader&& other) noexcept
    : file_(std::move(other.file_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      file_bytes_(other.file_bytes_),
      payload_bytes_(other.payload_bytes_),
      info_(std::move(other.info_)),
      numbers_(std::move(other.numbers_)),
      entries_(std::move(other.entries_)),
      content_(other.content_) {}

void TraceReader::read_index() {
  const TracePlace start{file_, 0};
  if (file_bytes_ < std::int64_t{kTraceHead + 4 + kTraceTrailer}) {
    start.refuse("got a file of " + std::to_string(file_bytes_) + " bytes, want a routing trace");
  }
  const auto length = trace_header_length(bytes(0, kTraceHead), file_bytes_, start);
  const auto header = bytes(0, length + std::int64_t{kTraceHead + 4});
  info_ = decode_trace_header(header, start);
  std::uint32_t content = comm::crc32c(header);
  auto offset = std::ssize(header);
  for (;;) {
    const std::int64_t left = file_bytes_ - offset;
    if (left < std::int64_t{kTraceTrailer}) {
      TracePlace{file_, offset}.refuse(
          "the file ends here, want a frame or the trailer: it has been cut");
    }
    const auto head = bytes(offset, std::min<std::int64_t>(left, kTraceFrame));
    if (is_trace_trailer(head)) return end(head, offset, content);
    if (left < std::int64_t{kTraceFrame + kTraceTrailer}) {
      TracePlace{file_, offset}.refuse("the file ends inside a frame, want " +
                                       std::to_string(kTraceFrame) +
                                       " bytes of it and the trailer: it has been cut");
    }
    const TraceFrame frame = decode_trace_frame(
        head, info_, left - std::int64_t{kTraceFrame + kTraceTrailer}, {file_, offset});
    add(frame, offset);
    content = comm::crc32c(head, content);
    offset += std::int64_t{kTraceFrame} + frame.stored;
  }
}

void TraceReader::add(const TraceFrame& frame, std::int64_t offset) {
  const TracePlace place{file_, offset};
  const std::int64_t want = std::ssize(entries_) % info_.layers;
  if (frame.layer != want) {
    place.refuse("layer, got " + std::to_string(frame.layer) + ", want " + std::to_string(want));
  }
  if (want == 0) {
    if (!numbers_.empty() && frame.step <= numbers_.back()) {
      place.refuse("step, got " + std::to_string(frame.step) + " after " +
                   std::to_string(numbers_.back()) + ", want them to rise");
    }
    numbers_.push_back(frame.step);
  } else if (frame.step != numbers_.back()) {
    place.refuse("step, got " + std::to_string(frame.step) + " in layer " + std::to_string(want) +
                 ", want " + std::to_string(numbers_.back()) + " as in layer 0");
  }
  payload_bytes_ += frame.payload;
  entries_.push_back({.offset = offset + std::int64_t{kTraceFrame},
                      .stored = frame.stored,
                      .tokens = frame.tokens,
                      .checksum = frame.checksum});
}

void TraceReader::end(std::span<const std::byte> head, std::int64_t offset, std::uint32_t content) {
  const TracePlace place{file_, offset};
  const TraceTrailer trailer = decode_trace_trailer(head.first(kTraceTrailer), place);
  const std::int64_t after = file_bytes_ - offset - std::int64_t{kTraceTrailer};
  if (after != 0) {
    TracePlace{file_, offset + std::int64_t{kTraceTrailer}}.refuse(
        "got " + std::to_string(after) + " bytes after the trailer, want none");
  }
  if (std::ssize(entries_) % info_.layers != 0) {
    place.refuse("the last step has " + std::to_string(std::ssize(entries_) % info_.layers) +
                 " layers, want " + std::to_string(info_.layers));
  }
  if (trailer.steps != steps() || trailer.frames != std::ssize(entries_)) {
    place.refuse("trailer of " + std::to_string(trailer.steps) + " steps and " +
                 std::to_string(trailer.frames) + " frames, want " + std::to_string(steps()) +
                 " and " + std::to_string(entries_.size()) + ", which the file has");
  }
  if (trailer.content != content) {
    place.refuse("trailer of other frames, want the one that was written behind these");
  }
  content_ = content;
}

std::int64_t TraceReader::number(std::int64_t step) const {
  return numbers_.at(at(step));
}

std::int64_t TraceReader::tokens(std::int64_t step, std::int64_t layer) const {
  return entry(step, layer).tokens;
}

std::int64_t TraceReader::tokens(std::int64_t step) const {
  const std::int64_t first = tokens(step, 0);
  for (std::int64_t layer = 1; layer < info_.layers; ++layer) {
    if (tokens(step, layer) == first) continue;
    throw std::invalid_argument(file_ + ": step " + std::to_string(number(step)) + " has " +
                                std::to_string(first) + " tokens in layer 0 and " +
                                std::to_string(tokens(step, layer)) + " in layer " +
                                std::to_string(layer) + ", want the same in all");
  }
  return first;
}

const TraceReader::Entry& TraceReader::entry(std::int64_t step, std::int64_t layer) const {
  if (step < 0 || step >= steps() || layer < 0 || layer >= info_.layers) {
    throw std::invalid_argument(file_ + ": step " + std::to_string(step) + " and layer " +
                                std::to_string(layer) + ", want below " + std::to_string(steps()) +
                                " and " + std::to_string(info_.layers));
  }
  return entries_[at(step * info_.layers + layer)];
}

std::vector<std::byte> TraceReader::bytes(std::int64_t offset, std::int64_t count) const {
  std::vector<std::byte> read(at(count));
  std::int64_t done = 0;
  while (done < count) {
    const ssize_t got = ::pread(descriptor_, read.data() + done, at(count - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_reading(errno, file_);
    if (got == 0)
      TracePlace{file_, offset + done}.refuse("the file became shorter while it was read");
    done += got;
  }
  return read;
}

TraceLayer TraceReader::layer(std::int64_t step, std::int64_t layer) {
  const Entry& frame = entry(step, layer);
  const auto payload = runtime::payload_bytes(info_, frame.tokens);
  return decode_trace_layer(info_,
                            {.layer = layer,
                             .step = number(step),
                             .tokens = frame.tokens,
                             .payload = payload.value_or(0),
                             .stored = frame.stored,
                             .checksum = frame.checksum},
                            bytes(frame.offset, frame.stored), {file_, frame.offset});
}

TraceStep TraceReader::read(std::int64_t step) {
  TraceStep result;
  result.number = number(step);
  for (std::int64_t i = 0; i < info_.layers; ++i) result.layers.push_back(layer(step, i));
  return result;
}

RoutingTrace read_trace(const std::string& file) {
  TraceReader reader(file);
  RoutingTrace trace;
  trace.info = reader.info();
  for (std::int64_t step = 0; step < reader.steps(); ++step) {
    trace.steps.push_back(reader.read(step));
  }
  return trace;
}

TraceLoad load_of(TraceReader& trace, std::int64_t first, std::int64_t steps) {
  if (first < 0 || steps < 0 || first > trace.steps() || steps > trace.steps() - first) {
    throw std::invalid_argument(trace.file() + ": steps " + std::to_string(first) + " to " +
                                std::to_string(first + steps - 1) + ", want within the " +
                                std::to_string(trace.steps()) + " steps");
  }
  TraceLoad load(at(trace.info().layers), std::vector<std::int64_t>(at(trace.info().experts)));
  for (std::int64_t step = first; step < first + steps; ++step) add_load(load, trace.read(step));
  return load;
}
}  // namespace switchyard::runtime
