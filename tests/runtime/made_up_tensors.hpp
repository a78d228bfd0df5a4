// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// For tests of mixers: tensors that exist as soon as they are asked for, with values that follow
/// from their names, and a sequence that goes through a mixer in pieces.
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>

#include "runtime/transformer/mixer.hpp"

namespace switchyard::runtime {

/// A number in [-1, 1) that follows from a name and an index.
inline float made_up(const std::string& name, std::int64_t index) {
  std::uint64_t state = 1469598103934665603ULL;
  for (const char c : name) state = (state ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  state += static_cast<std::uint64_t>(index) * 0x9E3779B97F4A7C15ULL;
  state = (state ^ (state >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  state = (state ^ (state >> 27U)) * 0x94D049BB133111EBULL;
  return static_cast<float>((state ^ (state >> 31U)) >> 40U) * 0x1p-23F - 1;
}

class MadeUpTensors final : public TensorSource {
 public:
  /// Matrices are scaled so that their products keep their size; norms lie around 1.
  std::vector<float>& floats(const std::string& name, std::int64_t elements, std::int64_t in) {
    auto [found, fresh] = tensors_.try_emplace(name);
    std::vector<float>& tensor = found->second;
    if (fresh) {
      const bool norm = name.find("norm") != std::string::npos && !name.ends_with(".bias");
      const auto scale = 1.5F / std::sqrt(static_cast<float>(in));
      for (std::int64_t i = 0; i < elements; ++i) {
        tensor.push_back(norm ? 1 + 0.4F * made_up(name, i) : scale * made_up(name, i));
      }
    }
    if (static_cast<std::int64_t>(tensor.size()) != elements) {
      throw std::invalid_argument("tensor " + name + ": another size");
    }
    return tensor;
  }
  experts::WeightView matrix(const std::string& name, std::int64_t out, std::int64_t in,
                             bool input_first) override {
    const std::vector<float>& tensor = floats(name, out * in, in);
    return {.data = tensor.data(),
            .out = out,
            .in = in,
            .out_stride = input_first ? 1 : in,
            .in_stride = input_first ? out : 1};
  }
  std::vector<float> values(const std::string& name, std::int64_t elements) override {
    return floats(name, elements, 4);
  }
  [[nodiscard]] bool has(const std::string& name) const override { return !missing.contains(name); }

  /// Element i of a tensor that the mixer has read.
  [[nodiscard]] double at(const std::string& name, std::int64_t i) const {
    return tensors_.at(name).at(static_cast<std::size_t>(i));
  }
  /// W x (+ b) in float64.
  [[nodiscard]] std::vector<double> times(const std::string& name, const std::vector<double>& x,
                                          const std::string& bias = "") const {
    const std::vector<float>& w = tensors_.at(name);
    std::vector<double> y(w.size() / x.size());
    for (std::size_t o = 0; o < y.size(); ++o) {
      for (std::size_t i = 0; i < x.size(); ++i) y[o] += double{w[o * x.size() + i]} * x[i];
      if (!bias.empty()) y[o] += at(bias, static_cast<std::int64_t>(o));
    }
    return y;
  }
  /// RMS norm with the weight `name`, in float64.
  [[nodiscard]] std::vector<double> rms(const std::string& name, std::vector<double> x,
                                        double eps) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + eps);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] *= scale * at(name, static_cast<std::int64_t>(i));
    }
    return x;
  }

  std::set<std::string> missing;  ///< names that has() denies

 private:
  std::map<std::string, std::vector<float>> tensors_;
};

/// Rows of made-up tokens.
inline experts::Matrix made_up_rows(std::int64_t rows, std::int64_t width) {
  experts::Matrix x(rows, width);
  for (std::int64_t i = 0; i < rows * width; ++i) x.data()[i] = 1.5F * made_up("tokens", i);
  return x;
}

inline std::vector<double> row_of(const experts::Matrix& x, std::int64_t r) {
  return {x.row(r).begin(), x.row(r).end()};
}

