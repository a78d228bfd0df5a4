// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/isa.hpp"
