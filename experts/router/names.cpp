// SPDX-License-Identifier: Apache-2.0
#include "experts/router/names.hpp"

namespace switchyard::experts {

std::string_view rule_name(CapacityRule rule) {
  switch (rule) {
    case CapacityRule::kNone:
      return "none";
    case CapacityRule::kDeepspeedTop2:
      return "deepspeed-top2";
    case CapacityRule::kDeepspeedProbs:
      return "deepspeed-probs";
    case CapacityRule::kDeepspeedPosition:
      return "deepspeed-position";
    case CapacityRule::kFlaxformer:
      return "flaxformer";
    case CapacityRule::kColossal:
      return "colossal";
    case CapacityRule::kDeviceBudget:
      return "device-budget";
    case CapacityRule::kRecycle:
      return "recycle";
  }
  return "unknown";
}
}  // namespace switchyard::experts