/// One sequence through mixers of consecutive layers from 0 on, all with the same input; gives the
/// last one's result. Calls have the lengths `pieces`, over and over. Before every call another
/// sequence takes a step beside it, so that rows do not stand where they stood.
inline experts::Matrix in_pieces(const std::vector<const Mixer*>& mixers, const experts::Matrix& x,
                                 const std::vector<std::int64_t>& pieces, bool company = false) {
  States states;
  const auto begin = [&] {
    std::vector<std::unique_ptr<MixerState>> by_layer;
    for (const Mixer* mixer : mixers) by_layer.push_back(mixer->make_state());
    return states.add(std::move(by_layer));
  };
  const std::int64_t other = company ? begin() : -1;
  const std::int64_t sequence = begin();
  experts::Matrix result(x.rows(), x.cols());
  std::int64_t steps = 0;
  for (std::int64_t first = 0; first < x.rows(); ++steps) {
    const std::int64_t piece = pieces[static_cast<std::size_t>(steps) % pieces.size()];
    const std::int64_t count = std::min(piece, x.rows() - first);
    const std::int64_t lead = company ? 1 : 0;
    Batch batch;
    batch.ids.resize(static_cast<std::size_t>(lead + count));
    if (company) batch.segments.push_back({.sequence = other, .first = steps, .count = 1});
    batch.segments.push_back({.sequence = sequence, .first = first, .count = count});
    experts::Matrix rows(lead + count, x.cols());
    if (company) std::copy_n(x.row(steps % x.rows()).data(), x.cols(), rows.data());
    std::copy_n(x.data() + first * x.cols(), count * x.cols(), rows.data() + lead * x.cols());
    experts::Matrix out(lead + count, x.cols());
    for (const Mixer* mixer : mixers) {
      mixer->forward(batch, std::as_const(rows).view(), states, out.view());
    }
    std::copy_n(out.data() + lead * x.cols(), count * x.cols(), result.data() + first * x.cols());
    first += count;
  }
  return result;
}

/// Whether however a sequence is cut and whoever is beside it, its bits are the same.
inline bool same_however_cut(const std::vector<const Mixer*>& mixers, const experts::Matrix& x) {
  const experts::Matrix whole = in_pieces(mixers, x, {x.rows()});
  const auto equal = [&](const experts::Matrix& other) {
    return std::equal(whole.data(), whole.data() + x.rows() * x.cols(), other.data());
  };
  return equal(in_pieces(mixers, x, {1})) && equal(in_pieces(mixers, x, {3, 1, 0, 7})) &&
         equal(in_pieces(mixers, x, {2, 5}, true));
}

/// Turns pairs by position times a frequency each, in float64.
inline void turn_reference(double* head, const std::vector<double>& frequencies, double position,
                           bool interleaved) {
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = position * frequencies[i];
    double& a = head[interleaved ? 2 * i : i];
    double& b = head[interleaved ? 2 * i + 1 : i + frequencies.size()];
    const double turned = a * std::cos(angle) - b * std::sin(angle);
    b = b * std::cos(angle) + a * std::sin(angle);
    a = turned;
  }
}

/// softmax(scores) weighing values[j], in float64.
inline std::vector<double> weigh_reference(const std::vector<double>& scores,
                                           const std::vector<std::vector<double>>& values) {
  double sum = 0;
  std::vector<double> result(values.at(0).size());
  for (std::size_t j = 0; j < scores.size(); ++j) {
    const double e = std::exp(scores[j]);
    sum += e;
    for (std::size_t d = 0; d < result.size(); ++d) result[d] += e * values[j][d];
  }
  for (double& r : result) r /= sum;
  return result;
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// Largest difference over the root mean square of what is expected.
inline double worst_error(const experts::Matrix& got,
                          const std::vector<std::vector<double>>& expected) {
  double squares = 0;
  double worst = 0;
  for (std::int64_t r = 0; r < got.rows(); ++r) {
    const std::vector<double>& row = expected.at(static_cast<std::size_t>(r));
    for (std::int64_t c = 0; c < got.cols(); ++c) {
      const double want = row.at(static_cast<std::size_t>(c));
      worst = std::max(worst, std::abs(want - double{got(r, c)}));
      squares += want * want;
    }
  }
  return worst / std::sqrt(squares / static_cast<double>(got.rows() * got.cols()));
}
}  // namespace switchyard::runtime
