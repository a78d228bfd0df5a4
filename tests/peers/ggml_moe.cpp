// SPDX-License-Identifier: Apache-2.0
// The experts of an MoE layer by llama.cpp's ggml (mul_mat_id), as one process of as many threads
// as the others have ranks: a peer to measure `switchyard bench layer` against.
//   ggml_moe TYPE HIDDEN WIDTH EXPERTS K TOKENS,... SECONDS THREADS
// Tokens are THREADS times as many, and go where `--routing peers` sends those of each rank; the
// router is left out, and shares are 1 / K. int8 is q8_0. The first token is checked in double
// before anything is timed. A line for each number of tokens, as alltoallv_moe.cpp prints it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ggml-cpu.h>
#include <ggml.h>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {
using Floats = std::vector<float>;

struct Shape {
  std::int64_t hidden = 0;
  std::int64_t width = 0;
  std::int64_t experts = 0;
  std::int64_t k = 0;
};

/// As in alltoallv_moe.cpp.
Floats numbers(std::int64_t count, float amplitude, std::uint64_t seed) {
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    const auto number = static_cast<std::int32_t>(seed >> 33U) - (1 << 30);
    value = amplitude * (static_cast<float>(number) * 0x1p-30F);
  }
  return values;
}

enum Matrix : std::uint64_t { kGate = 1, kUp = 2, kDown = 3 };
Floats weights(const Shape& shape, std::int64_t expert, Matrix matrix) {
  return numbers(shape.hidden * shape.width, 0.035F,
                 3 * static_cast<std::uint64_t>(expert) + matrix);
}

std::vector<std::int32_t> peers_routing(const Shape& shape, std::int64_t tokens, int ranks) {
  auto state = static_cast<std::uint32_t>(1000 + tokens);
  std::vector<std::int32_t> all;
  for (std::int64_t t = 0; t < tokens * ranks; ++t) {
    std::vector<std::int32_t> chosen;
    while (static_cast<std::int64_t>(chosen.size()) < shape.k) {
      state = state * 1664525U + 1013904223U;
      const auto expert =
          static_cast<std::int32_t>((state >> 8U) % static_cast<std::uint32_t>(shape.experts));
      if (std::find(chosen.begin(), chosen.end(), expert) == chosen.end()) chosen.push_back(expert);
    }
    all.insert(all.end(), chosen.begin(), chosen.end());
  }
  return all;
}

ggml_type type_of(const std::string& name) {
  if (name == "float32") return GGML_TYPE_F32;
  if (name == "bfloat16") return GGML_TYPE_BF16;
  if (name == "int8") return GGML_TYPE_Q8_0;
  throw std::invalid_argument("TYPE: got " + name + ", want float32, bfloat16 or int8");
}

/// A context with room for its tensors.
class Context {
 public:
  explicit Context(std::size_t bytes)
      : context_(ggml_init({.mem_size = bytes, .mem_buffer = nullptr, .no_alloc = false})) {
    if (context_ == nullptr) throw std::runtime_error("ggml_init failed");
  }
  ~Context() { ggml_free(context_); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  [[nodiscard]] ggml_context* get() const { return context_; }

 private:
  ggml_context* context_;
};

/// One matrix of all experts: [experts][outputs][inputs].
ggml_tensor* stack(ggml_context* context, const Shape& shape, ggml_type type, Matrix matrix) {
  const std::int64_t in = matrix == kDown ? shape.width : shape.hidden;
  const std::int64_t out = matrix == kDown ? shape.hidden : shape.width;
  ggml_tensor* const all = ggml_new_tensor_3d(context, type, in, out, shape.experts);
  const std::size_t bytes = ggml_row_size(type, in) * static_cast<std::size_t>(out);
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    const Floats values = weights(shape, e, matrix);
    char* const place = static_cast<char*>(all->data) + static_cast<std::size_t>(e) * bytes;
    if (type == GGML_TYPE_F32) {
      std::memcpy(place, values.data(), bytes);
    } else {
      ggml_quantize_chunk(type, values.data(), place, 0, out, in, nullptr);
    }
  }
  return all;
}

class Layer {
 public:
  Layer(const Shape& shape, ggml_type type)
      : shape_(shape),
        stored_(3 * (ggml_row_size(type, shape.hidden * shape.width) *
                         static_cast<std::size_t>(shape.experts) +
                     4096)),
        gate_(stack(stored_.get(), shape, type, kGate)),
        up_(stack(stored_.get(), shape, type, kUp)),
        down_(stack(stored_.get(), shape, type, kDown)) {}

