// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Whether a machine can exist. Kept from machine.proto's reader, so that a machine made in code is
/// checked alike.
#include <string>

#include "runtime/simulate/machine.hpp"

namespace switchyard::runtime {

/// @param where  what the machine's file is called in messages
/// @throws std::invalid_argument  "FILE: nics_per_node: got 3, want a divisor of 8
/// (ranks_per_node),
///         nearest is 2"; a shape that cannot be built names the nearest one that can
void check_machine(const Machine& machine, const std::string& where);
}  // namespace switchyard::runtime
