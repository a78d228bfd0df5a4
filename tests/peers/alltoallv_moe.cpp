// SPDX-License-Identifier: Apache-2.0
// The textbook's expert-parallel MoE layer: MPI_Alltoallv and a library's product an expert. A peer
// to measure `switchyard bench layer` against, linked with one of gemm_*.cpp.
//   alltoallv_moe NAME TYPE HIDDEN WIDTH EXPERTS K TOKENS,... SECONDS
// Router -> softmax -> top-k -> normalise; rows packed by expert; counts by MPI_Alltoall; rows by
// MPI_Alltoallv; the gated network of each local expert; rows back by MPI_Alltoallv; weighted sum.
// Rows travel as float32. The router is computed, then tokens go where `--routing peers` sends them
// (one stream over rank and token, seed 1000 + tokens a rank), so that every program carries the
// same load. The first token of each rank is checked in double before anything is timed. A line of
// its own for each number of tokens: name, type, tokens a rank, median, min and max in ms of the
// slowest rank.
#include <algorithm>
#include <cblas.h>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mpi.h>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "gemm.hpp"

namespace {
using Floats = std::vector<float>;
using Ints = std::vector<int>;

struct Shape {
  int hidden = 0;
  int width = 0;
  int experts = 0;
  int k = 0;
};

std::size_t size(std::int64_t a, std::int64_t b) {
  return static_cast<std::size_t>(a * b);
}

/// count numbers in [-amplitude, amplitude), the same on every rank.
Floats numbers(std::size_t count, float amplitude, std::uint64_t seed) {
  Floats values(count);
  for (float& value : values) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    const auto number = static_cast<std::int32_t>(seed >> 33U) - (1 << 30);
    value = amplitude * (static_cast<float>(number) * 0x1p-30F);
  }
  return values;
}

enum Matrix : std::uint64_t { kGate = 1, kUp = 2, kDown = 3 };
Floats weights(const Shape& shape, int expert, Matrix matrix) {
  return numbers(size(shape.hidden, shape.width), 0.035F,
                 3 * static_cast<std::uint64_t>(expert) + matrix);
}

/// Experts of this rank's tokens, [tokens, k].
Ints peers_routing(const Shape& shape, int rank, int tokens) {
  auto state = static_cast<std::uint32_t>(1000 + tokens);
  Ints chosen;
  Ints mine;
  for (int t = 0; t < (rank + 1) * tokens; ++t) {
    chosen.clear();
    while (static_cast<int>(chosen.size()) < shape.k) {
      state = state * 1664525U + 1013904223U;
      const int expert =
          static_cast<int>((state >> 8U) % static_cast<std::uint32_t>(shape.experts));
      if (std::find(chosen.begin(), chosen.end(), expert) == chosen.end()) chosen.push_back(expert);
    }
    if (t >= rank * tokens) mine.insert(mine.end(), chosen.begin(), chosen.end());
  }
  return mine;
}

class Layer {
 public:
  Layer(const Shape& shape, const std::string& type, MPI_Comm comm) : shape_(shape), comm_(comm) {
    MPI_Comm_rank(comm, &rank_);
    MPI_Comm_size(comm, &ranks_);
    local_ = shape.experts / ranks_;
    gate_ = peers::make_gemm(type, shape.width, shape.hidden);
    up_ = peers::make_gemm(type, shape.width, shape.hidden);
    down_ = peers::make_gemm(type, shape.hidden, shape.width);
    for (int e = rank_ * local_; e < (rank_ + 1) * local_; ++e) {
      gate_->add(weights(shape, e, kGate));
      up_->add(weights(shape, e, kUp));
      down_->add(weights(shape, e, kDown));
    }
    router_ = numbers(size(shape.experts, shape.hidden), 0.035F, 4242);
    MPI_Type_contiguous(shape.hidden, MPI_FLOAT, &row_);
    MPI_Type_commit(&row_);
  }
  ~Layer() { MPI_Type_free(&row_); }
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  [[nodiscard]] int rank() const { return rank_; }

  void begin(int tokens) {
    tokens_ = tokens;
    chosen_ = peers_routing(shape_, rank_, tokens);
    x_ = numbers(size(tokens, shape_.hidden), 1.0F, 99 + static_cast<std::uint64_t>(rank_));
    y_.resize(x_.size());
    logits_.resize(size(tokens, shape_.experts));
    shares_.resize(chosen_.size());
    place_.resize(chosen_.size());
    out_.resize(chosen_.size() * static_cast<std::size_t>(shape_.hidden));
    home_.resize(out_.size());
  }

  void forward() {
    route();
    pack();
    if (in_.size() < size(arrived_, shape_.hidden)) {
      in_.resize(size(arrived_, shape_.hidden));
      back_.resize(in_.size());
    }
    MPI_Alltoallv(out_.data(), send_.data(), send_at_.data(), row_, in_.data(), receive_.data(),
                  receive_at_.data(), row_, comm_);
    compute();
    MPI_Alltoallv(back_.data(), receive_.data(), receive_at_.data(), row_, home_.data(),
                  send_.data(), send_at_.data(), row_, comm_);
    combine();
  }

