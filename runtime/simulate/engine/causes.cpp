// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/engine/causes.hpp"

#include <algorithm>

namespace switchyard::runtime {

std::vector<Cause> Causes::Link::path() const {
  std::vector<Cause> path;
  for (const Node* node = node_; node != nullptr; node = node->before) path.push_back(node->cause);
  std::ranges::reverse(path);
  return path;
}

Causes::Link Causes::after(const Link& before, const Cause& cause) {
  Node* node = nullptr;
  if (spare_.empty()) {
    node = &nodes_.emplace_back();
  } else {
    node = spare_.back();
    spare_.pop_back();
  }
  *node = {.cause = cause, .before = before.node_, .uses = 1};
  if (before.node_ != nullptr) ++before.node_->uses;
  Link link;
  link.causes_ = this;
  link.node_ = node;
  return link;
}

void Causes::release(Node* node) {
  // Not by recursion: paths are long, and the stacks of simulated ranks are not.
  while (node != nullptr && --node->uses == 0) {
    Node* const before = node->before;
    spare_.push_back(node);
    node = before;
  }
}
}  // namespace switchyard::runtime
