// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/layout_network.hpp"

#include <algorithm>
#include <exception>
#include <stdexcept>

#include "runtime/report/digest.hpp"

namespace switchyard::runtime {
namespace {

using experts::WeightView;

/// One of the two branches that a fused matrix has among its outputs.
WeightView half_of(const WeightView& both, Halves halves, bool gate) {
  const bool first = gate != (halves == Halves::kGateSecond);
  WeightView half = both;
  half.out = both.out / 2;
  std::int64_t offset = 0;
  if (halves == Halves::kInterleaved) {
    half.out_stride = 2 * both.out_stride;
    offset = first ? 0 : both.out_stride;
  } else {
    offset = first ? 0 : half.out * both.out_stride;
  }
  half.data = static_cast<const std::byte*>(both.data) + experts::bytes_of(both.type, offset);
  half.scales.out_step = halves == Halves::kInterleaved ? 2 : 1;
  half.scales.out_first = first ? 0 : halves == Halves::kInterleaved ? 1 : half.out;
  return half;
}

std::vector<float> half_of(const std::vector<float>& both, Halves halves, bool gate) {
  const bool first = gate != (halves == Halves::kGateSecond);
  const std::size_t size = both.size() / 2;
  std::vector<float> half(size);
  for (std::size_t i = 0; i < size; ++i) {
    half[i] = halves == Halves::kInterleaved ? both[2 * i + (first ? 0 : 1)]
                                             : both[i + (first ? 0 : size)];
  }
  return half;
}

/// A trilinear unit needs a third branch, a plain one has no gate to be fused with.
bool fits_unit(const NetworkForm& form, experts::Unit unit) {
  if (unit == experts::Unit::kPlain && form.halves != Halves::kSeparate) return false;
  return form.linear.empty() == (unit != experts::Unit::kTrilinear);
}
}  // namespace

NetworkReader::NetworkReader(std::shared_ptr<const TensorSet> tensors, std::string prefix,
                             const std::vector<NetworkForm>& forms, const experts::ExpertSpec& spec,
                             std::int64_t networks, const ScaleBlocks& blocks,
                             std::set<std::string>& used)
    : tensors_(std::move(tensors)),
      prefix_(std::move(prefix)),
      spec_(spec),
      networks_(networks),
      blocks_(blocks) {
  std::vector<NetworkForm> candidates;
  for (const NetworkForm& form : forms) {
    if (fits_unit(form, spec.unit)) candidates.push_back(form);
  }
  if (candidates.empty()) {
    throw std::invalid_argument("layout: no tensors for a network of this unit under " + prefix_ +
                                ", want a family that has them");
  }
  std::exception_ptr problem;
  for (const NetworkForm& form : candidates) {
    form_ = form;
    if (!is_there()) continue;
    try {
      check();
      used.merge(names());
      return;
    } catch (const std::invalid_argument&) {
      if (!problem) problem = std::current_exception();
    }
  }
  if (problem) std::rethrow_exception(problem);
  form_ = candidates.front();
  check();  // throws: says which tensor is missing
}

void NetworkReader::add_matrix(std::vector<Part>& parts, const std::string& pattern, Order order,
                               std::int64_t out, std::int64_t in) const {
  const bool linear = order == Order::kLinear;
  std::vector<std::int64_t> shape = {linear ? out : in, linear ? in : out};
  if (form_.stack == Stack::kTensor) shape.insert(shape.begin(), networks_);
  if (form_.stack == Stack::kRows) shape.front() *= networks_;
  std::vector<std::int64_t> codes = {out, in};
  if (form_.stack != Stack::kNone) codes.insert(codes.begin(), networks_);
  parts.push_back({.pattern = pattern, .shape = shape, .codes = codes, .order = order});
}

std::vector<NetworkReader::Part> NetworkReader::parts() const {
  const bool is_fused = form_.halves != Halves::kSeparate;
  const std::int64_t gate_width = is_fused ? 2 * spec_.width : spec_.width;
  const bool has_gate = spec_.unit != experts::Unit::kPlain;
  std::vector<Part> parts;
  if (has_gate) add_matrix(parts, form_.gate, form_.order, gate_width, spec_.hidden);
  if (!is_fused) add_matrix(parts, form_.up, form_.order, spec_.width, spec_.hidden);
  if (!form_.linear.empty()) {
    add_matrix(parts, form_.linear, form_.order, spec_.width, spec_.hidden);
  }
  add_matrix(parts, form_.down, form_.down_order, spec_.hidden, spec_.width);
  if (!spec_.biases) return parts;

  const auto add_bias = [&](const std::string& pattern, std::int64_t count) {
    std::vector<std::int64_t> shape = {count};
    if (form_.stack != Stack::kNone) shape.insert(shape.begin(), networks_);
    parts.push_back({.pattern = bias_pattern(pattern), .shape = shape, .codes = {}});
  };
  if (has_gate) add_bias(form_.gate, gate_width);
  if (!is_fused) add_bias(form_.up, spec_.width);
  add_bias(form_.down, spec_.hidden);
  return parts;
}

Mxfp4Names NetworkReader::packed_names() const {
  return form_.blocks.empty() ? Mxfp4Names{} : Mxfp4Names{form_.blocks, form_.scales};
}

StoredMatrix NetworkReader::find(const std::string& pattern, std::int64_t network) const {
  return find_matrix(*tensors_, tensor_name(prefix_, pattern, network), packed_names());
}

std::set<std::string> NetworkReader::names() const {
  std::set<std::string> names;
  const std::int64_t copies = form_.stack == Stack::kNone ? networks_ : 1;
  for (const Part& part : parts()) {
    for (std::int64_t i = 0; i < copies; ++i) {
      if (part.codes.empty()) {
        names.insert(tensor_name(prefix_, part.pattern, i));
        continue;
      }
      const StoredMatrix found = find(part.pattern, i);
      names.insert(found.name);
      if (found.scales != nullptr) names.insert(found.scales_name);
    }
  }
  return names;
}

bool NetworkReader::is_there() const {
  const std::int64_t copies = form_.stack == Stack::kNone ? networks_ : 1;
  for (const Part& part : parts()) {
    for (std::int64_t i = 0; i < copies; ++i) {
      const std::string name = tensor_name(prefix_, part.pattern, i);
      const bool codes = !part.codes.empty() && has_matrix(*tensors_, name, packed_names());
      if (codes || tensors_->find(name) != nullptr) return true;
    }
  }
  return false;
}

void NetworkReader::check() const {
  const std::int64_t copies = form_.stack == Stack::kNone ? networks_ : 1;
  for (const Part& part : parts()) {
    for (std::int64_t i = 0; i < copies; ++i) {
      const std::string name = tensor_name(prefix_, part.pattern, i);
      if (part.codes.empty()) {
        require_float(tensors_->at(name), name);
        require_shape(tensors_->at(name), name, part.shape);
        continue;
      }
      const StoredMatrix found = find(part.pattern, i);
      require_shapes(found, found.scales != nullptr ? part.codes : part.shape, blocks_);
    }
  }
}

std::vector<NetworkMatrix> NetworkReader::matrices() const {
  const bool stacked = form_.stack != Stack::kNone;
  std::vector<NetworkMatrix> found;
  for (const Part& part : parts()) {
    if (part.codes.empty()) continue;
    for (std::int64_t i = 0; i < (stacked ? 1 : networks_); ++i) {
      found.push_back({.name = find(part.pattern, i).name,
                       .out = part.codes[part.codes.size() - 2],
                       .in = part.codes.back(),
                       .networks = stacked ? networks_ : 1,
                       .stacked = stacked,
                       .order = part.order});
    }
  }
  return found;
}

const Tensor& NetworkReader::tensor(const std::string& pattern, std::int64_t network) const {
  return tensors_->at(tensor_name(prefix_, pattern, network));
}

WeightView NetworkReader::matrix(Storage* storage, const std::string& pattern, Order order,
                                 std::int64_t out, std::int64_t in, std::int64_t network) const {
  const StoredMatrix found = find(pattern, network);
  const std::int64_t index = form_.stack == Stack::kNone ? 0 : network;
  if (found.scales != nullptr) {
    return storage == nullptr ? scaled_outline(found, out, in, blocks_)
                              : scaled_view(*storage, found, out, in, index, blocks_);
  }
  const bool linear = order == Order::kLinear;
  const Numbers numbers =
      storage == nullptr
          ? Numbers{.data = found.tensor->data.data(), .type = float_type(*found.tensor)}
          : storage->place(*found.tensor, index * out * in, out * in);
  return {.data = numbers.data,
          .type = numbers.type,
          .out = out,
          .in = in,
          .out_stride = linear ? in : 1,
          .in_stride = linear ? 1 : out};
}

std::vector<float> NetworkReader::bias(const std::string& pattern, std::int64_t count,
                                       std::int64_t network) const {
  const std::int64_t first = form_.stack == Stack::kNone ? 0 : network * count;
  return read_floats(tensor(bias_pattern(pattern), network), first, count);
}

void NetworkReader::require_network(std::int64_t network) const {
  if (network >= 0 && network < networks_) return;
  throw std::invalid_argument(prefix_ + ": expert " + std::to_string(network) + ", want 0 to " +
                              std::to_string(networks_ - 1));
}

experts::ExpertTensors NetworkReader::views(Storage* storage, std::int64_t network) const {
  const std::int64_t hidden = spec_.hidden;
  const std::int64_t width = spec_.width;
  experts::ExpertTensors read;
  if (form_.halves != Halves::kSeparate) {
    const WeightView both = matrix(storage, form_.gate, form_.order, 2 * width, hidden, network);
    read.gate = half_of(both, form_.halves, true);
    read.up = half_of(both, form_.halves, false);
  } else {
    if (spec_.unit != experts::Unit::kPlain) {
      read.gate = matrix(storage, form_.gate, form_.order, width, hidden, network);
    }
    read.up = matrix(storage, form_.up, form_.order, width, hidden, network);
  }
  if (!form_.linear.empty()) {
    read.linear = matrix(storage, form_.linear, form_.order, width, hidden, network);
  }
  read.down = matrix(storage, form_.down, form_.down_order, hidden, width, network);
  return read;
}

experts::ExpertTensors NetworkReader::outline(std::int64_t network) const {
  require_network(network);
  return views(nullptr, network);
}

experts::ExpertTensors NetworkReader::read(std::int64_t network) const {
  require_network(network);
  const auto storage = std::make_shared<Storage>(tensors_);
  experts::ExpertTensors read = views(storage.get(), network);
  if (spec_.biases) {
    const std::int64_t width = spec_.width;
    if (form_.halves != Halves::kSeparate) {
      const std::vector<float> both = bias(form_.gate, 2 * width, network);
      read.gate_bias = half_of(both, form_.halves, true);
      read.up_bias = half_of(both, form_.halves, false);
    } else {
      if (spec_.unit != experts::Unit::kPlain) read.gate_bias = bias(form_.gate, width, network);
      read.up_bias = bias(form_.up, width, network);
    }
    read.down_bias = bias(form_.down, spec_.hidden, network);
  }
  read.keep_alive = storage;
  return read;
}

std::string NetworkReader::identity(std::int64_t network) const {
  require_network(network);
  constexpr std::size_t kSample = 4096;
  const bool stacked = form_.stack != Stack::kNone;
  std::string text = "halves " + std::to_string(static_cast<int>(form_.halves)) + ", orders " +
                     std::to_string(static_cast<int>(form_.order)) +
                     std::to_string(static_cast<int>(form_.down_order)) + ", network " +
                     std::to_string(stacked ? network : 0) + ", scales of " +
                     std::to_string(blocks_.out) + " x " + std::to_string(blocks_.in) + "\n";
  const auto add = [&](const std::string& name, const Tensor& of) {
    const std::size_t bytes =
        of.data.size() / static_cast<std::size_t>(stacked ? networks_ : std::int64_t{1});
    const auto mine =
        of.data.subspan(stacked ? static_cast<std::size_t>(network) * bytes : 0, bytes);
    const std::size_t count = std::min(kSample, bytes);
    const auto sample = mine.subspan((bytes - count) / 2, count);
    text += name + " " + of.dtype;
    for (const std::int64_t extent : of.shape) text += " " + std::to_string(extent);
    text += " " + (of.origin == nullptr ? std::string() : *of.origin) + " " +
            sha256({reinterpret_cast<const char*>(sample.data()), sample.size()}) + "\n";
  };
  for (const Part& part : parts()) {
    if (part.codes.empty()) {
      add(tensor_name(prefix_, part.pattern, network), tensor(part.pattern, network));
      continue;
    }
    const StoredMatrix found = find(part.pattern, network);
    add(found.name, *found.tensor);
    if (found.scales != nullptr) add(found.scales_name, *found.scales);
  }
  return text;
}
}  // namespace switchyard::runtime