  /// Relative error of the first token, against double and weights made again.
  [[nodiscard]] double error() const {
    std::vector<double> want(static_cast<std::size_t>(shape_.hidden));
    for (int j = 0; j < shape_.k; ++j) {
      const int expert = chosen_[static_cast<std::size_t>(j)];
      const Floats gate = weights(shape_, expert, kGate);
      const Floats up = weights(shape_, expert, kUp);
      const Floats down = weights(shape_, expert, kDown);
      std::vector<double> middle(static_cast<std::size_t>(shape_.width));
      for (std::size_t i = 0; i < middle.size(); ++i) {
        double g = 0;
        double u = 0;
        for (std::size_t c = 0; c < want.size(); ++c) {
          g += static_cast<double>(gate[i * want.size() + c]) * static_cast<double>(x_[c]);
          u += static_cast<double>(up[i * want.size() + c]) * static_cast<double>(x_[c]);
        }
        middle[i] = g / (1 + std::exp(-g)) * u;
      }
      for (std::size_t c = 0; c < want.size(); ++c) {
        double sum = 0;
        for (std::size_t i = 0; i < middle.size(); ++i) {
          sum += static_cast<double>(down[c * middle.size() + i]) * middle[i];
        }
        want[c] += static_cast<double>(shares_[static_cast<std::size_t>(j)]) * sum;
      }
    }
    double errors = 0;
    double squares = 0;
    for (std::size_t c = 0; c < want.size(); ++c) {
      errors += (static_cast<double>(y_[c]) - want[c]) * (static_cast<double>(y_[c]) - want[c]);
      squares += want[c] * want[c];
    }
    return std::sqrt(errors / squares);
  }

 private:
  void route() {
    const auto experts = static_cast<std::size_t>(shape_.experts);
    const auto k = static_cast<std::size_t>(shape_.k);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, tokens_, shape_.experts, shape_.hidden,
                1.0F, x_.data(), shape_.hidden, router_.data(), shape_.hidden, 0.0F, logits_.data(),
                shape_.experts);
    counts_.assign(experts, 0);
    order_.resize(experts);
    for (std::size_t t = 0; t < static_cast<std::size_t>(tokens_); ++t) {
      const float* const logits = logits_.data() + t * experts;
      for (std::size_t e = 0; e < experts; ++e) order_[e] = static_cast<int>(e);
      std::partial_sort(order_.begin(), order_.begin() + shape_.k, order_.end(),
                        [&](int a, int b) { return logits[a] > logits[b]; });
      const float most = logits[order_[0]];
      float sum = 0;
      for (std::size_t j = t * k; j < (t + 1) * k; ++j) {
        shares_[j] = std::exp(logits[chosen_[j]] - most);
        sum += shares_[j];
        ++counts_[static_cast<std::size_t>(chosen_[j])];
      }
      for (std::size_t j = t * k; j < (t + 1) * k; ++j) shares_[j] /= sum;
    }
  }

  void pack() {
    const auto ranks = static_cast<std::size_t>(ranks_);
    const auto local = static_cast<std::size_t>(local_);
    const auto hidden = static_cast<std::size_t>(shape_.hidden);
    theirs_.resize(ranks * local);
    MPI_Alltoall(counts_.data(), local_, MPI_INT, theirs_.data(), local_, MPI_INT, comm_);
    for (Ints* list : {&send_, &send_at_, &receive_, &receive_at_}) list->assign(ranks, 0);
    next_.assign(counts_.size(), 0);
    int leaving = 0;
    arrived_ = 0;
    for (std::size_t r = 0; r < ranks; ++r) {
      send_at_[r] = leaving;
      receive_at_[r] = arrived_;
      for (std::size_t e = 0; e < local; ++e) {
        next_[r * local + e] = leaving;
        leaving += counts_[r * local + e];
        arrived_ += theirs_[r * local + e];
      }
      send_[r] = leaving - send_at_[r];
      receive_[r] = arrived_ - receive_at_[r];
    }
    for (std::size_t i = 0; i < chosen_.size(); ++i) {
      place_[i] = next_[static_cast<std::size_t>(chosen_[i])]++;
      const std::size_t token = i / static_cast<std::size_t>(shape_.k);
      std::memcpy(out_.data() + static_cast<std::size_t>(place_[i]) * hidden,
                  x_.data() + token * hidden, hidden * sizeof(float));
    }
  }

  void compute() {
    const auto ranks = static_cast<std::size_t>(ranks_);
    const auto local = static_cast<std::size_t>(local_);
    const auto hidden = static_cast<std::size_t>(shape_.hidden);
    Ints from = receive_at_;
    for (std::size_t e = 0; e < local; ++e) {
      std::size_t rows = 0;
      for (std::size_t r = 0; r < ranks; ++r) {
        rows += static_cast<std::size_t>(theirs_[r * local + e]);
      }
      if (rows == 0) continue;
      if (rows_.size() < rows * hidden) {
        rows_.resize(rows * hidden);
        results_.resize(rows * hidden);
        gated_.resize(rows * static_cast<std::size_t>(shape_.width));
        upped_.resize(gated_.size());
      }
      std::size_t row = 0;
      for (std::size_t r = 0; r < ranks; ++r) {
        const auto count = static_cast<std::size_t>(theirs_[r * local + e]);
        std::memcpy(rows_.data() + row * hidden,
                    in_.data() + static_cast<std::size_t>(from[r]) * hidden,
                    count * hidden * sizeof(float));
        row += count;
      }
      const int expert = static_cast<int>(e);
      gate_->run(expert, static_cast<int>(rows), rows_.data(), gated_.data());
      up_->run(expert, static_cast<int>(rows), rows_.data(), upped_.data());
      for (std::size_t i = 0; i < rows * static_cast<std::size_t>(shape_.width); ++i) {
        gated_[i] = gated_[i] / (1.0F + std::exp(-gated_[i])) * upped_[i];
      }
      down_->run(expert, static_cast<int>(rows), gated_.data(), results_.data());
      row = 0;
      for (std::size_t r = 0; r < ranks; ++r) {
        const auto count = static_cast<std::size_t>(theirs_[r * local + e]);
        std::memcpy(back_.data() + static_cast<std::size_t>(from[r]) * hidden,
                    results_.data() + row * hidden, count * hidden * sizeof(float));
        from[r] += static_cast<int>(count);
        row += count;
      }
    }
  }

  void combine() {
    const auto hidden = static_cast<std::size_t>(shape_.hidden);
    const auto k = static_cast<std::size_t>(shape_.k);
    for (std::size_t t = 0; t < static_cast<std::size_t>(tokens_); ++t) {
      float* const y = y_.data() + t * hidden;
      std::fill_n(y, hidden, 0.0F);
      for (std::size_t j = t * k; j < (t + 1) * k; ++j) {
        const float* const row = home_.data() + static_cast<std::size_t>(place_[j]) * hidden;
        for (std::size_t c = 0; c < hidden; ++c) y[c] += shares_[j] * row[c];
      }
    }
  }

  Shape shape_;
  MPI_Comm comm_;
  MPI_Datatype row_ = MPI_DATATYPE_NULL;
  int rank_ = 0;
  int ranks_ = 1;
  int local_ = 0;
  int tokens_ = 0;
  int arrived_ = 0;
  std::unique_ptr<peers::Gemm> gate_, up_, down_;
  Floats router_, x_, y_, logits_, shares_, out_, in_, back_, home_;
  Floats rows_, results_, gated_, upped_;
  Ints chosen_, place_, counts_, theirs_, order_, next_;
  Ints send_, send_at_, receive_, receive_at_;
};

