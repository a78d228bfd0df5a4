// SPDX-License-Identifier: Apache-2.0
// sgemm on plain weights, as everybody's first version does it.
#include <cblas.h>
#include <stdexcept>
#include <utility>

#include "gemm.hpp"

namespace peers {
namespace {
class OpenblasGemm final : public Gemm {
 public:
  OpenblasGemm(int outputs, int inputs) : outputs_(outputs), inputs_(inputs) {}
  void add(std::vector<float> weights) override { weights_.push_back(std::move(weights)); }
  void run(int expert, int rows, const float* x, float* y) override {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, outputs_, inputs_, 1.0F, x, inputs_,
                weights_[static_cast<std::size_t>(expert)].data(), inputs_, 0.0F, y, outputs_);
  }

 private:
  int outputs_;
  int inputs_;
  std::vector<std::vector<float>> weights_;
};
}  // namespace

std::unique_ptr<Gemm> make_gemm(const std::string& type, int outputs, int inputs) {
  if (type != "float32") throw std::invalid_argument("openblas: got " + type + ", want float32");
  return std::make_unique<OpenblasGemm>(outputs, inputs);
}
}  // namespace peers
