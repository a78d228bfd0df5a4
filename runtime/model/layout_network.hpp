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
#include "runtime/model/stored_matrix.hpp"
#include "runtime/model/tensor_views.hpp"

namespace switchyard::runtime {

/// A tensor with a matrix of one network, or of all.
struct NetworkMatrix {
  std::string name;
  std::int64_t out = 0;  ///< of a network
  std::int64_t in = 0;
  std::int64_t networks = 1;  ///< how many are in the tensor, one after the other
  bool stacked = false;       ///< codes have a dimension for them, even if it is 1
  Order order = Order::kLinear;
};

/// Numbers lie as their form says. Codes with scales always lie as [out, in], in stacks as
/// [networks, out, in]: scales are of blocks of inputs, which no other order keeps together.
class NetworkReader {
 public:
  /// Finds the form that is there and checks presence, type and shape of every tensor of it.
  /// @param prefix    of the block
  /// @param forms     what the family may use, at least one
  /// @param networks  how many: experts of the block, or 1
  /// @param blocks    of F8_E4M3
  /// @param used      receives the names
  /// @throws std::invalid_argument  naming file and tensor
  NetworkReader(std::shared_ptr<const TensorSet> tensors, std::string prefix,
                const std::vector<NetworkForm>& forms, const experts::ExpertSpec& spec,
                std::int64_t networks, const ScaleBlocks& blocks, std::set<std::string>& used);

  /// Views (or, for types that cannot be used in place, copies) of one network.
  /// @throws std::invalid_argument  "expert 9, want 0 to 7"; codes or scales that are no numbers
  [[nodiscard]] experts::ExpertTensors read(std::int64_t network) const;
  /// Types and shapes of what read() returns; nothing is read and no view may be looked into.
  [[nodiscard]] experts::ExpertTensors outline(std::int64_t network) const;
  /// Names, types, shapes and files of its tensors, and the SHA-256 of up to 4 KiB in the middle of
  /// each: the only data that are read.
  [[nodiscard]] std::string identity(std::int64_t network) const;

  /// Where the matrices of all networks lie.
  [[nodiscard]] std::vector<NetworkMatrix> matrices() const;

 private:
  /// A tensor that the form needs: its pattern, and what it must be.
  struct Part {
    std::string pattern;
    std::vector<std::int64_t> shape;  ///< of numbers
    std::vector<std::int64_t> codes;  ///< shape of codes; empty: a vector of numbers
    Order order = Order::kLinear;
  };
  [[nodiscard]] std::vector<Part> parts() const;
  void add_matrix(std::vector<Part>& parts, const std::string& pattern, Order order,
                  std::int64_t out, std::int64_t in) const;
  [[nodiscard]] std::set<std::string> names() const;
  void check() const;
  [[nodiscard]] bool is_there() const;
  [[nodiscard]] const Tensor& tensor(const std::string& pattern, std::int64_t network) const;
  /// @param storage  null: an outline
  [[nodiscard]] experts::WeightView matrix(Storage* storage, const std::string& pattern,
                                           Order order, std::int64_t out, std::int64_t in,
                                           std::int64_t network) const;
  [[nodiscard]] experts::ExpertTensors views(Storage* storage, std::int64_t network) const;
  void require_network(std::int64_t network) const;
  [[nodiscard]] StoredMatrix find(const std::string& pattern, std::int64_t network) const;
  [[nodiscard]] Mxfp4Names packed_names() const;
  [[nodiscard]] std::vector<float> bias(const std::string& pattern, std::int64_t count,
                                        std::int64_t network) const;

  std::shared_ptr<const TensorSet> tensors_;
  std::string prefix_;
  NetworkForm form_;
  experts::ExpertSpec spec_;
  std::int64_t networks_ = 0;
  ScaleBlocks blocks_;
};
}  // namespace switchyard::runtime
