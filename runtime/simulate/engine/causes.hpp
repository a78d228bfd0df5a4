// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Why a rank was not earlier: what it was busy with, or the flow that it waited for, and what that
/// flow's beginning waited for. From the rank that ends last, this is the critical path.
#include <cstdint>
#include <deque>
#include <string_view>
#include <utility>
#include <vector>

namespace switchyard::runtime {

/// A stretch of simulated time on the path that led to something.
struct Cause {
  /// kMessages: what messages cost the processor.
  enum class Kind { kBusy, kMessages, kFlow };
  Kind kind = Kind::kBusy;
  int rank = 0;            ///< that was busy, or that the flow went to
  int from = 0;            ///< of a flow
  std::string_view phase;  ///< a literal: what `rank` was at
  double begin_s = 0;
  double end_s = 0;
};

/// Keeps causes as long as anything that is still to come may rest on them.
class Causes {
  struct Node {
    Cause cause;
    Node* before = nullptr;
    std::int64_t uses = 0;
  };

 public:
  /// The last cause of something; none at the beginning.
  class Link {
   public:
    Link() = default;
    Link(const Link& other) : causes_(other.causes_), node_(other.node_) {
      if (node_ != nullptr) ++node_->uses;
    }
    Link(Link&& other) noexcept : causes_(other.causes_), node_(other.node_) {
      other.node_ = nullptr;
    }
    Link& operator=(Link other) noexcept {
      std::swap(causes_, other.causes_);
      std::swap(node_, other.node_);
      return *this;
    }
    ~Link() {
      if (node_ != nullptr) causes_->release(node_);
    }
    /// The path to here, the first cause first.
    [[nodiscard]] std::vector<Cause> path() const;

   private:
    friend class Causes;
    Causes* causes_ = nullptr;
    Node* node_ = nullptr;
  };

  /// What came after `before`.
  [[nodiscard]] Link after(const Link& before, const Cause& cause);

 private:
  void release(Node* node);

  std::deque<Node> nodes_;
  std::vector<Node*> spare_;
};
}  // namespace switchyard::runtime
