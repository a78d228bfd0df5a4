// SPDX-License-Identifier: Apache-2.0
// oneDNN's matmul on weights that it has packed as it likes best, with primitives kept: the
// strongest that can be installed. For oneDNN 2 and 3.
#include <cstdint>
#include <cstring>
#include <dnnl.hpp>
#include <map>
#include <stdexcept>

#include "gemm.hpp"

namespace peers {
namespace {
using dnnl::memory;

class OnednnGemm final : public Gemm {
 public:
  OnednnGemm(memory::data_type type, int outputs, int inputs)
      : type_(type), outputs_(outputs), inputs_(inputs) {
    constexpr int kTypicalRows = 64;
    const memory::desc any({inputs, outputs}, type, memory::format_tag::any);
    packed_ = describe(kTypicalRows, any).weights_desc();
  }

  void add(std::vector<float> weights) override {
    memory plain({{inputs_, outputs_}, memory::data_type::f32, memory::format_tag::ba}, engine_,
                 weights.data());
    memory packed(packed_, engine_);
    dnnl::reorder(plain, packed).execute(stream_, plain, packed);
    stream_.wait();
    weights_.push_back(packed);
  }

  void run(int expert, int rows, const float* x, float* y) override {
    auto found = products_.find(rows);
    if (found == products_.end()) {
      const auto description = describe(rows, packed_);
      Product product{dnnl::matmul(description), memory(description.src_desc(), engine_, nullptr),
                      memory(description.dst_desc(), engine_, nullptr)};
      found = products_.emplace(rows, std::move(product)).first;
    }
    Product& product = found->second;
    product.x.set_data_handle(const_cast<void*>(input(rows, x)));
    product.y.set_data_handle(y);
    product.matmul.execute(stream_, {{DNNL_ARG_SRC, product.x},
                                     {DNNL_ARG_WEIGHTS, weights_[static_cast<std::size_t>(expert)]},
                                     {DNNL_ARG_DST, product.y}});
    stream_.wait();
  }

 private:
  struct Product {
    dnnl::matmul matmul;
    memory x;
    memory y;
  };

  dnnl::matmul::primitive_desc describe(int rows, const memory::desc& weights) {
    const memory::desc x({rows, inputs_}, type_, memory::format_tag::ab);
    const memory::desc y({rows, outputs_}, memory::data_type::f32, memory::format_tag::ab);
    if constexpr (DNNL_VERSION_MAJOR >= 3) {
      return make<3>(x, weights, y);
    } else {
      return make<2>(x, weights, y);
    }
  }
  /// A template, so that only the branch of the installed version has to compile.
  template <int kMajor, class Descriptor = dnnl::matmul::primitive_desc>
  Descriptor make(const memory::desc& x, const memory::desc& weights, const memory::desc& y) {
    if constexpr (kMajor >= 3) {
      return Descriptor(engine_, x, weights, y);
    } else {
      return Descriptor(typename dnnl::matmul::desc(x, weights, y), engine_);
    }
  }

  /// The rows in the type of the product, rounded to nearest even.
  const void* input(int rows, const float* x) {
    if (type_ == memory::data_type::f32) return x;
    narrow_.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(inputs_));
    for (std::size_t i = 0; i < narrow_.size(); ++i) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, x + i, sizeof bits);
      narrow_[i] = static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
    }
    return narrow_.data();
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  memory::data_type type_;
  int outputs_;
  int inputs_;
  memory::desc packed_;
  std::vector<memory> weights_;
  std::map<int, Product> products_;  ///< by number of rows
  std::vector<std::uint16_t> narrow_;
};
}  // namespace

std::unique_ptr<Gemm> make_gemm(const std::string& type, int outputs, int inputs) {
  if (type == "float32") {
    return std::make_unique<OnednnGemm>(memory::data_type::f32, outputs, inputs);
  }
  if (type == "bfloat16") {
    return std::make_unique<OnednnGemm>(memory::data_type::bf16, outputs, inputs);
  }
  throw std::invalid_argument("onednn: got " + type + ", want float32 or bfloat16");
}
}  // namespace peers
