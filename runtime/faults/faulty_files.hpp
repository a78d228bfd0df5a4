// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A file system whose calls fail when a plan of faults says so.
#include <functional>
#include <memory>
#include <string_view>

#include "runtime/checkpoint/file_system.hpp"

namespace switchyard::runtime {

/// The errno that a call ("pwrite") is to fail with, or 0. May be asked by several threads.
using FailsCall = std::function<int(std::string_view call)>;

/// @param fails  empty: `files` as it is
[[nodiscard]] std::unique_ptr<FileSystem> with_faults(std::unique_ptr<FileSystem> files,
                                                      FailsCall fails);
}  // namespace switchyard::runtime
