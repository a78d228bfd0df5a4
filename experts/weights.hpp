// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a MoE block is made of, and where its weights come from: specs (shapes and rules), strided
/// views that make every released layout look alike, and the source that hands experts out.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "experts/dtype.hpp"
#include "experts/router/spec.hpp"

namespace switchyard::experts {

/// act(z) of the gated units. kClampedSwiglu is gpt-oss: g = min(gate, limit),
/// l = clamp(up, -limit, limit), (l + 1) * g * sigmoid(alpha * g).
enum class Activation { kSilu, kGeluErf, kGeluTanh, kRelu, kClampedSwiglu };

/// kGated:     down( act(gate x) * (up x) )
/// kPlain:     down( act(up x) )                                  (two matrices)
/// kTrilinear: down( (act(gate x) * (up x)) * (linear x) )        (OpenMoE, four matrices)
/// Biases, where there are any, are added to gate x, up x and to the result of down.
enum class Unit { kGated, kPlain, kTrilinear };

struct ExpertSpec {
  Unit unit = Unit::kGated;
  Activation activation = Activation::kSilu;
  std::int64_t hidden = 0;  ///< elements of a token's row
  std::int64_t width = 0;   ///< elements between the two products ("intermediate size")
  bool biases = false;
  float swiglu_alpha = 1.702F;  ///< kClampedSwiglu only
  float swiglu_limit = 7.0F;    ///< kClampedSwiglu only
};

/// Weights of one network, biases included.
[[nodiscard]] constexpr std::int64_t elements_of(const ExpertSpec& spec) {
  const std::int64_t before = spec.unit == Unit::kPlain ? 1 : spec.unit == Unit::kTrilinear ? 3 : 2;
  const std::int64_t biases = spec.biases ? before * spec.width + spec.hidden : 0;
  return (before + 1) * spec.hidden * spec.width + biases;
}

/// Scales of blocks of a matrix. Its output o is output o * out_step + out_first of the matrix that
/// was cut into blocks: gate and up may be halves of one, or take turns in it.
struct BlockScales {
  const void* data = nullptr;   ///< float32; kMxfp4: bytes, see widen_e8m0
  std::int64_t out_block = 1;   ///< outputs that share a scale
  std::int64_t in_block = 1;    ///< inputs that share one
  std::int64_t out_stride = 0;  ///< scales from one block of outputs to the next
  std::int64_t in_stride = 1;   ///< scales from one block of inputs to the next
  std::int64_t out_step = 1;
  std::int64_t out_first = 0;

  [[nodiscard]] std::int64_t index(std::int64_t o, std::int64_t i) const {
    return (o * out_step + out_first) / out_block * out_stride + i / in_block * in_stride;
  }
};

/// A weight matrix W [out, in] (y = W x) as it lies in a file or in memory. Fused, interleaved and
/// transposed layouts are strides, not copies. Owns nothing.
struct WeightView {
  const void* data = nullptr;
  DType type = DType::kFloat32;
  std::int64_t out = 0;
  std::int64_t in = 0;
  std::int64_t out_stride = 0;  ///< elements from one output to the next; even for kMxfp4
  std::int64_t in_stride = 1;   ///< elements from one input to the next; 1 for kMxfp4
  BlockScales scales = {};      ///< of the types that have some