/// Times of single layers, each of its slowest rank; at least three.
std::vector<double> measure(Layer& layer, double seconds) {
  std::vector<double> times;
  for (double spent = 0; times.size() < 3 || spent < seconds; spent += times.back()) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    layer.forward();
    double took = MPI_Wtime() - start;
    MPI_Allreduce(MPI_IN_PLACE, &took, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    times.push_back(took);
  }
  std::sort(times.begin(), times.end());
  return times;
}

int run(const std::vector<std::string>& words) {
  const Shape shape{std::stoi(words[3]), std::stoi(words[4]), std::stoi(words[5]),
                    std::stoi(words[6])};
  int ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (shape.experts % ranks != 0) throw std::invalid_argument("experts do not divide over ranks");
  Layer layer(shape, words[2], MPI_COMM_WORLD);
  const double limit = words[2] == "float32" ? 1e-4 : 3e-2;
  std::istringstream list(words[7]);
  for (std::string tokens; std::getline(list, tokens, ',');) {
    layer.begin(std::stoi(tokens));
    layer.forward();
    double error = layer.error();
    MPI_Allreduce(MPI_IN_PLACE, &error, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    if (!(error < limit)) throw std::runtime_error("error " + std::to_string(error));
    layer.forward();
    const auto times = measure(layer, std::stod(words[8]));
    if (layer.rank() != 0) continue;
    std::printf("%s\t%s\t%s\t%.6f\t%.6f\t%.6f\n", words[1].c_str(), words[2].c_str(),
                tokens.c_str(), 1e3 * times[times.size() / 2], 1e3 * times.front(),
                1e3 * times.back());
    std::fflush(stdout);
  }
  return 0;
}
}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const std::vector<std::string> words(argv, argv + argc);
  int status = 2;
  try {
    if (words.size() != 9) throw std::invalid_argument("want 8 words, see the top of the source");
    status = run(words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", words.size() > 1 ? words[1].c_str() : "peer", error.what());
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  MPI_Finalize();
  return status;
}
