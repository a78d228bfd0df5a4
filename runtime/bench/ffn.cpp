// SPDX-License-Identifier: Apache-2.0
#include "runtime/bench/ffn.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>

#include "experts/blas.hpp"
#include "experts/index.hpp"
#include "experts/kernels/dispatch.hpp"
#include "experts/kernels/probe.hpp"
#include "experts/reference.hpp"
#include "experts/synthetic.hpp"
#include "runtime/bench/cold_experts.hpp"
#include "runtime/bench/oracle.hpp"
#include "runtime/status.hpp"
#include "runtime/stored_source.hpp"

namespace switchyard::runtime::bench {
namespace {
using experts::DType;
using experts::Math;

/// Without dot products of its own native math would be the float32 row again.
bool has_native(experts::Isa isa, DType stored) {
  return experts::math_name(isa, Math::kNative, stored) != "float32";
}

std::int64_t matrices_of(experts::Unit unit) {
  return unit == experts::Unit::kPlain ? 2 : unit == experts::Unit::kTrilinear ? 4 : 3;
}

/// What the reference says of the first token through each of the experts that differ.
std::vector<std::vector<double>> wanted(const ColdExperts& cold,
                                        experts::MatrixView<const float> tokens, DType stored) {
  std::vector<std::vector<double>> rows;
  for (std::int64_t e = 0; e < ColdExperts::kDistinct; ++e) {
    experts::Routing routing;
    routing.offsets = {0, 1};
    routing.experts = {static_cast<std::int32_t>(e)};
    routing.weights = {1.0F};
    experts::SyntheticSource synthetic = cold.source();
    StoredSource source(synthetic, stored);
    rows.push_back(
        experts::reference::block(cold.block(), source, tokens.slice(0, 1), routing).values);
  }
  return rows;
}

/// Rows in and out of one candidate, with what the first and the last row alone come to.
class Rows {
 public:
  Rows(experts::MatrixView<const float> tokens, std::int64_t count)
      : tokens_(tokens.slice(0, count)), results_(count, tokens.cols) {
    for (std::int64_t r = 0; r < count; ++r) {
      from_.push_back(tokens_.row(r).data());
      to_.push_back(results_.row(r).data());
    }
  }

  void run(const experts::PackedExpert& expert, experts::AlignedBuffer& scratch) {
    expert.run(from_, {}, to_, scratch);
  }
  /// Through sgemm.
  void run(const experts::ExpertSpec& spec, const experts::ExpertTensors& tensors,
           experts::AlignedBuffer& scratch) {
    experts::blas::run_gemm(spec, tensors, tokens_, results_.view(), scratch);
  }
  /// The first and the last row by themselves, to compare bits with.
  void remember(const experts::PackedExpert& expert, experts::AlignedBuffer& scratch) {
    experts::Matrix alone(2, results_.cols());
    for (const std::int64_t r : {std::int64_t{0}, std::int64_t{1}}) {
      const float* const from = r == 0 ? from_.front() : from_.back();
      float* const to = alone.row(r).data();
      expert.run(std::span(&from, 1), {}, std::span(&to, 1), scratch);
    }
    alone_.push_back(std::move(alone));
  }
  void spoil() { results_(0, results_.cols() / 2) += 1; }
  /// Whether the last run's rows have the bits that they have alone. @param which  as remembered
  [[nodiscard]] bool right(std::int64_t which) const {
    const experts::Matrix& alone = alone_[at(which)];
    const auto bytes = at(results_.cols()) * sizeof(float);
    return std::memcmp(to_.front(), alone.row(0).data(), bytes) == 0 &&
           std::memcmp(to_.back(), alone.row(1).data(), bytes) == 0;
  }
  [[nodiscard]] std::span<const float> alone(std::int64_t which) const {
    return alone_[at(which)].row(0);
  }
  [[nodiscard]] std::span<const float> first() const { return results_.row(0); }

 private:
  experts::MatrixView<const float> tokens_;
  experts::Matrix results_;
  std::vector<const float*> from_;
  std::vector<float*> to_;
  std::vector<experts::Matrix> alone_;  ///< first and last row of each expert that differs
};

/// One line of the comparison: a variant of ours in some math, or sgemm.
struct Runner {
  Math math = Math::kFloat32;
  Variant variant = Variant::kPlain;
  bool openblas = false;
  std::unique_ptr<Rows> rows;
  std::vector<double> cpu_s;
  std::int64_t wrong = 0;
};

/// What a probe did and where its times are.
struct Probe {
  double work = 0;  ///< bytes or operations a turn
  std::size_t candidate = 0;
  std::vector<double> cpu_s = {};
};

class FfnCell {
 public:
  FfnCell(comm::Group& group, const FfnSettings& settings, const ColdExperts& cold,
          experts::ReadProbe& memory)
      : group_(group), settings_(settings), cold_(cold), memory_(memory) {}

  void measure(std::int64_t rows, experts::MatrixView<const float> tokens,
               const std::vector<std::vector<double>>& want, std::vector<FfnResult>& results);