  [[nodiscard]] bool empty() const { return data == nullptr; }
  /// The bits of element (output, input): of a byte or a nibble where types have scales.
  [[nodiscard]] std::uint8_t code(std::int64_t o, std::int64_t i) const {
    const std::int64_t index = o * out_stride + i * in_stride;
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    if (type != DType::kMxfp4) return bytes[index];
    return index % 2 == 0 ? bytes[index / 2] & 15U : bytes[index / 2] >> 4U;
  }
  /// The scale of element (output, input), of the types that have some.
  [[nodiscard]] float scale(std::int64_t o, std::int64_t i) const {
    const std::int64_t index = scales.index(o, i);
    if (type != DType::kMxfp4) return static_cast<const float*>(scales.data)[index];
    return widen_e8m0(static_cast<const std::uint8_t*>(scales.data)[index]);
  }
  /// Element (output, input), widened to float32; a code times its scale is rounded once.
  [[nodiscard]] float at(std::int64_t o, std::int64_t i) const {
    if (is_scaled(type)) {
      const std::uint8_t bits = code(o, i);
      const float value = type == DType::kFp8 ? widen_fp8(bits)
                          : type == DType::kMxfp4
                              ? kFp4Values[bits]
                              : static_cast<float>(static_cast<std::int8_t>(bits));
      return value * scale(o, i);
    }
    const std::int64_t index = o * out_stride + i * in_stride;
    if (type == DType::kFloat32) return static_cast<const float*>(data)[index];
    const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[index];
    return type == DType::kBfloat16 ? widen_bfloat16(bits) : widen_float16(bits);
  }
};

/// The weights of one gated network: an expert, a shared expert or a dense MLP.
struct ExpertTensors {
  WeightView gate;  ///< [width, hidden]; the branch that goes through the activation; empty: kPlain
  WeightView up;    ///< [width, hidden]
  WeightView linear;                       ///< [width, hidden]; kTrilinear only
  WeightView down;                         ///< [hidden, width]
  std::vector<float> gate_bias;            ///< [width] or empty
  std::vector<float> up_bias;              ///< [width] or empty
  std::vector<float> down_bias;            ///< [hidden] or empty
  std::shared_ptr<const void> keep_alive;  ///< owns what the views look at, where somebody must
};

/// The router's weights; which are used depends on RouterSpec::logits. E = experts + identity.
struct RouterTensors {
  WeightView weight;  ///< kLinear [E, hidden]; kMlpTanh, first layer [E, hidden]; kAttention: query
  WeightView second;  ///< kMlpTanh: second layer [E, E]; kAttention: key [E, hidden]
  WeightView third;   ///< kAttention: value [E, hidden]
  std::vector<float> bias;            ///< [E] or empty; part of the logits
  std::vector<float> selection_bias;  ///< [E] or empty; moves the choice, never the weights
  std::shared_ptr<const void> keep_alive;
};

enum class SharedGate { kNone, kSigmoid };
/// A dense MLP that is always on beside the experts. kParallel (Arctic): its result is added to the
/// block's. kSequential (OpenMoE): it reads rmsnorm(x + y) and its result is added to y.
enum class DenseMode { kNone, kParallel, kSequential };

/// One MoE block: router, routed experts, and what is always on.
struct BlockSpec {
  RouterSpec router;
  ExpertSpec expert;
  std::optional<ExpertSpec> shared;  ///< all shared experts of a block as one network
  SharedGate shared_gate = SharedGate::kNone;
  std::optional<ExpertSpec> dense;
  DenseMode dense_mode = DenseMode::kNone;
  bool output_bias = false;  ///< one vector added after the combine (JetMoE)
};

/// Where a block's weights come from: synthetic, a checkpoint, a golden file, a caller's spans.
/// Views stay valid for as long as the source or their keep_alive lives. Calls may touch files and
/// throw: std::invalid_argument for data that is wrong, std::system_error for I/O.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  [[nodiscard]] virtual RouterTensors router() = 0;
  /// @param logical  in [0, experts); identity experts have no weights and are not asked for
  [[nodiscard]] virtual ExpertTensors expert(std::int64_t logical) = 0;
  /// Types and shapes of expert(): its views may not be looked into, so that nothing is read.
  [[nodiscard]] virtual ExpertTensors outline(std::int64_t logical) { return expert(logical); }
  /// Words that are the same only where the weights of the expert are, whoever reads them and when.
  /// Empty: there are none, so what was made of them cannot be kept.
  [[nodiscard]] virtual std::string identity(std::int64_t /*logical*/) { return {}; }
  [[nodiscard]] virtual ExpertTensors shared() { return {}; }
  [[nodiscard]] virtual WeightView shared_gate() { return {}; }  ///< [1, hidden]
  [[nodiscard]] virtual ExpertTensors dense() { return {}; }
  [[nodiscard]] virtual std::vector<float> output_bias() { return {}; }  ///< [hidden]
};
}  // namespace switchyard::experts
