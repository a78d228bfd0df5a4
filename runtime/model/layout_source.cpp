// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/layout_source.hpp"

#include <optional>
#include <stdexcept>

#include "runtime/model/layout.hpp"
#include "runtime/model/layout_network.hpp"
#include "runtime/model/tensor_views.hpp"

namespace switchyard::runtime {
namespace {

/// Far above every model, and small enough that no product of them overflows on its way to a check.
constexpr std::int64_t kMaxExtent = std::int64_t{1} << 30U;

void check_extents(const experts::BlockSpec& spec) {
  const auto check = [](const char* what, std::int64_t extent, std::int64_t least) {
    if (extent >= least && extent <= kMaxExtent) return;
    throw std::invalid_argument(std::string("layout: ") + what + ", got " + std::to_string(extent) +
                                ", want " + std::to_string(least) + " to 2^30");
  };
  check("experts", spec.router.experts, 1);
  check("identity experts", spec.router.identity, 0);
  check("hidden of the router", spec.router.hidden, 1);
  for (const auto& network : {std::optional(spec.expert), spec.shared, spec.dense}) {
    if (!network) continue;
    check("hidden of a network", network->hidden, 1);
    check("width of a network", network->width, 1);
  }
}

/// A matrix outside the experts that was found and checked. An empty name: the block has none.
struct NamedMatrix {
  std::string name;
  Order order = Order::kLinear;
  std::int64_t out = 0;
  std::int64_t in = 0;
};

/// Tensors of one block by full name; remembers which were claimed.
class Claims {
 public:
  explicit Claims(const TensorSet& tensors) : tensors_(tensors) {}

  NamedMatrix matrix(std::string name, Order order, std::int64_t out, std::int64_t in) {
    const Tensor& tensor = tensors_.at(name);
    require_float(tensor, name);
    require_shape(tensor, name,
                  order == Order::kLinear ? std::vector{out, in} : std::vector{in, out});
    used.insert(name);
    return {.name = std::move(name), .order = order, .out = out, .in = in};
  }

  /// A vector of `size`, which some families store as one row.
  std::string vector(std::string name, std::int64_t size) {
    const Tensor& tensor = tensors_.at(name);
    require_float(tensor, name);
    if (tensor.shape != std::vector<std::int64_t>{1, size}) require_shape(tensor, name, {size});
    used.insert(name);
    return name;
  }

  std::set<std::string> used;

 private:
  const TensorSet& tensors_;
};

class BlockSource final : public experts::WeightSource {
 public:
  BlockSource(std::shared_ptr<const TensorSet> tensors, const BlockPlace& place,
              const experts::BlockSpec& spec, bool router_bias, bool selection_bias,
              std::set<std::string>& used)
      : tensors_(std::move(tensors)),
        place_(place),
        layout_(layout_of(place.family)),
        own_(tensors_) {
    check_extents(spec);
    Claims claims(*tensors_);
    claim_router(claims, spec.router, router_bias, selection_bias);
    const std::int64_t hidden = spec.router.hidden;
    if (spec.shared_gate != experts::SharedGate::kNone) {
      const std::string name = full(layout_.shared_gate, "gate of its shared expert");
      shared_gate_ = view(own_, claims.matrix(name, Order::kLinear, 1, hidden));
    }
    if (spec.output_bias) {
      output_bias_ = claims.vector(full(layout_.output_bias, "output bias"), hidden);
    }
    used.merge(claims.used);
    const auto reader = [&](const std::vector<NetworkForm>& forms, const char* what,
                            const experts::ExpertSpec& of, std::int64_t networks) {
      if (forms.empty()) refuse(what);
      return NetworkReader(tensors_, place_.prefix, forms, of, networks, place_.blocks, used);
    };
    experts_.emplace(reader(layout_.experts, "experts", spec.expert, spec.router.experts));
    if (spec.shared) shared_.emplace(reader(layout_.shared, "shared expert", *spec.shared, 1));
    if (spec.dense) dense_.emplace(reader(layout_.dense, "dense branch", *spec.dense, 1));
  }

  [[nodiscard]] experts::RouterTensors router() override {
    const auto storage = std::make_shared<Storage>(tensors_);
    experts::RouterTensors read;
    read.weight = view(*storage, weight_);
    read.second = view(*storage, second_);
    read.third = view(*storage, third_);
    read.bias = floats(router_bias_);
    read.selection_bias = floats(selection_bias_);
    read.keep_alive = storage;
    return read;
  }
  [[nodiscard]] experts::ExpertTensors expert(std::int64_t logical) override {
    return experts_->read(logical);
  }
  [[nodiscard]] experts::ExpertTensors outline(std::int64_t logical) override {
    return experts_->outline(logical);
  }
  [[nodiscard]] std::string identity(std::int64_t logical) override {
    return experts_->identity(logical);
  }
  [[nodiscard]] experts::ExpertTensors shared() override {
    return shared_ ? shared_->read(0) : experts::ExpertTensors{};
  }
  [[nodiscard]] experts::WeightView shared_gate() override { return shared_gate_; }
  [[nodiscard]] experts::ExpertTensors dense() override {
    return dense_ ? dense_->read(0) : experts::ExpertTensors{};
  }
  [[nodiscard]] std::vector<float> output_bias() override { return floats(output_bias_); }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw std::invalid_argument("layout: family " + place_.family + " has no tensor for the " +
                                what + ", want a model without one");
  }

