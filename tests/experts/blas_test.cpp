// SPDX-License-Identifier: Apache-2.0
#include "experts/blas.hpp"

#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vector>

#include "experts/ffn.hpp"
#include "experts/synthetic.hpp"

namespace switchyard::experts {
namespace {

BlockSpec block_of(const ExpertSpec& expert) {
  BlockSpec block;
  block.router.hidden = expert.hidden;
  block.router.experts = 1;
  block.router.top_k = 1;
  block.expert = expert;
  return block;
}

Matrix ours(const ExpertSpec& spec, const ExpertTensors& tensors, const Matrix& rows) {
  Matrix results(rows.rows(), spec.hidden);
  std::vector<const float*> from;
  std::vector<float*> to;
  for (std::int64_t r = 0; r < rows.rows(); ++r) {
    from.push_back(rows.row(r).data());
    to.push_back(results.row(r).data());
  }
  AlignedBuffer scratch;
  PackedExpert(spec, tensors, DType::kFloat32, best_isa()).run(from, {}, to, scratch);
  return results;
}

Matrix tokens_of(std::int64_t rows, std::int64_t hidden) {
  Matrix tokens(rows, hidden);
  fill_tokens(2, 0, 0, tokens.view());
  return tokens;
}

TEST(Blas, AgreesWithThePackedExpertForEveryUnit) {
  blas::use_one_thread();
  for (const Unit unit : {Unit::kGated, Unit::kPlain, Unit::kTrilinear}) {
    const ExpertSpec spec{unit, Activation::kSilu, 150, 90, true};
    SyntheticSource source(block_of(spec), 1, 0, false, false);
    const ExpertTensors tensors = source.expert(0);
    const Matrix rows = tokens_of(23, 150);
    const Matrix want = ours(spec, tensors, rows);
    Matrix gemm(23, 150);
    Matrix gemv(23, 150);
    AlignedBuffer scratch;
    blas::run_gemm(spec, tensors, rows.view(), gemm.view(), scratch);
    blas::run_gemv(spec, tensors, rows.view(), gemv.view(), scratch);
    for (std::int64_t r = 0; r < 23; ++r) {
      for (std::int64_t c = 0; c < 150; ++c) {
        EXPECT_NEAR(gemm(r, c), want(r, c), 2e-5F);
        EXPECT_NEAR(gemv(r, c), want(r, c), 2e-5F);
      }
    }
  }
}

TEST(Blas, PlainSgemmChangesARowsBitsWithTheNumberOfRowsAndOursDoesNot) {
  blas::use_one_thread();
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 256, 192, false};
  SyntheticSource source(block_of(spec), 1, 0, false, false);
  const ExpertTensors tensors = source.expert(0);
  const Matrix rows = tokens_of(64, 256);
  AlignedBuffer scratch;
  Matrix all(64, 256);
  blas::run_gemm(spec, tensors, rows.view(), all.view(), scratch);
  const Matrix our_all = ours(spec, tensors, rows);
  int changed = 0;
  for (std::int64_t count = 1; count < 64; ++count) {
    Matrix first(count, 256);
    const std::size_t bytes = static_cast<std::size_t>(count) * 256 * sizeof(float);
    blas::run_gemm(spec, tensors, rows.view().slice(0, count), first.view(), scratch);
    changed += std::memcmp(first.data(), all.data(), bytes) == 0 ? 0 : 1;
    Matrix some(count, 256);
    std::memcpy(some.data(), rows.data(), bytes);
    const Matrix our_first = ours(spec, tensors, some);
    EXPECT_EQ(std::memcmp(our_first.data(), our_all.data(), bytes), 0) << count << " rows";
  }
  RecordProperty("batch_sizes_of_63_that_changed_bits", changed);
  if (changed == 0) GTEST_SKIP() << "sgemm happened to keep its bits here: " << blas::description();
}

TEST(Blas, OneRowAtATimeDependsOnThatRowAlone) {
  blas::use_one_thread();
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 128, 96, false};
  SyntheticSource source(block_of(spec), 1, 0, false, false);
  const ExpertTensors tensors = source.expert(0);
  const Matrix rows = tokens_of(20, 128);
  AlignedBuffer scratch;
  Matrix all(20, 128);
  blas::run_gemv(spec, tensors, rows.view(), all.view(), scratch);
  for (std::int64_t r = 0; r < 20; ++r) {
    Matrix one(1, 128);
    blas::run_gemv(spec, tensors, rows.view().slice(r, 1), one.view(), scratch);
    EXPECT_EQ(std::memcmp(one.data(), all.row(r).data(), 128 * sizeof(float)), 0) << r;
  }
}

TEST(Blas, OtherLayoutsAreRefused) {
  const ExpertSpec spec{Unit::kPlain, Activation::kRelu, 4, 4, false};
  const std::vector<float> values(16);
  ExpertTensors tensors;
  tensors.up = {values.data(), DType::kFloat32, 4, 4, 1, 4};
  tensors.down = {values.data(), DType::kFloat32, 4, 4, 4, 1};
  Matrix rows(2, 4);
  Matrix results(2, 4);
  AlignedBuffer scratch;
  try {
    blas::run_gemm(spec, tensors, rows.view(), results.view(), scratch);
    FAIL() << "a transposed weight was accepted";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(),
                 "blas: up is float32 [4, 4] with stride 4, want float32 [4, 4] with stride 1");
  }
  EXPECT_THAT(blas::description(), testing::HasSubstr("OpenBLAS"));
}
}  // namespace
}  // namespace switchyard::experts
