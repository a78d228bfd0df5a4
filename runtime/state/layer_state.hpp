// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The weights of one layer that a run changes, as this rank keeps them: router, shared experts and
/// its own routed ones, in float32 whatever they are packed to.
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "experts/kernels/aligned.hpp"
#include "experts/weights.hpp"
#include "runtime/layer/shard.hpp"
#include "runtime/state/rule.hpp"

namespace switchyard::runtime {

/// One tensor of the state. Vectors are [out, 1].
struct StateTensor {
  std::string name;          ///< by layer and logical expert: "layer.3.expert.17.gate"
  std::int64_t id = 0;       ///< of its network: logical expert, experts::kSharedId or kRouterId
  experts::Stream stream{};  ///< which of the network
  std::int64_t out = 0;
  std::int64_t in = 1;
  bool vector = false;
  float* values = nullptr;  ///< [out, in], dense

  [[nodiscard]] std::span<float> all() const {
    return {values, static_cast<std::size_t>(out * in)};
  }
};

/// All tensors of one network one behind the other, each at a multiple of 64 bytes: the same on
/// every rank, so that a network can be handed from rank to rank as it lies here.
using NetworkBlock = experts::AlignedBuffer;

/// Also the source that the layer is packed from; what does not change comes from `start`.
class LayerState final : public experts::WeightSource {
 public:
  /// Makes room for the tensors; those of the router are set, the others not yet.
  /// @param layer    its number in the model
  /// @param start    what the run begins with
  /// @param logical  this rank's experts
  LayerState(const experts::BlockSpec& spec, std::int64_t layer,
             std::shared_ptr<experts::WeightSource> start, std::span<const std::int32_t> logical);

  /// Sets every tensor to what the run begins with, widened.
  void begin();
  /// What a step does to all of them.
  void change(const StepKey& key);

  /// Bytes of one routed expert's block.
  [[nodiscard]] std::int64_t expert_bytes() const;
  /// Of one of this rank's routed experts.
  [[nodiscard]] std::span<const std::byte> block(std::int32_t logical) const;
  /// What a step does to a block of expert `logical` that is not here.
  void change(const StepKey& key, std::int32_t logical, NetworkBlock& block) const;
  /// Packs anew what the step has changed of it; all of it without a step.
  void pack(const StepKey* key, std::int32_t logical, NetworkBlock& block, experts::DType stored,
            std::byte* packed) const;
  /// From now on this rank has these experts: some that it had, and some of `more`; new room, whose
  /// tensors are not set, for those that are neither.
  void rehost(std::span<const std::int32_t> logical,
              std::map<std::int32_t, NetworkBlock> more = {});
  /// Which outputs that step changes of a network's matrices, for who packs them.
  [[nodiscard]] NetworkOutputs changed(const StepKey& key, std::int64_t id) const;

  [[nodiscard]] std::int64_t layer() const { return layer_; }
  /// By network: router, shared, experts by rising id.
  [[nodiscard]] const std::vector<StateTensor>& tensors() const { return tensors_; }

  [[nodiscard]] experts::RouterTensors router() override;
  /// @throws std::logic_error  not one of this rank's
  [[nodiscard]] experts::ExpertTensors expert(std::int64_t logical) override;
  [[nodiscard]] experts::ExpertTensors shared() override;
  [[nodiscard]] experts::WeightView shared_gate() override { return start_->shared_gate(); }
  [[nodiscard]] experts::ExpertTensors dense() override { return start_->dense(); }
  [[nodiscard]] std::vector<float> output_bias() override { return start_->output_bias(); }

 private:
  void add_router();
  void add_network(const experts::ExpertSpec& spec, std::int64_t id);
  void add(std::int64_t id, experts::Stream stream, std::int64_t out, std::int64_t in);
  /// Of network `id`, its tensors in `block`, which is made if it is empty.
  void add_block(std::int64_t id, NetworkBlock block);
  /// The tensors that network `id` has, in the order of a block, without memory.
  [[nodiscard]] std::vector<StateTensor> tensors_of(const experts::ExpertSpec& spec,
                                                    std::int64_t id) const;
  /// The same, in this block.
  [[nodiscard]] std::vector<StateTensor> tensors_in(std::int32_t logical,
                                                    NetworkBlock& block) const;
  [[nodiscard]] const experts::ExpertSpec& spec_of(std::int64_t id) const;
  /// Null: the network has none.
  [[nodiscard]] const StateTensor* find(std::int64_t id, experts::Stream stream) const;
  [[nodiscard]] experts::WeightView view(std::int64_t id, experts::Stream stream) const;
  [[nodiscard]] std::vector<float> copy(std::int64_t id, experts::Stream stream) const;
  [[nodiscard]] experts::ExpertTensors network(std::int64_t id) const;

  experts::BlockSpec spec_;
  std::int64_t layer_;
  std::shared_ptr<experts::WeightSource> start_;
  std::vector<StateTensor> tensors_;
  std::unordered_map<std::int64_t, std::size_t> first_;  ///< of each network among the tensors
  std::map<std::int64_t, NetworkBlock> blocks_;          ///< by network
};

/// Bytes of such a state on a rank with so many experts.
[[nodiscard]] std::int64_t state_bytes(const experts::BlockSpec& spec, std::int64_t experts);
}  // namespace switchyard::runtime