  /// The full name of a pattern, which must be one.
  [[nodiscard]] std::string full(const std::string& pattern, const std::string& what) const {
    if (pattern.empty()) refuse(what);
    return tensor_name(place_.prefix, pattern, 0);
  }

  void claim_router(Claims& claims, const experts::RouterSpec& spec, bool router_bias,
                    bool selection_bias) {
    RouterForm form = layout_.routers.front();
    for (const RouterForm& candidate : layout_.routers) {
      if (tensors_->find(full(candidate.weight, "router")) == nullptr) continue;
      form = candidate;
      break;
    }
    const std::int64_t logits = spec.all_experts();
    const bool is_mlp = spec.logits == experts::Logits::kMlpTanh;
    const std::string name = place_.router.empty() ? full(form.weight, "router") : place_.router;
    weight_ = claims.matrix(name, form.order, logits, spec.hidden);
    if (spec.logits != experts::Logits::kLinear) {
      second_ = claims.matrix(full(form.second, "router's second matrix"), form.order, logits,
                              is_mlp ? logits : spec.hidden);
    }
    if (spec.logits == experts::Logits::kAttention) {
      third_ =
          claims.matrix(full(form.third, "router's third matrix"), form.order, logits, spec.hidden);
    }
    if (router_bias) router_bias_ = claims.vector(bias_pattern(name), logits);
    if (!selection_bias) return;
    std::string chosen;
    for (const std::string& pattern : layout_.selection_bias) {
      const std::string candidate = full(pattern, "selection bias");
      const bool better = tensors_->find(candidate) != nullptr;
      if (chosen.empty() || (better && tensors_->find(chosen) == nullptr)) chosen = candidate;
    }
    if (chosen.empty()) chosen = full("", "selection bias");
    selection_bias_ = claims.vector(chosen, logits);
  }

  [[nodiscard]] experts::WeightView view(Storage& storage, const NamedMatrix& matrix) const {
    if (matrix.name.empty()) return {};
    const Numbers numbers = storage.place(tensors_->at(matrix.name), 0, matrix.out * matrix.in);
    const bool linear = matrix.order == Order::kLinear;
    return {.data = numbers.data,
            .type = numbers.type,
            .out = matrix.out,
            .in = matrix.in,
            .out_stride = linear ? matrix.in : 1,
            .in_stride = linear ? 1 : matrix.out};
  }

  [[nodiscard]] std::vector<float> floats(const std::string& name) const {
    if (name.empty()) return {};
    const Tensor& tensor = tensors_->at(name);
    return read_floats(tensor, 0, tensor.elements());
  }

  std::shared_ptr<const TensorSet> tensors_;
  BlockPlace place_;
  FamilyLayout layout_;
  Storage own_;  ///< of the shared gate, whose view has no keep_alive
  NamedMatrix weight_, second_, third_;
  std::string router_bias_, selection_bias_, output_bias_;  ///< names; empty: none
  experts::WeightView shared_gate_;
  std::optional<NetworkReader> experts_, shared_, dense_;
};
}  // namespace

std::unique_ptr<experts::WeightSource> block_source(std::shared_ptr<const TensorSet> tensors,
                                                    const BlockPlace& place,
                                                    const experts::BlockSpec& spec,
                                                    bool router_bias, bool selection_bias,
                                                    std::set<std::string>* used) {
  std::set<std::string> names;
  auto source = std::make_unique<BlockSource>(std::move(tensors), place, spec, router_bias,
                                              selection_bias, names);
  if (used != nullptr) used->merge(names);
  return source;
}

std::string find_prefix(const TensorSet& tensors, const std::string& family, std::int64_t layer) {
  const FamilyLayout layout = layout_of(family);
  for (const std::string& pattern : layout.prefixes) {
    const std::string prefix = tensor_name("", pattern, layer);
    for (const RouterForm& router : layout.routers) {
      if (tensors.find(tensor_name(prefix, router.weight, 0)) != nullptr) return prefix;
    }
  }
  return tensor_name("", layout.prefixes.front(), layer);
}
}  // namespace switchyard::runtime