 private:
  Candidate candidate(Runner& runner);
  void add(Math math, Variant variant, bool openblas, std::int64_t rows,
           experts::MatrixView<const float> tokens);
  void add_probe(const std::string& name, std::function<double()> work);
  [[nodiscard]] std::string products(Math math) const {
    return std::string(experts::probed_products(settings_.isa, math, cold_.stored()));
  }
  FfnResult sum_up(std::size_t mine, std::int64_t rows,
                   const std::vector<std::vector<double>>& want);

  comm::Group& group_;
  const FfnSettings& settings_;
  const ColdExperts& cold_;
  experts::ReadProbe& memory_;
  experts::AlignedBuffer scratch_;
  std::int64_t turn_ = 0;  ///< counts up over all candidates, so that none meets warm weights
  std::vector<std::unique_ptr<Runner>> runners_;
  std::vector<Candidate> candidates_;    ///< [runners], then the probes
  std::map<std::string, Probe> probes_;  ///< "memory", and what products are made of
};

void FfnCell::add(Math math, Variant variant, bool openblas, std::int64_t rows,
                  experts::MatrixView<const float> tokens) {
  auto runner = std::make_unique<Runner>();
  runner->math = math;
  runner->variant = variant;
  runner->openblas = openblas;
  runner->rows = std::make_unique<Rows>(tokens, rows);
  for (std::int64_t e = 0; e < ColdExperts::kDistinct && !openblas; ++e) {
    runner->rows->remember(cold_.expert(e, math, variant), scratch_);
  }
  candidates_.push_back(candidate(*runner));
  runners_.push_back(std::move(runner));
}

Candidate FfnCell::candidate(Runner& runner) {
  const auto run = [this, &runner] {
    const std::int64_t turn = turn_++;
    const double cpu = thread_seconds();
    const Stopwatch watch;
    if (runner.openblas) {
      runner.rows->run(settings_.expert, cold_.plain(turn), scratch_);
    } else {
      runner.rows->run(cold_.expert(turn, runner.math, runner.variant), scratch_);
    }
    const double seconds = watch.seconds();
    runner.cpu_s.push_back(thread_seconds() - cpu);
    if (settings_.inject) runner.rows->spoil();
    const std::int64_t which = turn % cold_.count() % ColdExperts::kDistinct;
    const bool lawful = !runner.openblas && runner.variant != Variant::kFreeOrder;
    if (lawful && !runner.rows->right(which)) ++runner.wrong;
    return seconds;
  };
  return {.name = runner.openblas ? "openblas" : "ours", .run = run};
}

void FfnCell::add_probe(const std::string& name, std::function<double()> work) {
  if (probes_.contains(name)) return;
  Probe& probe = probes_[name];
  probe.candidate = candidates_.size();
  candidates_.push_back({.name = name, .run = [&probe, work = std::move(work)] {
                           const double cpu = thread_seconds();
                           const Stopwatch watch;
                           probe.work = work();
                           const double seconds = watch.seconds();
                           probe.cpu_s.push_back(thread_seconds() - cpu);
                           return seconds;
                         }});
}

FfnResult FfnCell::sum_up(std::size_t mine, std::int64_t rows,
                          const std::vector<std::vector<double>>& want) {
  Runner& runner = *runners_[mine];
  const auto& seconds = candidates_[mine].seconds;
  const auto repetitions = static_cast<std::ptrdiff_t>(seconds.size());
  const auto counted = [&](const std::vector<double>& all) {
    return slowest(group_, std::vector<double>(all.end() - repetitions, all.end()));
  };
  FfnResult result;
  result.weights = cold_.stored();
  result.math = runner.math;
  result.rows = rows;
  result.repetitions = repetitions;
  result.experts = cold_.count();
  result.weight_bytes = cold_.expert_bytes();
  const Summary s = summary(seconds);
  result.us = {1e6 * s.min, 1e6 * s.median, 1e6 * s.p99, 1e6 * s.max};
  const double cpu_s = median(counted(runner.cpu_s));
  result.cpu_us_median = 1e6 * cpu_s;
  const experts::ExpertSpec& spec = settings_.expert;
  const double flops = 2.0 * static_cast<double>(rows * matrices_of(spec.unit) * spec.hidden) *
                       static_cast<double>(spec.width);
  const auto bytes = static_cast<double>(result.weight_bytes);
  result.gflops = 1e-9 * flops / s.median;
  result.weights_gb_per_s = 1e-9 * bytes / s.median;
  const Probe& memory = probes_.at("memory");
  const Probe& arithmetic = probes_.at(products(runner.math));
  const double read_per_s = memory.work / median(candidates_[memory.candidate].seconds);
  const double flops_per_s = arithmetic.work / median(candidates_[arithmetic.candidate].seconds);
  const double cpu_read_per_s = memory.work / median(counted(memory.cpu_s));
  const double cpu_flops_per_s = arithmetic.work / median(counted(arithmetic.cpu_s));
  result.read_gb_per_s = 1e-9 * read_per_s;
  result.peak_gflops = 1e-9 * flops_per_s;
  result.peak_of = products(runner.math);
  result.roofline_fraction = std::max(bytes / read_per_s, flops / flops_per_s) / s.median;
  result.cpu_roofline_fraction = std::max(bytes / cpu_read_per_s, flops / cpu_flops_per_s) / cpu_s;
  result.peak_fraction = flops / cpu_s / cpu_flops_per_s;
  result.math_name = experts::math_name(settings_.isa, runner.math, result.weights);
  result.error_limit =
      error_limit(result.math_name == "float32", std::max(spec.hidden, spec.width));
  double error = 0;
  for (std::int64_t e = 0; e < ColdExperts::kDistinct; ++e) {
    error = std::max(error, error_of_rms(want[at(e)], runner.rows->alone(e)));
  }
  if (!(error <= result.error_limit)) ++runner.wrong;
  result.error_of_rms = slowest(group_, std::span(&error, 1)).front();
  result.wrong =
      static_cast<std::int64_t>(sum_over_ranks(group_, static_cast<double>(runner.wrong)));
  return result;
}

void FfnCell::measure(std::int64_t rows, experts::MatrixView<const float> tokens,
                      const std::vector<std::vector<double>>& want,
                      std::vector<FfnResult>& results) {
  runners_.clear();
  candidates_.clear();
  probes_.clear();
  for (const Math math : settings_.maths) {
    if (math == Math::kNative && !has_native(settings_.isa, cold_.stored())) continue;
    add(math, Variant::kPlain, false, rows, tokens);
    if (settings_.shared_pages) add(math, Variant::kShared, false, rows, tokens);
    if (settings_.free_order && math == Math::kFloat32) {
      add(math, Variant::kFreeOrder, false, rows, tokens);
    }
  }
  const bool openblas = settings_.openblas && cold_.stored() == DType::kFloat32;
  if (openblas) add(Math::kFloat32, Variant::kPlain, true, rows, tokens);
  add_probe("memory", [this] { return memory_.read(settings_.isa); });
  for (const Math math : settings_.maths) {
    add_probe(products(math), [this, math] {
      return experts::probe_products(settings_.isa, math, cold_.stored());
    });
  }
  alternate(group_, candidates_, settings_.budget);
  for (std::size_t i = 0; i < runners_.size(); ++i) {
    if (runners_[i]->variant != Variant::kPlain || runners_[i]->openblas) continue;
    FfnResult result = sum_up(i, rows, want);
    const auto& mine = candidates_[i].seconds;
    for (std::size_t j = i + 1; j < runners_.size(); ++j) {  // the variants of this one
      if (runners_[j]->variant == Variant::kPlain) break;
      const auto& theirs = candidates_[j].seconds;
      if (runners_[j]->variant == Variant::kShared) {
        result.shared_pages_us_median = 1e6 * median(theirs);
        result.shared_pages_ratio = median_ratio(theirs, mine);
      } else {
        result.free_order_us_median = 1e6 * median(theirs);
        result.order_cost = median_ratio(mine, theirs) - 1;
        if (!(error_of_rms(want[0], runners_[j]->rows->alone(0)) <= result.error_limit)) {
          ++result.wrong;
        }
      }
      result.wrong += static_cast<std::int64_t>(
          sum_over_ranks(group_, static_cast<double>(runners_[j]->wrong)));
    }
    if (openblas && runners_[i]->math == Math::kFloat32) {
      const auto& theirs = candidates_[runners_.size() - 1].seconds;
      result.openblas_us_median = 1e6 * median(theirs);
      result.openblas_ratio = median_ratio(theirs, mine);
      Rows& product = *runners_.back()->rows;
      product.run(settings_.expert, cold_.plain(0), scratch_);
      result.openblas_error_of_rms = error_of_rms(want[0], product.first());
      if (!(result.openblas_error_of_rms <= result.error_limit)) ++result.wrong;
    }
    results.push_back(std::move(result));
  }
}
}  // namespace

FfnReport bench_ffn(comm::Group& group, const FfnSettings& settings) {
  FfnReport report;
  if (settings.openblas) {
    experts::blas::use_one_thread();
    report.openblas = experts::blas::description();
  }
  Steadiness steadiness;
  const std::int64_t most = *std::ranges::max_element(settings.rows);
  experts::Matrix tokens(most, settings.expert.hidden);
  experts::fill_tokens(settings.seed, 0, 0, tokens.view());
  experts::ReadProbe memory;
  for (const DType stored : settings.weights) {
    std::unique_ptr<ColdExperts> cold;
    together(group, [&] { cold = std::make_unique<ColdExperts>(settings, stored); });
    const auto want = wanted(*cold, tokens.view(), stored);
    FfnCell cell(group, settings, *cold, memory);
    for (const std::int64_t rows : settings.rows) {
      steadiness.probe();
      cell.measure(rows, tokens.view(), want, report.results);
    }
  }
  steadiness.probe();
  report.steadiness = steadiness.result(group);
  return report;
}
}  // namespace switchyard::runtime::bench