  /// Milliseconds of single layers, at least three; the first token is checked first.
  [[nodiscard]] std::vector<double> measure(std::int64_t tokens, int threads,
                                            double seconds) const {
    const std::int64_t all = tokens * threads;
    const auto floats = static_cast<std::size_t>(
        all * shape_.k * (3 * shape_.width + shape_.hidden) + all * (shape_.k + 2) * shape_.hidden);
    const Context context(floats * sizeof(float) + (std::size_t{64} << 20U));
    ggml_context* const c = context.get();
    ggml_tensor* const x = ggml_new_tensor_3d(c, GGML_TYPE_F32, shape_.hidden, 1, all);
    ggml_tensor* const ids = ggml_new_tensor_2d(c, GGML_TYPE_I32, shape_.k, all);
    for (int r = 0; r < threads; ++r) {
      const Floats mine = numbers(tokens * shape_.hidden, 1.0F, 99 + static_cast<std::uint64_t>(r));
      std::memcpy(static_cast<float*>(x->data) + r * tokens * shape_.hidden, mine.data(),
                  mine.size() * sizeof(float));
    }
    const auto chosen = peers_routing(shape_, tokens, threads);
    std::memcpy(ids->data, chosen.data(), chosen.size() * sizeof(std::int32_t));
    ggml_tensor* const gated = ggml_mul(c, ggml_silu(c, ggml_mul_mat_id(c, gate_, x, ids)),
                                        ggml_mul_mat_id(c, up_, x, ids));
    ggml_tensor* const results =
        ggml_scale(c, ggml_mul_mat_id(c, down_, gated, ids), 1.0F / static_cast<float>(shape_.k));
    ggml_tensor* sum = nullptr;
    for (std::int64_t j = 0; j < shape_.k; ++j) {
      ggml_tensor* const slot = ggml_view_2d(c, results, shape_.hidden, all, results->nb[2],
                                             static_cast<std::size_t>(j) * results->nb[1]);
      sum = sum == nullptr ? ggml_cont(c, slot) : ggml_add(c, sum, slot);
    }
    ggml_cgraph* const graph = ggml_new_graph(c);
    ggml_build_forward_expand(graph, sum);
    // Plan and work space once: what a program that runs many steps would do.
    ggml_cplan plan = ggml_graph_plan(graph, threads, nullptr);
    std::vector<std::uint8_t> work(plan.work_size + 1);
    plan.work_data = work.data();
    const auto once = [&] {
      const auto begin = std::chrono::steady_clock::now();
      if (ggml_graph_compute(graph, &plan) != GGML_STATUS_SUCCESS) {
        throw std::runtime_error("ggml_graph_compute failed");
      }
      return 1e3 * std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    once();
    check(static_cast<const float*>(sum->data), static_cast<const float*>(x->data), chosen);
    std::vector<double> ms;
    for (double spent = 0; ms.size() < 3 || spent < 1e3 * seconds; spent += ms.back()) {
      ms.push_back(once());
    }
    return ms;
  }

 private:
  void check(const float* got, const float* x, const std::vector<std::int32_t>& chosen) const {
    const auto hidden = static_cast<std::size_t>(shape_.hidden);
    std::vector<double> want(hidden);
    for (std::int64_t j = 0; j < shape_.k; ++j) {
      const std::int64_t expert = chosen[static_cast<std::size_t>(j)];
      const Floats gate = weights(shape_, expert, kGate);
      const Floats up = weights(shape_, expert, kUp);
      const Floats down = weights(shape_, expert, kDown);
      std::vector<double> middle(static_cast<std::size_t>(shape_.width));
      for (std::size_t i = 0; i < middle.size(); ++i) {
        double g = 0;
        double u = 0;
        for (std::size_t c = 0; c < hidden; ++c) {
          g += static_cast<double>(gate[i * hidden + c]) * static_cast<double>(x[c]);
          u += static_cast<double>(up[i * hidden + c]) * static_cast<double>(x[c]);
        }
        middle[i] = g / (1 + std::exp(-g)) * u;
      }
      for (std::size_t c = 0; c < hidden; ++c) {
        double sum = 0;
        for (std::size_t i = 0; i < middle.size(); ++i) {
          sum += static_cast<double>(down[c * middle.size() + i]) * middle[i];
        }
        want[c] += sum / static_cast<double>(shape_.k);
      }
    }
    double errors = 0;
    double squares = 0;
    for (std::size_t c = 0; c < hidden; ++c) {
      errors += (static_cast<double>(got[c]) - want[c]) * (static_cast<double>(got[c]) - want[c]);
      squares += want[c] * want[c];
    }
    const double error = std::sqrt(errors / squares);
    if (!(error < 2e-2)) throw std::runtime_error("wrong: error " + std::to_string(error));
  }

  Shape shape_;
  Context stored_;
  ggml_tensor* gate_;
  ggml_tensor* up_;
  ggml_tensor* down_;
};
}  // namespace

int main(int argc, char** argv) try {
  if (argc != 9) {
    std::fprintf(stderr, "usage: %s TYPE HIDDEN WIDTH EXPERTS K TOKENS,... SECONDS THREADS\n",
                 argv[0]);
    return 2;
  }
  const std::string type = argv[1];
  const Shape shape{std::atoll(argv[2]), std::atoll(argv[3]), std::atoll(argv[4]),
                    std::atoll(argv[5])};
  const Layer layer(shape, type_of(type));
  std::istringstream list(argv[6]);
  for (std::string tokens; std::getline(list, tokens, ',');) {
    auto ms = layer.measure(std::stoll(tokens), std::atoi(argv[8]), std::atof(argv[7]));
    std::sort(ms.begin(), ms.end());
    std::printf("ggml\t%s\t%s\t%.6f\t%.6f\t%.6f\n", type.c_str(), tokens.c_str(), ms[ms.size() / 2],
                ms.front(), ms.back());
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "ggml_moe: %s\n", error.what());
  return 1;
}
