// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Reads gated networks (the experts of a block, its shared expert, its dense MLP) that lie in one
/// of their family's forms.
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "experts/weights.hpp"
#include "runtime/model/layout.hpp"
#include "runtime/model/tensor_views.hpp"

namespace switchyard::runtime {

class NetworkReader {
 public:
  /// Finds the form that is there and checks presence, type and shape of every tensor of it.
  /// @param prefix    of the block
  /// @param forms     what the family may use, at least one
  /// @param networks  how many: experts of the block, or 1
  /// @param used      receives the names
  /// @throws std::invalid_argument  naming file and tensor
  NetworkReader(std::shared_ptr<const TensorSet> tensors, std::string prefix,
                const std::vector<NetworkForm>& forms, const experts::ExpertSpec& spec,
                std::int64_t networks, std::set<std::string>& used);

  /// Views (or, for types that cannot be used in place, copies) of one network.
  /// @throws std::invalid_argument  "expert 9, want 0 to 7"; MXFP4 scales beyond bfloat16
  [[nodiscard]] experts::ExpertTensors read(std::int64_t network) const;

 private:
  /// A tensor that the form needs: its pattern, and what it must be.
  struct Part {
    std::string pattern;
    std::string dtype;  ///< empty: any float
    std::vector<std::int64_t> shape;
  };
  [[nodiscard]] std::vector<Part> parts() const;
  void add_matrix(std::vector<Part>& parts, const std::string& pattern, Order order,
                  std::int64_t out, std::int64_t in) const;
  [[nodiscard]] std::set<std::string> names() const;
  void check() const;
  [[nodiscard]] bool is_there() const;
  [[nodiscard]] const Tensor& tensor(const std::string& pattern, std::int64_t network) const;
  [[nodiscard]] experts::WeightView matrix(Storage& storage, const std::string& pattern,
                                           Order order, std::int64_t out, std::int64_t in,
                                           std::int64_t network) const;
  [[nodiscard]] const void* unpack(Storage& storage, const std::string& pattern, std::int64_t out,
                                   std::int64_t in, std::int64_t network) const;
  [[nodiscard]] std::vector<float> bias(const std::string& pattern, std::int64_t count,
                                        std::int64_t network) const;

  std::shared_ptr<const TensorSet> tensors_;
  std::string prefix_;
  NetworkForm form_;
  experts::ExpertSpec spec_;
  std::int64_t networks_ = 0;
};
}  // namespace switchyard::runtime
